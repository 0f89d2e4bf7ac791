"""A query on its way through the pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rag.errors import DeadlineExceeded
from rag.generation.draft import AnswerDraft
from rag.model_types import ANYONE, SamplingParams, Usage
from rag.telemetry import current_trace_id
from rag.types import Timings

if TYPE_CHECKING:
    from rag.model_types import Caller
    from rag.types import Answer, Passage, Refusal


@dataclass(slots=True, kw_only=True)
class QueryRun:
    """One query on its way: what it asked, for whom, the clock, and what the model has done for it."""

    question: str
    caller: Caller = ANYONE
    sampling: SamplingParams = field(default_factory=SamplingParams)
    trace_id: str = field(default_factory=current_trace_id)
    started: float = field(default_factory=time.perf_counter)
    arrived: float = field(default_factory=time.monotonic)
    timings: Timings = field(default_factory=Timings)
    usage: Usage | None = None  # of the requests to the model so far
    confidence: float | None = None

    def ms(self) -> float:
        return (time.perf_counter() - self.started) * 1000

    def asking(self) -> Caller:
        """The caller of the next request to the model, with the query's place in line and what is left of its time.

        Raises:
            DeadlineExceeded: nothing is.
        """
        arrived = self.arrived if self.caller.arrived is None else self.caller.arrived
        caller = replace(self.caller, arrived=arrived, continues=self.caller.continues or self.usage is not None)
        limit = self.caller.timeout_s
        if limit is None:
            return caller
        left = limit - self.ms() / 1000
        if left <= 0:
            raise DeadlineExceeded(
                f"The request was not complete after its {limit:g} s.", hint="Ask again later, or allow it more time."
            )
        return replace(caller, timeout_s=left)

    def took(self, usage: Usage) -> None:
        """A request to the model is complete."""
        self.usage = usage if self.usage is None else self.usage.followed_by(usage)
        self.usage = replace(self.usage, first_token_ms=self.timings.ttft_ms or 0.0)
        self.timings = replace(self.timings, queue_ms=self.usage.queue_ms, prefill_ms=self.usage.prefill_ms)

    def answered(self, draft: AnswerDraft) -> Answer:
        timings = replace(self.timings, total_ms=self.ms())
        answer = draft.answer(timings=timings, trace_id=self.trace_id)
        return replace(answer, usage=self.usage or Usage(), confidence=self.confidence)

    def refused(self, refusal: Refusal, passages: tuple[Passage, ...], draft: AnswerDraft | None = None) -> Answer:
        draft = draft or AnswerDraft(self.question, passages)
        return replace(self.answered(draft), status="refused", refusal=refusal)
