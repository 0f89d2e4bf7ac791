"""A bi-encoder in the folder format of sentence-transformers, loaded from disk and never from a hub."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
from safetensors import SafetensorError
from tokenizers import Tokenizer

from rag.embedding.batches import token_budget_batches
from rag.embedding.token_ids import TokenIds
from rag.errors import ModelUnloadable
from rag.openmp import wait_passively
from rag.telemetry import get_logger
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.embedding.packed_bert import PackedBert
    from rag.embedding.padded import PaddedNetwork

_log = get_logger("embedding")

# Four long texts: their activations, some 6 MB a layer, stay in the caches (docs/lab-log.md).
_BATCH_TOKENS = 1024
# Less is not worth a thread.
_LEAST_TOKENS = 256


class BiEncoder:
    """Implements ``rag.protocols.Embedder``. Safe to share between threads.

    The tokenizer is read at once (milliseconds), the network on the first embedding (seconds): counting tokens and
    listing documents never wait for torch. BERT models are computed without padding (``rag.embedding.packed_bert``) on
    the processor, a batch by each thread: threads that share a batch wait for the one that other work has held up.
    Others, and all of them on an accelerator, are computed by sentence-transformers, one batch after the other.
    """

    def __init__(
        self, path: Path, *, name: str, sha256: str, threads: int = 0, precision: Literal["auto", "float32"] = "auto"
    ) -> None:
        """``precision`` is of the products in ``PackedBert``: bfloat16 where the processor computes it, or float32."""
        self._path = path
        self._precision = precision
        self._threads = threads or available_threads()
        self._network: PackedBert | PaddedNetwork | None = None
        self._lock = threading.Lock()
        try:
            self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            self._max_tokens, self._dimension = _limits(path)
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelUnloadable(
                f"The embedding model at {path} cannot be read: {error}.", hint=f"Run: rag models verify {name}"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._token_ids = TokenIds(self._tokenizer)
        self._identity = f"{name}@{sha256[:16]}+unit"

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._token_ids.of(texts)]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """A query longer than the embedder reads is embedded by windows and averaged, so no word is lost."""
        mean = self._embed(self._windows(text)).mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""
        return self._network is not None

    def load(self) -> None:
        """Load the network now instead of at the first embedding."""
        with self._lock:
            self._load()

    def _windows(self, text: str) -> list[str]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        size = self._max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        offsets = encoding.offsets
        if len(offsets) <= size:
            return [text]
        windows = [offsets[i : i + size] for i in range(0, len(offsets), size)]
        return [text[window[0][0] : window[-1][1]] for window in windows]

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        ids: Sequence[Sequence[int]] = self._token_ids.of(texts)
        cut = sum(len(text) > self._max_tokens for text in ids)
        if cut:
            _log.warning("texts longer than the embedder reads are cut", texts=cut, max_tokens=self._max_tokens)
            ids = [self._cut(text) for text in ids]
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        with self._lock:
            network = self._load()
        threads = self._threads if network.parallel else 1
        share = sum(map(len, ids)) // threads
        budget = min(max(share, _LEAST_TOKENS), _BATCH_TOKENS)
        batches = list(token_budget_batches([len(text) for text in ids], budget))

        def embed(batch: list[int]) -> None:
            vectors[batch] = self._encoded(network, [texts[i] for i in batch], [ids[i] for i in batch])

        if min(threads, len(batches)) < 2:  # one thread is this one
            for batch in batches:
                embed(batch)
        else:
            # For this call only: threads take over the priority of the one that makes them, here an ingest's.
            with ThreadPoolExecutor(min(threads, len(batches)), thread_name_prefix="batch") as pool:
                list(pool.map(embed, batches))
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

    def _cut(self, ids: Sequence[int]) -> Sequence[int]:
        """The first tokens and the one that ends a text."""
        return ids if len(ids) <= self._max_tokens else [*ids[: self._max_tokens - 1], ids[-1]]

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


def _limits(path: Path) -> tuple[int, int]:
    """Longest input and dimension by the model's own files, without loading it."""
    config = json.loads((path / "config.json").read_text())
    limit = int(config["max_position_embeddings"])
    settings = path / "sentence_bert_config.json"
    if settings.exists():
        limit = int(json.loads(settings.read_text()).get("max_seq_length") or limit)
    return limit, int(config["hidden_size"])
