"""What callers ask of the engine, and the mailbox through which a caller on an event loop hears back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from rag.errors import RagError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag.types import GenerationChunk, SamplingParams

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """Carries events from the engine's thread to one caller on the event loop it was made on.

    ``abandoned`` tells the engine that nobody listens any more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[_T | RagError] = asyncio.Queue()
        self.abandoned = False

    def post(self, event: _T | RagError) -> None:
        """Called on the engine's thread; never waits."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed, and its tasks with it
            self.abandoned = True

    async def take(self) -> _T:
        """The next event. An error among them is raised."""
        event = await self._events.get()
        if isinstance(event, RagError):
            raise event
        return event


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextRequest:
    """Continue ``prompt`` with text: chunks, of which the last has a finish reason."""

    prompt: NDArray[np.int32]
    params: SamplingParams
    mailbox: Mailbox[GenerationChunk]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreRequest:
    """Probabilities of ``candidates`` (token ids) as the token right after ``prompt``."""

    prompt: NDArray[np.int32]
    candidates: tuple[int, ...]
    mailbox: Mailbox[list[float]]


Request = TextRequest | ScoreRequest
