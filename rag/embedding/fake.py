"""A tiny embedder for tests and demos: no model file, the same vectors everywhere, close for texts that share words."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]")
_SPECIAL_TOKENS = 2


class HashingEmbedder:
    """Implements ``rag.protocols.Embedder`` by a hashed bag of words: each word adds a fixed unit vector.

    Tokens are words and punctuation marks, plus two special ones. ``name`` changes the identity and the vectors, as
    another model would. ``texts_embedded`` counts what was really embedded.
    """

    def __init__(self, *, dimension: int = 64, max_tokens: int = 256, name: str = "hashing") -> None:
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._name = name
        self._words: dict[str, NDArray[np.float32]] = {}
        self.texts_embedded = 0

    @property
    def identity(self) -> str:
        return f"{self._name}@{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def load(self) -> None:
        """There is nothing to load."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [sum(1 for _ in _WORD.finditer(text)) + _SPECIAL_TOKENS for text in texts]

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts_embedded += len(texts)
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = self._embed(text)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._embed(text)

    def _embed(self, text: str) -> NDArray[np.float32]:
        total = np.zeros(self._dimension, dtype=np.float32)
        for word in _WORD.findall(text.lower()):
            total += self._word(word)
        length = float(np.linalg.norm(total))
        if length == 0.0:
            # A text without words still needs a vector of unit length.
            total[0] = length = 1.0
        return np.asarray(total / length, dtype=np.float32)

    def _word(self, word: str) -> NDArray[np.float32]:
        vector = self._words.get(word)
        if vector is None:
            seed = int.from_bytes(hashlib.blake2b(f"{self._name}:{word}".encode(), digest_size=8).digest(), "little")
            vector = np.random.default_rng(seed).standard_normal(self._dimension).astype(np.float32)
            self._words[word] = vector = vector / np.float32(np.linalg.norm(vector))
        return vector
