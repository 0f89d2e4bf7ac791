"""Putting an engine together: model, context, tree, snapshots, adapters and the rest, and taking it apart again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rag.errors import RagError
from rag.inference.adapters import Adapters, activate
from rag.inference.context import Context
from rag.inference.engine import Engine
from rag.inference.engine_parts import EngineParts
from rag.inference.kinds import model_kind
from rag.inference.kv.snapshots import SnapshotStore
from rag.inference.kv.tree import KvTree
from rag.inference.lane import DeterministicLane
from rag.inference.model import Model
from rag.inference.requests import Outbox
from rag.inference.segments import PromptEncoder
from rag.inference.speculation import DraftPolicy, StepCosts
from rag.inference.template import ChatTemplate
from rag.inference.tokens import Vocabulary
from rag.model_types import GeneratorInfo
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from rag.inference.options import EngineOptions

_log = get_logger("inference")

# Rows of a step at most. On a CPU more read a prompt no faster (docs/lab-log.md), and whoever comes waits for the step
# to end: two cores and 1.5B parameters read 150 tokens a second.
_STEP_ROWS_CPU, _STEP_ROWS_GPU = 256, 512
# Sequences of the context: one for each request at work and for each node of the tree whose cells are held.
_SEQUENCES = 96
# Bump when what a snapshot's bytes mean changes.
_SNAPSHOT_FORM = "kv:1"
_MEASURED_ROWS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """A running engine and what its callers need beside it."""

    engine: Engine
    vocabulary: Vocabulary
    encoder: PromptEncoder
    adapters: Adapters
    template_stop: tuple[str, ...]
    info: GeneratorInfo


def assemble(
    path: Path,
    *,
    model_name: str,
    sha256: str,
    context_tokens: int,
    threads: int,
    gpu_layers: int | Literal["auto", "all"],
    options: EngineOptions,
) -> Assembly:
    """Load a model and start its engine. Raises as ``LlamaGenerator.load``."""
    model = Model.load(path, gpu_layers=gpu_layers)
    try:
        return _assemble(model, model_name, sha256, context_tokens, threads, options)
    except RagError:
        model.free()
        raise


def _assemble(
    model: Model, model_name: str, sha256: str, context_tokens: int, threads: int, options: EngineOptions
) -> Assembly:
    size = _context_size(model, context_tokens)
    kind = model_kind(model)
    adapters = Adapters.load(model, options.adapters)
    context = Context(
        model,
        cells=max(size, options.kv_tokens or 2 * size),
        threads=threads,
        batch_tokens=_STEP_ROWS_GPU if model.gpu_layers else _STEP_ROWS_CPU,
        sequences=_SEQUENCES,
    )
    vocabulary = Vocabulary(model)
    outbox = Outbox()
    identity = f"{_SNAPSHOT_FORM} {sha256 or model_name} {model.lib.llama_version().decode()}"
    snapshots = _snapshots(options, identity, on_disk=bool(sha256), shares=kind.shares_prefixes)
    tree = KvTree(
        context,
        snapshots,
        identity=identity,
        adapters={adapter.name: adapter.sha256 for adapter in adapters},
        shares=kind.shares_prefixes,
        cuts=kind.cuts,
    )

    def switch(target: Context, name: str | None) -> None:
        activate(target.pointer, adapters.get(name))

    lane = DeterministicLane(
        model,
        vocabulary,
        context_tokens=size,
        threads=threads,
        outbox=outbox,
        erased=tree.erased,
        activate=switch,
    )

    def free(why: str) -> None:
        vocabulary.close(why)
        snapshots.close()
        lane.free()
        context.free()
        model.free()

    stitched = options.passage_reuse == "stitched" and kind.stitches_passages
    engine = Engine(
        EngineParts(
            context=context,
            tree=tree,
            lane=lane,
            vocabulary=vocabulary,
            outbox=outbox,
            policy=_draft_policy(context) if options.speculation and kind.speculates else None,
            activate=switch,
            free=free,
        ),
        max_running=options.max_running,
        max_queued=options.max_queued,
        stitched=stitched,
        reorders=options.passage_order == "cached" and not stitched,
        recomputed=options.recomputed_passages,
        mixes=model.gpu_layers > 0,
    )
    template = _template(model, vocabulary)
    return Assembly(
        engine=engine,
        vocabulary=vocabulary,
        encoder=PromptEncoder(vocabulary, template, erased=tree.erased),
        adapters=adapters,
        template_stop=template.stop,
        info=GeneratorInfo(
            model=model_name,
            sha256=sha256,
            context_tokens=size,
            threads=threads,
            gpu_layers=model.gpu_layers,
            backend=model.backend(),
            reuse=kind.reuse,
            passage_reuse="stitched" if stitched else "exact",
        ),
    )


def _snapshots(options: EngineOptions, identity: str, *, on_disk: bool, shares: bool) -> SnapshotStore:
    return SnapshotStore(
        ram_bytes=options.kv_ram_bytes if shares else 0,
        disk_bytes=options.kv_disk_bytes if shares and on_disk else 0,
        directory=options.snapshot_directory,
        identity=identity,
    )


def _template(model: Model, vocabulary: Vocabulary) -> ChatTemplate:
    return ChatTemplate(
        model.metadata("tokenizer.chat_template"),
        bos=vocabulary.text(vocabulary.bos),
        eos=vocabulary.text(vocabulary.eos),
    )


def _context_size(model: Model, asked: int) -> int:
    size = min(asked, model.trained_context)
    if size < asked:
        _log.warning("context shortened to what the model was trained for", asked=asked, used=size)
    return size


def _draft_policy(context: Context) -> DraftPolicy:
    """Time a step of each size once; that also brings the weights into memory."""
    batch = context.batch()
    measured: dict[int, float] = {}
    for rows in (1, *_MEASURED_ROWS):  # the first run pays for what is only done once
        batch.clear()
        batch.add(np.zeros(rows, dtype=np.int32), 0, 0, outputs=rows)
        began = time.perf_counter()
        context.decode(batch)
        measured[rows] = (time.perf_counter() - began) * 1000
        context.drop(0)
    context.steps = 0
    return DraftPolicy(StepCosts(measured))
