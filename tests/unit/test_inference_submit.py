"""Who gets in line: the door of the engine, with nothing behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest

from api.problems import status_of
from rag.errors import GenerationFailed, ShuttingDown
from rag.inference.engine import Engine
from rag.inference.engine_parts import EngineParts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def engine() -> Iterator[Engine]:
    names = ("context", "tree", "lane", "vocabulary", "outbox", "activate", "free")
    parts = EngineParts(policy=None, **{name: MagicMock() for name in names})
    parts.lane.current = None
    engine = Engine(parts, max_running=1, max_queued=1, stitched=False, reorders=False)
    yield engine
    engine.close()


def test_while_draining_a_request_is_told_that_the_service_shuts_down(engine: Engine) -> None:
    engine.drain()
    with pytest.raises(ShuttingDown, match=r"shutting down\. Ask again") as caught:
        engine.submit(MagicMock())
    assert status_of(type(caught.value)) == 503
    assert engine.stats().rejected == 1


@pytest.mark.parametrize("drained", [True, False])
def test_once_it_has_ended_a_request_is_told_to_restart(engine: Engine, drained: bool) -> None:
    if drained:
        engine.drain()
    engine.close()
    with pytest.raises(GenerationFailed, match=r"closed\. Restart"):
        engine.submit(MagicMock())
