"""What callers ask of the engine, and the mailbox through which a caller on an event loop hears back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from rag.errors import DeadlineExceeded, RagError
from rag.model_types import ANYONE, Caller, GenerationChunk, TokenProbabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.model_types import SamplingParams

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """Carries events from the engine's thread to one caller on the event loop it was made on.

    ``abandoned`` tells the engine that nobody listens any more.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[_T | RagError] = asyncio.Queue()
        self.abandoned = False

    async def take(self, request: Request) -> _T:
        """The next event for the request's caller. An error among them is raised.

        Raises:
            DeadlineExceeded: the caller's time is up, whatever the engine is doing at the moment.
        """
        if request.deadline == float("inf"):
            event = await self.events.get()
        else:
            try:
                async with asyncio.timeout_at(request.deadline):  # the loop's clock is time.monotonic()
                    event = await self.events.get()
            except TimeoutError:
                raise request.too_late() from None
        if isinstance(event, RagError):
            raise event
        return event


class Outbox:
    """Events of one step, delivered together: waking an event loop costs more than carrying an event."""

    def __init__(self) -> None:
        self._posted: dict[asyncio.AbstractEventLoop, list[tuple[Mailbox[Any], object]]] = {}

    def post(self, mailbox: Mailbox[_T], event: _T | RagError) -> None:
        self._posted.setdefault(mailbox.loop, []).append((mailbox, event))

    def flush(self) -> None:
        """Called on the engine's thread; never waits."""
        posted, self._posted = self._posted, {}
        for loop, events in posted.items():
            try:
                loop.call_soon_threadsafe(_deliver, events)
            except RuntimeError:  # the loop is closed, and its tasks with it
                for mailbox, _ in events:
                    mailbox.abandoned = True


def _deliver(events: list[tuple[Mailbox[Any], object]]) -> None:
    for mailbox, event in events:
        mailbox.events.put_nowait(event)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptParts:
    """A prompt's token ids: what stands before the passages, each passage, and the rest.

    ``recomputed`` passages stand between the two, read anew after all others (stitched prompts only). ``chunks`` are
    the chunk ids of ``passages``, None where there is none; ``prefix_chunks`` those of passages within the prefix.
    """

    prefix: NDArray[np.int32]
    passages: tuple[NDArray[np.int32], ...] = ()
    recomputed: tuple[NDArray[np.int32], ...] = ()
    rest: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    chunks: tuple[int | None, ...] = ()
    prefix_chunks: frozenset[int] = frozenset()

    @property
    def borders(self) -> list[int]:
        """Where the prefix and each of ``passages`` end, in tokens."""
        return list(accumulate(map(len, self.passages), initial=len(self.prefix)))

    @property
    def all_chunks(self) -> frozenset[int]:
        return self.prefix_chunks.union(chunk for chunk in self.chunks if chunk is not None)

    def marks(self) -> list[tuple[int, int]]:
        """Where passages begin, in tokens, each with its chunk id."""
        inside = [(0, chunk) for chunk in self.prefix_chunks]
        return inside + [(at, chunk) for at, chunk in zip(self.borders, self.chunks, strict=False) if chunk is not None]

    @property
    def tokens(self) -> NDArray[np.int32]:
        return np.concatenate([self.prefix, *self.passages, *self.recomputed, self.rest])

    def __len__(self) -> int:
        parts = (self.prefix, *self.passages, *self.recomputed, self.rest)
        return sum(map(len, parts))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """One prompt to be read. ``adapter`` is the name of a LoRA adapter.

    ``arrived`` is when it came to the generator (``time.monotonic()``): the caller's time runs from there.
    """

    prompt: PromptParts
    mailbox: Mailbox[Any]
    caller: Caller = ANYONE
    adapter: str | None = None
    deterministic: bool = False
    arrived: float = field(default_factory=time.monotonic)

    @property
    def deadline(self) -> float:
        return self.arrived + self.caller.timeout_s if self.caller.timeout_s is not None else float("inf")

    def too_late(self) -> DeadlineExceeded:
        """The error of a request that took longer than its caller allows."""
        waited = time.monotonic() - self.arrived
        return DeadlineExceeded(
            f"The answer was not complete within {self.caller.timeout_s:g} s ({waited:.1f} s have passed).",
            hint="Allow more time, or ask when fewer requests are running.",
        )

    @property
    def began(self) -> float:
        """When the query arrived that the request is part of."""
        return self.arrived if self.caller.arrived is None else self.caller.arrived

    @property
    def new_tokens(self) -> int:
        """The most tokens that follow the prompt."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextRequest(Request):
    """Continue the prompt with text: chunks, of which the last has a finish reason."""

    params: SamplingParams
    mailbox: Mailbox[GenerationChunk]

    @property
    def new_tokens(self) -> int:
        return self.params.max_tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbabilityRequest(Request):
    """Probabilities of ``candidates`` (token ids) as the token right after the prompt."""

    candidates: tuple[int, ...]
    mailbox: Mailbox[TokenProbabilities]

    @property
    def new_tokens(self) -> int:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreRequest(Request):
    """Log-probability of each token of ``text`` after the prompt: it is read with the prompt, nothing follows."""

    text: NDArray[np.int32]
    mailbox: Mailbox[list[float]]

    @property
    def new_tokens(self) -> int:
        return 0
