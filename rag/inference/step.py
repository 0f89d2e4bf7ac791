"""One step: what every request at work needs next, in one run of the model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rag.errors import GenerationFailed, RagError
from rag.inference.runs import TextRun
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.inference.context import Context
    from rag.inference.runs import Run
    from rag.inference.speculation import DraftPolicy

_log = get_logger("inference")

# Prompt tokens of a step beside as many requests or more that write their answers, and wait for the step to end.
_PROMPT_ROWS_BESIDE_ANSWERS = 128


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the engine has done since it started. Written by its thread, ``rejected`` under its gate."""

    requests: int = 0
    rejected: int = 0
    failed: int = 0
    cancelled: int = 0
    steps: int = 0
    tokens_cached: int = 0
    tokens_prefilled: int = 0
    tokens_decoded: int = 0
    tokens_drafted: int = 0
    tokens_accepted: int = 0
    states_erased: int = 0
    step_seconds: float = 0.0
    model_seconds: float = 0.0


def failure_of(error: Exception) -> RagError:
    """What to tell the caller of a request in whose own part something went wrong; the unexpected is logged."""
    if isinstance(error, RagError):
        return error
    _log.error("request failed", exc_info=error)
    failure = GenerationFailed(f"The request could not be worked on: {type(error).__name__}: {error}.")
    failure.__cause__ = error
    return failure


class Stepper:
    """Composes batches and hands out their results. ``charge`` is told what each key's tokens were."""

    def __init__(
        self,
        context: Context,
        counters: Counters,
        *,
        policy: DraftPolicy | None,
        activate: Callable[[Context, str | None], None],
        charge: Callable[[str, int], None],
        mixes: bool,
    ) -> None:
        """``mixes``: answers are continued in the steps that read prompts, instead of in steps between those.

        On a CPU that costs more than it saves: ggml's flash attention works on tiles of 64 rows, and a tile with rows
        of several sequences reads the cells of all of them for every row (docs/lab-log.md has figures).
        """
        self._context = context
        self._counters = counters
        self._policy = policy
        self._activate = activate
        self._charge = charge
        self._mixes = mixes
        self._wrote = False  # whether the step before continued answers
        self._batch = context.batch()
        self._adapter: str | None = None

    def run(self, runs: list[Run[Any]]) -> None:
        """Run the model once over what the runs need next; those that ended are marked so.

        Raises:
            GenerationFailed: the model could not be run; what the cache holds is unknown.
        """
        began = time.perf_counter()
        writing, reading = self._compose(runs, self._choose_adapter(runs))
        if self._batch.rows:
            self._decode(plain=not reading)
        for writer in writing:
            self._guarded(writer, self._commit_answer)
        for reader in reading:
            self._guarded(reader, self._commit_prompt)
        self._counters.step_seconds += time.perf_counter() - began
        if not self._batch.rows and not any(run.ended or not run.in_prompt for run in reading):
            raise GenerationFailed("The cache has no sequence left to read the prompts in.")

    def _decode(self, *, plain: bool) -> None:
        began = time.perf_counter()
        self._context.decode(self._batch)
        took = time.perf_counter() - began
        self._counters.model_seconds += took
        self._counters.steps += 1
        if self._policy is not None and plain:
            self._policy.costs.observe(self._batch.rows, took * 1000)

    def _compose(self, runs: list[Run[Any]], adapter: str | None) -> tuple[list[TextRun], list[Run[Any]]]:
        """Fill the batch; which runs write and which read in it."""
        mine = [run for run in runs if run.request.adapter == adapter]
        writing = [run for run in mine if isinstance(run, TextRun) and not run.in_prompt]
        reading = [run for run in mine if run.in_prompt]
        most = _PROMPT_ROWS_BESIDE_ANSWERS if writing and len(writing) >= len(reading) else self._batch.capacity
        self._batch.clear()
        if writing and reading and not self._mixes:
            self._wrote = not (self._wrote and self._read(reading, most))
            if not self._wrote:
                return [], reading
            self._write(writing)
            return writing, []
        self._write(writing)
        self._read(reading, most)
        return writing, reading

    def _write(self, writing: list[TextRun]) -> None:
        for at, writer in enumerate(writing):
            writer.add_answer_rows(self._batch, other_rows=self._batch.rows + len(writing) - 1 - at)

    def _read(self, reading: list[Run[Any]], most: int) -> int:
        room = min(most, self._batch.capacity - self._batch.rows)
        for reader in reading:
            room -= reader.add_prompt_rows(self._batch, room)
        return self._batch.rows

    def _commit_answer(self, run: TextRun) -> None:
        tokens = run.commit_answer()
        self._counters.tokens_decoded += tokens
        self._charge(run.request.caller.key, tokens)

    def _commit_prompt(self, run: Run[Any]) -> None:
        before = run.tokens_read
        run.commit()
        read = run.tokens_read - before
        self._counters.tokens_prefilled += read
        self._charge(run.request.caller.key, read)
        if not run.in_prompt:
            self._counters.tokens_cached += max(0, run.prompt_tokens - run.tokens_read)
            self._counters.tokens_decoded += isinstance(run, TextRun)

    def _guarded(self, run: Run[Any], work: Callable[[Any], None]) -> None:
        """What goes wrong with one request's own part of a step ends that request and no other."""
        try:
            work(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on, and its caller is told
            self._counters.failed += 1
            run.fail(failure_of(error))

    def _choose_adapter(self, runs: list[Run[Any]]) -> str | None:
        """The adapter of this step: adapters take turns, a step each, as a batch can only have one."""
        wanted: list[str | None] = list(dict.fromkeys(run.request.adapter for run in runs))
        if self._adapter in wanted and len(wanted) > 1:
            after = wanted.index(self._adapter) + 1
            adapter = wanted[after % len(wanted)]
        else:
            adapter = self._adapter if self._adapter in wanted else wanted[0]
        if adapter != self._adapter:
            self._activate(self._context, adapter)
            self._adapter = adapter
        return adapter
