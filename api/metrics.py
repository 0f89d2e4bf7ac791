"""The service's figures for Prometheus: what is going on, read when asked, and how long answers took."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from rag.types import DoneEvent, RefusedEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from litestar.types import Message, Scope
    from prometheus_client.metrics_core import Metric

    from api.admission import Admission
    from rag.model_types import GeneratorStats
    from rag.protocols import Generator
    from rag.types import Answer, AnswerEvent

# From a cached search to a long answer on a small processor.
_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
_NO_ROUTE: Final = "none"  # of requests for unknown paths; the paths themselves would be labels without end


class Inspected(Protocol):
    """What was found in what is stored; ``rag.stores.verification.inspection`` says more."""

    @property
    def at(self) -> datetime: ...
    @property
    def problems(self) -> Sequence[str]: ...


class Metrics:
    """One application's registry. Nothing of it is shared with other applications in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._state = _State()
        self._registry.register(self._state)
        self._requests = Counter(
            "plumbline_http_requests",
            "HTTP responses begun, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._queue = self._histogram("queue", "that requests for an answer waited before the model began with them")
        self._prefill = self._histogram("prefill", "in which the model read the prompts of an answer or of a refusal")
        self._first_token = self._histogram("first_token", "from the question's arrival to the first generated token")
        self._decode = self._histogram("decode", "from the first generated token to the last")
        self._total = Histogram(
            "plumbline_answer_seconds",
            "Seconds from the question's arrival to the answer or the refusal.",
            ["status"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def _histogram(self, name: str, what: str) -> Histogram:
        return Histogram(
            f"plumbline_answer_{name}_seconds", f"Seconds {what}.", buckets=_SECONDS, registry=self._registry
        )

    def watch(self, admission: Admission, generator: Callable[[], Generator | None]) -> None:
        """Report these from now on. ``generator`` must not load one."""
        self._state.admission, self._state.generator = admission, generator

    def watch_storage(self, inspected: Callable[[], Inspected | None]) -> None:
        """Report what was found in what is stored, from now on."""
        self._state.inspected = inspected

    async def watched(self, events: AsyncGenerator[AnswerEvent, None]) -> AsyncGenerator[AnswerEvent, None]:
        """The same events; the answer or refusal that ends them is counted."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, DoneEvent | RefusedEvent):
                    self._count_answer(event.answer)
                yield event

    def _count_answer(self, answer: Answer) -> None:
        """Of a stage that was not reached there is nothing to observe: the model was not asked, or wrote nothing."""
        timings = answer.timings
        self._total.labels(answer.status).observe(timings.total_ms / 1000)
        if answer.usage.prompt_tokens:
            self._queue.observe(timings.queue_ms / 1000)
            self._prefill.observe(timings.prefill_ms / 1000)
        if timings.ttft_ms is not None:
            self._first_token.observe(timings.ttft_ms / 1000)
            self._decode.observe(timings.decode_ms / 1000)

    async def count_response(self, message: Message, scope: Scope) -> None:
        """Litestar's ``before_send`` hook."""
        if message["type"] == "http.response.start":
            self._requests.labels(scope.get("path_template") or _NO_ROUTE, message["status"]).inc()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All figures and their media type, in the format that an ``Accept`` header prefers."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _State(Collector):
    """What admission and generator say of themselves; of a generator that is not loaded there is nothing to say."""

    def __init__(self) -> None:
        self.admission: Admission | None = None
        self.generator: Callable[[], Generator | None] = lambda: None
        self.inspected: Callable[[], Inspected | None] = lambda: None

    def collect(self) -> Iterator[Metric]:
        inspected = self.inspected()
        if inspected is not None:
            yield from _of_inspection(inspected)
        if self.admission is not None:
            yield from _of_admission(self.admission)
        generator = self.generator()
        if generator is not None:
            yield from _of_generator(generator.stats())

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not ask for figures only to learn their names."""
        return ()


def _of_admission(admission: Admission) -> Iterator[Metric]:
    yield GaugeMetricFamily("plumbline_queries", "Queries and searches in the service.", admission.active)
    yield GaugeMetricFamily("plumbline_queries_limit", "Queries and searches let in at the same time.", admission.limit)
    yield CounterMetricFamily(
        "plumbline_queries_rejected", "Queries and searches turned away for want of a place.", admission.rejected
    )


def _of_inspection(inspected: Inspected) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "plumbline_stored_data_problems", "Damages found when what is stored was inspected.", len(inspected.problems)
    )
    yield GaugeMetricFamily(
        "plumbline_stored_data_inspected_timestamp_seconds", "When that was, as Unix time.", inspected.at.timestamp()
    )


def _of_generator(stats: GeneratorStats) -> Iterator[Metric]:
    requests = GaugeMetricFamily("plumbline_requests", "Requests in the language model.", labels=["state"])
    requests.add_metric(["running"], stats.running)
    requests.add_metric(["queued"], stats.queued)
    yield requests
    yield CounterMetricFamily("plumbline_generator_requests", "Requests the language model was given.", stats.requests)
    unfinished = CounterMetricFamily(
        "plumbline_generator_requests_unfinished", "Requests the language model did not finish.", labels=["reason"]
    )
    unfinished.add_metric(["rejected"], stats.rejected)
    unfinished.add_metric(["failed"], stats.failed)
    unfinished.add_metric(["cancelled"], stats.cancelled)
    yield unfinished
    tokens = CounterMetricFamily(
        "plumbline_tokens", "Tokens: of prompts cached or prefilled, of answers decoded; drafts.", labels=["kind"]
    )
    tokens.add_metric(["cached"], stats.tokens_cached)
    tokens.add_metric(["prefilled"], stats.tokens_prefilled)
    tokens.add_metric(["decoded"], stats.tokens_decoded)
    tokens.add_metric(["drafted"], stats.tokens_drafted)
    tokens.add_metric(["accepted"], stats.tokens_accepted)
    yield tokens
    yield GaugeMetricFamily("plumbline_kv_cells", "Cells of the key-value cache, one a token.", stats.kv_cells)
    yield GaugeMetricFamily(
        "plumbline_kv_cells_used", "Cells that requests and reusable state occupy.", stats.kv_cells_used
    )
    stored = GaugeMetricFamily("plumbline_kv_bytes", "Bytes of model state beyond the cells.", labels=["tier"])
    stored.add_metric(["ram"], stats.kv_ram_bytes)
    stored.add_metric(["disk"], stats.kv_disk_bytes)
    yield stored
    yield CounterMetricFamily(
        "plumbline_kv_states_erased", "States given up because a passage of them was deleted.", stats.states_erased
    )
    yield CounterMetricFamily("plumbline_steps", "Steps of the language model.", stats.steps)
    yield CounterMetricFamily("plumbline_step_seconds", "Seconds in steps of the language model.", stats.step_seconds)
    yield CounterMetricFamily(
        "plumbline_python_seconds", "The part of step seconds outside of the model.", stats.python_seconds
    )
