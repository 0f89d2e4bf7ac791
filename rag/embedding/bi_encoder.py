"""The sentence-transformers bi-encoder, loaded from a local folder and never from a hub."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from rag.embedding.batches import token_budget_batches
from rag.errors import ModelUnloadable
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

_log = get_logger("embedding")

# 32 texts of 128 tokens: on 2 cores throughput is flat from here on, and activations stay under 100 MB.
_BATCH_TOKENS = 4096


class BiEncoder:
    """Implements ``rag.protocols.Embedder``. Calls are serialized: torch already uses every core for one batch.

    The tokenizer is read at once (milliseconds), the network on the first embedding (seconds): counting tokens and
    listing documents never wait for torch.
    """

    def __init__(self, path: Path, *, name: str, sha256: str, threads: int = 0) -> None:
        self._path = path
        self._threads = threads
        self._model: SentenceTransformer | None = None
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
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        lengths = self.count_tokens(texts)
        cut = sum(length > self._max_tokens for length in lengths)
        if cut:
            _log.warning("texts longer than the embedder reads are cut", texts=cut, max_tokens=self._max_tokens)
        return self._encode_batches(texts, lengths)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """A query longer than the embedder reads is embedded by windows and averaged, so no word is lost."""
        windows = self._windows(text)
        mean = self._encode_batches(windows, self.count_tokens(windows)).mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""
        return self._model is not None

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

    def _encode_batches(self, texts: Sequence[str], lengths: Sequence[int]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        for batch in token_budget_batches([min(n, self._max_tokens) for n in lengths], _BATCH_TOKENS):
            vectors[batch] = self._encode([texts[i] for i in batch])
        return vectors

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        with self._lock:
            vectors = self._load().encode(
                texts,
                batch_size=len(texts),
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _load(self) -> SentenceTransformer:
        if self._model is None:
            import torch
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging as transformers_logging

            # Its bar writes to standard error even where that is no terminal; loading takes milliseconds.
            transformers_logging.disable_progress_bar()

            if self._threads:
                torch.set_num_threads(self._threads)
            try:
                self._model = SentenceTransformer(
                    str(self._path), local_files_only=True, trust_remote_code=False, device=None
                )
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ModelUnloadable(
                    f"The embedding model at {self._path} cannot be loaded: {error}.",
                    hint=f"Run: rag models verify {self._path.name}",
                ) from error
        return self._model


def _limits(path: Path) -> tuple[int, int]:
    """Longest input and dimension by the model's own files, without loading it."""
    config = json.loads((path / "config.json").read_text())
    limit = int(config["max_position_embeddings"])
    settings = path / "sentence_bert_config.json"
    if settings.exists():
        limit = int(json.loads(settings.read_text()).get("max_seq_length") or limit)
    return limit, int(config["hidden_size"])
