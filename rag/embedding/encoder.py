"""The network of a model's folder, loaded once: it encodes texts in batches, and if it can, a batch by each thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from safetensors import SafetensorError

from rag.embedding.batches import token_budget_batches
from rag.errors import ModelUnloadable
from rag.openmp import wait_passively

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.embedding.packed_bert import PackedBert
    from rag.embedding.padded import PaddedNetwork

# Four long texts: their activations, some 6 MB a layer, stay in the caches (docs/lab-log.md).
_BATCH_TOKENS = 1024
# Less is not worth a thread.
_LEAST_TOKENS = 256

Precision = Literal["auto", "float32"]


class Encoder(Protocol):
    """Safe to share between threads."""

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""

    def load(self) -> None:
        """Load it now instead of when it is first needed. Raises ModelUnloadable."""

    def encode(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors of shape ``(len(texts), dimension)`` of texts and their token ids, none longer than it reads."""

    def close(self) -> None:
        """Let go of what it holds beside memory."""


class LocalEncoder:
    """Computes in this process.

    BERT models are computed without padding (``rag.embedding.packed_bert``) on the processor, a batch by each thread:
    threads that share a batch wait for the one that other work has held up. Others, and all of them on an accelerator,
    are computed by sentence-transformers, one batch after the other.
    """

    def __init__(self, path: Path, *, threads: int, precision: Precision) -> None:
        """``precision`` is of the products in ``PackedBert``: bfloat16 where the processor computes it, or float32."""
        self._path = path
        self._threads = threads
        self._precision = precision
        self._network: PackedBert | PaddedNetwork | None = None
        self._lock = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self._network is not None

    def load(self) -> None:
        with self._lock:
            self._load()

    def close(self) -> None:
        pass

    def encode(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        with self._lock:
            network = self._load()
        threads = self._threads if network.parallel else 1
        lengths = [len(text) for text in ids]
        batches = list(token_budget_batches(lengths, _BATCH_TOKENS, workers=threads, least=_LEAST_TOKENS))

        def encoded(batch: list[int]) -> NDArray[np.float32]:
            return self._encoded(network, [texts[i] for i in batch], [ids[i] for i in batch])

        if min(threads, len(batches)) < 2:  # one thread is this one
            parts = [encoded(batch) for batch in batches]
        else:
            # For this call only: threads take over the priority of the one that makes them, here an ingest's.
            with ThreadPoolExecutor(min(threads, len(batches)), thread_name_prefix="batch") as pool:
                parts = list(pool.map(encoded, batches))
        found = np.concatenate(parts)
        vectors = np.empty_like(found)
        vectors[np.concatenate(batches)] = found
        return vectors

    def _encoded(
        self, network: PackedBert | PaddedNetwork, texts: Sequence[str], ids: Sequence[Sequence[int]]
    ) -> NDArray[np.float32]:
        import torch

        if network.parallel:
            torch.set_num_threads(1)  # of the thread that calls
            return network.encode(texts, ids)
        with self._lock:
            torch.set_num_threads(self._threads)
            return network.encode(texts, ids)

    def _load(self) -> PackedBert | PaddedNetwork:
        if self._network is None:
            wait_passively()
            import torch

            try:
                self._network = self._open(on_processor=not torch.accelerator.is_available())
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
                raise ModelUnloadable(
                    f"The embedding model at {self._path} cannot be loaded: {error}.",
                    hint=f"Run: rag models verify {self._path.name}",
                ) from error
        return self._network

    def _open(self, *, on_processor: bool) -> PackedBert | PaddedNetwork:
        import torch

        from rag.embedding.packed_bert import PackedBert, fastest_precision, is_packable
        from rag.embedding.padded import PaddedNetwork

        if not on_processor or not is_packable(self._path):
            return PaddedNetwork(self._path)
        return PackedBert(self._path, precision=fastest_precision() if self._precision == "auto" else torch.float32)
