"""The thread that owns a model's context: it runs the requests of many callers together, a step at a time.

Requests join and leave between steps. A step is one run of the model over a batch: a token (and maybe a draft) of every
answer being written, and parts of prompts being read, so that a long prompt does not stop the others' answers.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from rag.errors import GenerationFailed, Overloaded, RagError, ShuttingDown
from rag.inference.engine_parts import Erasure
from rag.inference.placement import Placement
from rag.inference.requests import ProbabilityRequest, ScoreRequest, TextRequest
from rag.inference.runs import ProbabilityRun, ScoreRun, TextRun
from rag.inference.step import Counters, Stepper, failure_of
from rag.inference.waiting import FairQueue
from rag.model_types import GenerationChunk, GeneratorStats, Usage
from rag.plurals import plural
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from rag.inference.engine_parts import EngineParts
    from rag.inference.requests import Request
    from rag.inference.runs import Run
    from rag.model_types import Gone

_log = get_logger("inference")

_CLOSED = "The language model is closed."
_RESTART = "Restart the process."
_REMEMBERED_DURATIONS = 32


class Engine:
    """Runs up to ``max_running`` requests at once and lets ``max_queued`` more wait.

    A request is cancelled by abandoning its mailbox: the engine looks before each step. An error of one request ends
    that request; an error of the engine itself ends all, and those to come.
    """

    def __init__(
        self,
        parts: EngineParts,
        *,
        max_running: int,
        max_queued: int,
        stitched: bool,
        reorders: bool,
        recomputed: int = 0,
        mixes: bool = False,
    ) -> None:
        self._parts = parts
        self._context, self._tree, self._lane = parts.context, parts.tree, parts.lane
        self._outbox = parts.outbox
        self.max_running, self._max_queued = max_running, max_queued
        self._placement = Placement(parts.tree, stitched=stitched, reorders=reorders, recomputed=recomputed)
        self._inbox: queue.SimpleQueue[Request | Erasure | None] = queue.SimpleQueue()
        self._waiting = FairQueue()
        self._runs: list[Run[Any]] = []
        self._room_changed = True
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_DURATIONS)
        self._gate = threading.Lock()  # a request is in line before the thread ends, or it is refused
        self._open: set[Request] = set()  # submitted and not ended, under the gate
        self._idle = threading.Condition(self._gate)
        self._draining = False
        self._closing = False
        self._ended: str | None = None
        self._counters = Counters()
        self._stepper = Stepper(
            parts.context,
            self._counters,
            policy=parts.policy,
            activate=parts.activate,
            charge=self._waiting.charge,
            mixes=mixes,
        )
        # A daemon: a program that forgets to close must still be able to exit.
        self._thread = threading.Thread(target=self._live, name="llama-engine", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why requests are no longer served; None while they are."""
        return self._ended

    def stats(self) -> GeneratorStats:
        """Counters and the state of the cache, as of the last step."""
        counters, snapshots = self._counters, self._tree.cells.snapshots
        running = len(self._runs) + (self._lane.current is not None)
        return GeneratorStats(
            requests=counters.requests,
            rejected=counters.rejected,
            failed=counters.failed,
            cancelled=counters.cancelled,
            queued=max(0, len(self._open) - running),
            running=running,
            steps=counters.steps,
            tokens_cached=counters.tokens_cached,
            tokens_prefilled=counters.tokens_prefilled + self._lane.tokens_read,
            tokens_decoded=counters.tokens_decoded + self._lane.tokens_decoded,
            tokens_drafted=counters.tokens_drafted,
            tokens_accepted=counters.tokens_accepted,
            kv_cells=self._context.cells,
            kv_cells_used=self._tree.cells.claimed,
            kv_ram_bytes=snapshots.ram_bytes_used,
            kv_disk_bytes=snapshots.disk_bytes_used,
            states_erased=counters.states_erased,
            step_seconds=counters.step_seconds,
            python_seconds=counters.step_seconds - counters.model_seconds,
        )

    def submit(self, request: Request) -> None:
        """Put a request in line.

        Raises:
            Overloaded: too many are in line already.
            ShuttingDown: the engine is being drained.
            GenerationFailed: the engine has stopped.
        """
        with self._gate:
            if self._ended is not None:
                raise GenerationFailed(self._ended, hint=_RESTART)
            if self._draining:
                self._counters.rejected += 1
                raise ShuttingDown
            # Who has gone away leaves with the step, but takes nobody's place until then.
            in_line = sum(not other.mailbox.abandoned for other in self._open)
            if in_line >= self.max_running + self._max_queued:
                self._counters.rejected += 1
                position = in_line - self.max_running + 1
                retry = self._retry_after_s(position)
                raise Overloaded(
                    f"{plural(in_line, 'request')} running or waiting; this one would be number {position} in line.",
                    hint=f"Try again in about {retry} s, or raise RAG_MAX_QUEUED.",
                    retry_after_s=retry,
                    queue_position=position,
                )
            self._open.add(request)
            self._inbox.put(request)

    def erase(self, gone: Gone) -> None:
        """Forget, in memory and on disk, all state that depends on chunks that are gone, and keep nothing of them that
        requests under way bring. Waits for at most one model step; works whatever the engine is doing, also once it has
        ended.

        Raises:
            GenerationFailed: something went wrong with it. Nothing is in memory any more; try again for the disk.
        """
        erasure = Erasure(gone=gone)
        with self._gate:
            ended = self._ended is not None
            if not ended:
                self._inbox.put(erasure)
        snapshots = self._tree.cells.snapshots
        if ended:  # its last act is to write what is worth keeping
            self._thread.join()
            self._tree.erased.add(gone)
            snapshots.erase(gone)
        else:
            erasure.done.result()
            snapshots.settle(gone)

    def drain(self) -> None:
        """Refuse what comes and wait until everything in line has ended."""
        with self._idle:
            self._draining = True
            self._idle.wait_for(lambda: not self._open or self._ended is not None)

    def close(self) -> None:
        """End everything as cancelled, stop the thread and free the model. Waits for at most one model step."""
        self._closing = True
        self._inbox.put(None)
        # The garbage collector may run on any thread, and with it the finalizer of a forgotten generator.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _retry_after_s(self, position: int) -> int:
        typical = sorted(self._durations)[len(self._durations) // 2] if self._durations else 1.0
        return max(1, min(600, math.ceil(typical * position / self.max_running)))

    def _live(self) -> None:
        try:
            while self._take_requests():
                self._drop_ended()
                self._admit()
                self._step()
                self._lane_step()
                self._outbox.flush()
        finally:
            self._end(sys.exception())

    def _take_requests(self) -> bool:
        """Take what has been submitted, waiting if there is nothing to do; False once the engine is to stop."""
        busy = self._runs or len(self._waiting) or self._lane.current
        while True:
            try:
                request = self._inbox.get(block=not busy)
            except queue.Empty:
                return True
            if isinstance(request, Erasure) and not self._closing:
                self._erase(request)
                continue
            if request is None or isinstance(request, Erasure) or self._closing:
                if request is not None:
                    self._inbox.put(request)  # it is told with the others
                return False
            self._counters.requests += 1
            self._room_changed = True
            self._waiting.push(request, running={run.request.caller.key for run in self._runs})
            busy = True

    def _erase(self, erasure: Erasure) -> None:
        try:
            self._counters.states_erased += erasure.run(self._tree, self._lane)
        except Exception as error:  # noqa: BLE001 - the tree may be half changed: nothing in it can be trusted
            failure = failure_of(error)
            erasure.done.set_exception(failure)  # before anything else can go wrong: somebody waits
            self._fail_all(failure)
        self._room_changed = True

    def _drop_ended(self) -> None:
        """Let go of requests nobody waits for and those whose time is up, wherever they are."""
        now = time.monotonic()
        for request in [r for r in self._waiting if r.mailbox.abandoned or now > r.deadline]:
            self._waiting.remove(request)
            self._tell_gone(request)
            self._close_request(request)
        for run in [run for run in self._runs if run.request.mailbox.abandoned or now > run.request.deadline]:
            if now > run.request.deadline:
                self._counters.failed += 1
                run.fail(run.request.too_late())
            else:
                self._counters.cancelled += 1
                run.cancel()
            self._leave(run)
        current = self._lane.current
        if current is not None and (current.mailbox.abandoned or now > current.deadline):
            self._lane.abort()
            self._tell_gone(current)
            self._close_request(current)

    def _tell_gone(self, request: Request) -> None:
        if time.monotonic() > request.deadline:
            self._counters.failed += 1
            self._outbox.post(request.mailbox, request.too_late())
        else:
            self._counters.cancelled += 1

    def _admit(self) -> None:
        """Start those in line, in order, as long as there is room; nobody overtakes."""
        self._tree.forget_evicted()
        while (request := self._waiting.first(lane_is_free=self._lane.current is None)) is not None:
            if request.deterministic:
                self._lane.begin(request)
            elif len(self._runs) >= self.max_running or not self._room_changed or not self._start(request):
                self._room_changed = False
                return
            self._waiting.remove(request)

    def _start(self, request: Request) -> bool:
        """Begin a request, or refuse it; False if the cache has no room for it now."""
        try:
            run = self._make_run(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on, and its caller is told
            self._refuse(request, failure_of(error))
            return True
        try:
            prompt = self._placement.arranged(request)
            stitched = self._placement.stitches(request.prompt)
            admitted = run.admit(prompt, stitched=stitched, alone=not self._runs)
        except Exception as error:  # noqa: BLE001 - the tree may be half changed: nothing in it can be trusted
            failure = failure_of(error)
            run.free()
            self._fail_all(failure)
            self._refuse(request, failure)
            return True
        if not admitted:
            run.free()
            if self._runs:
                return False
            reason = GenerationFailed(
                f"A prompt of {len(prompt)} tokens with {request.new_tokens} to come does not fit the "
                f"{self._context.cells} cells of the cache.",
                hint="Raise RAG_KV_TOKENS, or ask for less.",
            )
            self._refuse(request, reason)
            return True
        self._runs.append(run)
        self._runs.sort(
            key=lambda run: (run.request.caller.priority, not run.request.caller.continues, run.request.began)
        )
        return True

    def _refuse(self, request: Request, why: RagError) -> None:
        self._counters.failed += 1
        self._outbox.post(request.mailbox, why)
        self._close_request(request)

    def _make_run(self, request: Request) -> Run[Any]:
        parts = (self._tree, self._context, self._outbox)
        if isinstance(request, TextRequest):
            return TextRun(request, *parts, vocabulary=self._parts.vocabulary, policy=self._parts.policy)
        if isinstance(request, ProbabilityRequest):
            return ProbabilityRun(request, *parts)
        if isinstance(request, ScoreRequest):
            return ScoreRun(request, *parts)
        raise TypeError(f"not a request: {request!r}")

    def _step(self) -> None:
        if not self._runs:
            return
        try:
            self._stepper.run(self._runs)
        except RagError as error:
            self._fail_all(error)
        for run in [run for run in self._runs if run.ended]:
            self._leave(run)

    def _lane_step(self) -> None:
        request = self._lane.current
        if request is None:
            return
        before = self._lane.tokens_read + self._lane.tokens_decoded
        try:
            going = self._lane.step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on, and its caller is told
            self._lane.abort()
            self._refuse(request, failure_of(error))
            return
        done = self._lane.tokens_read + self._lane.tokens_decoded - before
        self._waiting.charge(request.caller.key, done)
        if not going:
            self._close_request(request)

    def _leave(self, run: Run[Any]) -> None:
        if isinstance(run, TextRun):
            self._counters.tokens_drafted += run.drafted
            self._counters.tokens_accepted += run.accepted
            if run.output.finish:
                run.keep_for_next_turn()
        run.release()
        self._runs.remove(run)
        self._durations.append(time.monotonic() - run.admitted)
        self._close_request(run.request)

    def _close_request(self, request: Request) -> None:
        self._room_changed = True
        with self._idle:
            self._open.discard(request)
            self._idle.notify_all()

    def _fail_all(self, error: RagError) -> None:
        """A decode failed: what the cache holds is unknown, so every request in it ends and it starts empty."""
        for run in self._runs:
            run.fail(error)
            run.free()
            self._counters.failed += 1
            self._close_request(run.request)
        self._runs = []
        self._tree.reset()

    def _end(self, cause: BaseException | None) -> None:
        """Answer everyone still waiting, whatever ended the thread; an unexpected cause goes on to be reported."""
        why = _CLOSED
        if cause is not None:
            why = f"The language model's thread has died: {type(cause).__name__}: {cause}."
            _log.error("generation thread died", cause=repr(cause))
        with self._idle:
            self._ended = why
            self._idle.notify_all()
        left: list[Request | Erasure | None] = [run.request for run in self._runs]
        left += [*self._waiting, self._lane.current]
        while not self._inbox.empty():
            left.append(self._inbox.get())
        for request in left:
            if isinstance(request, TextRequest) and cause is None:
                usage = Usage(prompt_tokens=len(request.prompt))
                chunk = GenerationChunk(text="", finish_reason="cancelled", usage=usage)
                self._outbox.post(request.mailbox, chunk)
            elif request is not None and not isinstance(request, Erasure):
                error = GenerationFailed(why, hint=_RESTART)
                error.__cause__ = cause
                self._outbox.post(request.mailbox, error)
        self._outbox.flush()
        for run in self._runs:
            run.free()
        self._runs = []
        for erasure in [item for item in left if isinstance(item, Erasure)]:
            self._erase(erasure)
        if cause is None:
            self._tree.cells.store_all()
        self._parts.free(why)
