"""A bi-encoder in the folder format of sentence-transformers, loaded from disk and never from a hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from rag.embedding.encoder import LocalEncoder
from rag.embedding.token_ids import TokenIds
from rag.errors import ModelUnloadable
from rag.telemetry import get_logger
from rag.threads import available_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rag.embedding.encoder import Encoder, Precision

_log = get_logger("embedding")


class BiEncoder:
    """Implements ``rag.protocols.Embedder``. Safe to share between threads.

    The tokenizer is read at once (milliseconds), the network on the first embedding (seconds): counting tokens and
    listing documents never wait for torch.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        sha256: str,
        threads: int = 0,
        precision: Precision = "auto",
        apart: bool = False,
    ) -> None:
        """``precision`` is of the products in ``PackedBert``: bfloat16 where the processor computes it, or float32.
        ``apart``: they are computed in a process of its own.
        """
        self._encoder = _encoder(path, threads=threads or available_threads(), precision=precision, apart=apart)
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
        return self._encoder.loaded

    def load(self) -> None:
        """Load the network now instead of at the first embedding."""
        self._encoder.load()

    def close(self) -> None:
        """Let go of a process that embeds."""
        self._encoder.close()

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
        if not texts:
            return np.empty((0, self._dimension), dtype=np.float32)
        return self._encoder.encode(texts, ids)

    def _cut(self, ids: Sequence[int]) -> Sequence[int]:
        """The first tokens and the one that ends a text."""
        return ids if len(ids) <= self._max_tokens else [*ids[: self._max_tokens - 1], ids[-1]]


def _encoder(path: Path, *, threads: int, precision: Precision, apart: bool) -> Encoder:
    if not apart:
        return LocalEncoder(path, threads=threads, precision=precision)
    from rag.embedding.encoder_process import EncoderProcess  # a hundredth of a second that no search needs

    return EncoderProcess(path, threads=threads, precision=precision)


def _limits(path: Path) -> tuple[int, int]:
    """Longest input and dimension by the model's own files, without loading it."""
    config = json.loads((path / "config.json").read_text())
    limit = int(config["max_position_embeddings"])
    settings = path / "sentence_bert_config.json"
    if settings.exists():
        limit = int(json.loads(settings.read_text()).get("max_seq_length") or limit)
    return limit, int(config["hidden_size"])
