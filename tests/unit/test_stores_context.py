from __future__ import annotations

import pytest

from rag.embedding.context import contextual_text


@pytest.mark.parametrize(
    ("title", "headings", "expected"),
    [
        ("Guide", ("Cache", "Size"), "Guide › Cache › Size\n\ntext"),
        ("Guide", ("Guide", "Size"), "Guide › Size\n\ntext"),
        ("Guide", (), "Guide\n\ntext"),
        ("", ("Size",), "Size\n\ntext"),
        ("Guide", ("", "Size"), "Guide › Size\n\ntext"),
        ("", (), "text"),
    ],
)
def test_a_chunk_is_embedded_under_where_it_stands(title, headings, expected):
    assert contextual_text(title, headings, "text") == expected
