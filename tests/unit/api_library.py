"""A scripted library for tests of the API: events and errors come as queued, and what was asked is recorded."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field, replace

from rag.errors import RagError, UnknownCollection
from rag.model_types import GeneratorInfo, GeneratorStats, Usage
from rag.quality_types import Quality
from rag.types import (
    Answer,
    Citation,
    CitationEvent,
    Collection,
    DeltaEvent,
    Document,
    DoneEvent,
    Fingerprint,
    GenerationInfo,
    PassagesEvent,
    Refusal,
    RefusalCode,
    RefusedEvent,
    SearchResult,
    Sentence,
    Span,
    Timings,
)
from tests.unit.builders import make_passage

TEXT = "It stores keys and values.\nNothing else."
PASSAGE = make_passage("The KV cache stores keys and values.", id=5, heading=("Inference", "KV cache"), start=100)
CITATION = Citation(
    number=1,
    passage=PASSAGE,
    quote="stores keys and values",
    quote_span=Span(start=113, end=135),
    answer_span=Span(start=0, end=26),
    support=0.9,
)
ANSWER = Answer(
    status="answered",
    text=TEXT,
    sentences=(Sentence(text=TEXT[:26], span=Span(start=0, end=26), citations=(1,)),),
    citations=(CITATION,),
    passages=(PASSAGE,),
    refusal=None,
    usage=Usage(
        prompt_tokens=90,
        cached_tokens=10,
        completion_tokens=8,
        drafted_tokens=6,
        accepted_tokens=5,
        kv_cells=98,
        passage_reuse="stitched",
    ),
    timings=Timings(queue_ms=30, prefill_ms=400, decode_ms=3000, ttft_ms=700, total_ms=6000),
    trace_id="a" * 32,
    finish_reason="stop",
)
REFUSED = replace(
    ANSWER,
    status="refused",
    text="",
    sentences=(),
    citations=(),
    refusal=Refusal(code=RefusalCode.NOT_IN_PASSAGES, reason="Not in the passages.", confidence=0.1, threshold=0.2),
    usage=Usage(prompt_tokens=80),
    timings=Timings(queue_ms=20, prefill_ms=1500, total_ms=2000),
)
ANSWERED = (
    PassagesEvent(passages=(PASSAGE,), trace_id=ANSWER.trace_id),
    DeltaEvent(text=TEXT),
    CitationEvent(citation=CITATION),
    DoneEvent(answer=ANSWER),
)
REFUSING = (PassagesEvent(passages=(PASSAGE,), trace_id=ANSWER.trace_id), RefusedEvent(answer=REFUSED))
# Nothing close enough was found, so the model was not asked.
UNASKED = (RefusedEvent(answer=replace(REFUSED, usage=Usage(), timings=Timings(total_ms=10))),)


class Hang:
    """In a script: wait until cancelled."""


@dataclass
class ScriptedPipeline:
    """Plays ``script``: events are yielded, exceptions raised, ``Hang`` waits for the cancellation."""

    script: tuple[object, ...] = ANSWERED
    asked: list[tuple[str, str, int | None]] = field(default_factory=list)
    options: list[dict[str, object]] = field(default_factory=list)  # where, caller, deterministic, adapter
    arrivals: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def search(self, query, *, collection, k, where, as_of):
        events = [event async for event in self.stream(query, collection=collection, k=k, where=where, as_of=as_of)]
        return SearchResult(passages=events[0].passages, timings=Timings(total_ms=1), trace_id=events[0].trace_id)

    async def stream(self, question, *, collection, k, **options):
        self.asked.append((question, collection, k))
        self.options.append(options)
        self.arrivals.put_nowait(question)
        if collection != "default":
            raise UnknownCollection(f"There is no collection '{collection}'.", hint="Try default.")
        self.started.set()
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Hang):
                    await asyncio.Event().wait()
                yield step
        finally:
            await asyncio.sleep(0)  # cleanup that awaits must be allowed to finish
            self.closed.set()


def make_document(id: int) -> Document:
    return replace(PASSAGE.document, id=id, title=f"Document {id}")


class ScriptedStore:
    def __init__(self, documents):
        fingerprint = Fingerprint(parser="p1", chunker="c1", embedder="e1", dimension=3)
        self._collection = Collection(id=1, name="default", fingerprint=fingerprint, seq=4)
        self._documents = sorted(documents, key=lambda document: document.id)

    def collection(self, name):
        if name != "default":
            raise UnknownCollection(f"There is no collection '{name}'.")
        return self._collection

    def collections(self):
        return [self._collection]

    def index(self, collection):
        return GenerationInfo(seq=3, count=7, size=56, kind="flat", recall_at_10=1.0)

    def documents(self, collection, *, limit=100, after=0):
        return [document for document in self._documents if document.id > after][:limit]

    def collection_of(self, document_id):
        return self._collection if any(document.id == document_id for document in self._documents) else None

    def document(self, collection, document_id):
        return next(document for document in self._documents if document.id == document_id)

    def qualities(self, collection, document_ids, *, as_they_came=False):
        return [Quality(duplicates=document_id, flaws={"encoded": 1}) for document_id in document_ids]


@dataclass(frozen=True)
class ScriptedCheck:
    name: str
    ok: bool
    detail: str


class ScriptedGenerator:
    def stats(self):
        return GeneratorStats(
            requests=7,
            rejected=1,
            failed=2,
            cancelled=3,
            queued=4,
            running=5,
            steps=60,
            tokens_cached=100,
            tokens_prefilled=200,
            tokens_decoded=300,
            tokens_drafted=40,
            tokens_accepted=30,
            kv_cells=4096,
            kv_cells_used=1000,
            kv_ram_bytes=1 << 20,
            kv_disk_bytes=1 << 21,
            step_seconds=12.5,
            python_seconds=0.5,
        )

    async def drain(self): ...

    info = GeneratorInfo(model="m", sha256="f" * 64, context_tokens=2048, threads=2, gpu_layers=0, backend="CPU")


class ScriptedLibrary:
    """``loading`` keeps warm-up from finishing until it is cleared with ``loaded.set()``."""

    def __init__(self, *script, loading=False, load_error: RagError | None = None, checks=(), documents=()):
        self.pipeline = ScriptedPipeline(script or ANSWERED)
        self.store = ScriptedStore(documents)
        self.generator = ScriptedGenerator()
        self.checks = checks or (ScriptedCheck("database", ok=True, detail="revision 1"),)
        self.loaded = threading.Event()
        self.closed = False
        self._load_error = load_error
        if not loading:
            self.loaded.set()

    inspected = None

    def maintain(self):
        """Nothing of a scripted library grows."""

    def warm_up(self):
        assert self.loaded.wait(30)
        if self._load_error:
            raise self._load_error

    @property
    def loaded_generator(self):
        return self.generator if self.loaded.is_set() else None

    def readiness(self):
        return list(self.checks)

    def close(self):
        self.closed = True
