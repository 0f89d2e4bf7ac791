"""Requests of generators without a thread of their own: they can run out of time, be stopped, and are counted."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from rag.errors import DeadlineExceeded, InputError, Overloaded, RagError, ShuttingDown
from rag.model_types import GeneratorStats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rag.model_types import Caller, Usage

_T = TypeVar("_T")


class Stopped(Exception):
    """The generator was closed while this request was under way."""


class Run:
    """One request. It belongs to the event loop it is made on."""

    def __init__(self, caller: Caller) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = caller.timeout_s
        self._deadline = None if caller.timeout_s is None else self._loop.time() + caller.timeout_s
        self._limit: asyncio.Timeout | None = None
        self.stopped = False
        self.ended = asyncio.Event()

    async def bounded(self, step: Callable[[], Awaitable[_T]]) -> _T:
        """Await one step.

        Raises:
            DeadlineExceeded: the caller's time was over before it was done.
            Stopped: ``stop`` was called before it was done.
        """
        self._check()
        try:
            async with asyncio.timeout_at(self._deadline) as limit:
                self._limit = limit
                return await step()
        except TimeoutError:
            if not limit.expired():
                raise
            # Not by the clock: a timer may be early by as much as the clock is coarse.
            raise (Stopped() if self.stopped else self._too_late()) from None
        finally:
            self._limit = None

    def stop(self) -> None:
        """End the step that is awaited now, and every later one. From any thread."""
        self.stopped = True
        with suppress(RuntimeError):  # the loop is closed, and nobody waits on it
            self._loop.call_soon_threadsafe(self._interrupt)

    def _interrupt(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._loop.time())

    def _check(self) -> None:
        if self.stopped:
            raise Stopped
        if self._deadline is not None and self._loop.time() >= self._deadline:
            raise self._too_late()

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"The answer was not complete within {self._timeout_s:g} s.",
            hint="Allow more time (RAG_REQUEST_TIMEOUT_S), or ask for a shorter answer.",
        )


class Runs:
    """The requests under way, and a count of how they end."""

    def __init__(self) -> None:
        self._under_way: set[Run] = set()
        self._stats = GeneratorStats()
        self._draining = False

    @property
    def stats(self) -> GeneratorStats:
        return replace(self._stats, running=len(self._under_way))

    @contextmanager
    def start(self, caller: Caller) -> Iterator[Run]:
        """A new request.

        Raises:
            ShuttingDown: after ``drain`` was called.
        """
        self._add(requests=1)
        run = Run(caller)
        self._under_way.add(run)
        try:
            if self._draining:
                raise ShuttingDown
            yield run
        except (Overloaded, ShuttingDown):
            self._add(rejected=1)
            raise
        except InputError:
            raise  # the caller's mistake, not this generator's failure
        except (GeneratorExit, asyncio.CancelledError, Stopped):
            self._add(cancelled=1)
            raise
        except RagError:
            self._add(failed=1)
            raise
        finally:
            self._under_way.discard(run)
            run.ended.set()

    def completed(self, usage: Usage) -> None:
        """Count the tokens of an answer."""
        self._add(
            tokens_cached=usage.cached_tokens,
            tokens_prefilled=max(0, usage.prompt_tokens - usage.cached_tokens),
            tokens_decoded=usage.completion_tokens,
            tokens_drafted=usage.drafted_tokens,
            tokens_accepted=usage.accepted_tokens,
        )

    async def drain(self) -> None:
        """Refuse new requests and wait for those under way."""
        self._draining = True
        while self._under_way:
            await next(iter(self._under_way)).ended.wait()

    def stop(self) -> None:
        """Stop every request under way. From any thread."""
        for run in tuple(self._under_way):
            run.stop()

    def _add(self, **counts: int) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + n for name, n in counts.items()})
