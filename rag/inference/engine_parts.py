"""What an engine is made of, and the one command it takes beside requests."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.inference.context import Context
    from rag.inference.kv.tree import KvTree
    from rag.inference.lane import DeterministicLane
    from rag.inference.requests import Outbox
    from rag.inference.speculation import DraftPolicy
    from rag.inference.tokens import Vocabulary
    from rag.model_types import Gone


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """What an engine works with; it frees all of it at its end, on its thread."""

    context: Context
    tree: KvTree
    lane: DeterministicLane
    vocabulary: Vocabulary
    outbox: Outbox
    policy: DraftPolicy | None
    activate: Callable[[Context, str | None], None]
    free: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Erasure:
    """Forget what depends on chunks that are gone; ``done`` tells how many states that were."""

    gone: Gone
    done: Future[int] = field(default_factory=Future)

    def run(self, tree: KvTree, lane: DeterministicLane) -> int:
        """To be called on the engine's thread, between two steps."""
        states = tree.erase(self.gone) + lane.erase(self.gone)
        self.done.set_result(states)
        return states
