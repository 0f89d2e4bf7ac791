"""How an engine is to run beside the model file itself: its bounds, and what it may reuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rag.model_types import PassageReuse


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Bounds and choices of one engine; the defaults are those of a small machine.

    ``kv_tokens`` are the cells of the key-value cache, all requests together (0: twice the context window);
    ``max_running`` and ``max_queued`` count requests; ``kv_ram_bytes`` and ``kv_disk_bytes`` bound stored model state
    (0: none). ``passage_reuse`` is what the caller decided, quality gate included; an engine whose model cannot be
    stitched lowers it to ``exact``; of stitched passages the best ``recomputed_passages`` are read anew after the
    others. ``passage_order="cached"`` puts passages with stored state first (exact reuse only). State that outlives
    the process lies in ``snapshot_directory`` (None: nothing does). ``adapters`` are LoRA files (GGUF) by the name that
    requests select them with.
    """

    kv_tokens: int = 0
    max_running: int = 8
    max_queued: int = 64
    speculation: bool = True
    passage_reuse: PassageReuse = "exact"
    passage_order: Literal["rank", "cached"] = "rank"
    kv_ram_bytes: int = 0
    kv_disk_bytes: int = 0
    snapshot_directory: Path | None = None
    recomputed_passages: int = 0
    adapters: Mapping[str, Path] = field(default_factory=dict)
