from __future__ import annotations

import pytest

from rag.plurals import plural, plural_days


@pytest.mark.parametrize(
    ("count", "noun", "told"), [(1, "query", "1 query"), (2, "query", "2 queries"), (0, "day", "0 days")]
)
def test_one_thing_and_several(count, noun, told) -> None:
    assert plural(count, noun) == told


@pytest.mark.parametrize(("days", "told"), [(1.0, "1 day"), (0.5, "0.5 days"), (30, "30 days")])
def test_days_may_be_parts(days, told) -> None:
    assert plural_days(days) == told
