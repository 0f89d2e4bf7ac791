"""A model's tokenizer alone, without its weights: for counting, for peers that take only text, and for banning ends."""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rag.inference.binding import library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Vocabulary:
    """Loaded for the life of the process: a few megabytes."""

    def __init__(self, path: Path) -> None:
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.vocab_only = True
        self._model = self._lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise SystemExit(f"{path} cannot be loaded: is it a complete GGUF file? (rag models verify NAME)")
        self._pointer = self._lib.llama_model_get_vocab(self._model)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Every token that ends an answer. Banning them makes all answers as long as allowed."""
        size = self._lib.llama_vocab_n_tokens(self._pointer)
        return tuple(token for token in range(size) if self._lib.llama_vocab_is_eog(self._pointer, token))

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, control tokens recognized, nothing added in front."""
        data = text.encode()
        tokens = np.empty(len(data) + 16, dtype=np.int32)
        pointer = tokens.ctypes.data_as(self._lib.llama_token_p)
        number = self._lib.llama_tokenize(
            self._pointer,
            data,
            len(data),
            pointer,
            len(tokens),
            False,  # noqa: FBT003 - a C function
            True,  # noqa: FBT003
        )
        return [int(token) for token in tokens[:number]]

    def text(self, tokens: Sequence[int]) -> str:
        """The tokens' text, control tokens written out, a leading BOS left out (peers add their own)."""
        opens = self._lib.llama_vocab_get_add_bos(self._pointer) and tokens[0] == self._lib.llama_vocab_bos(
            self._pointer
        )
        ids = np.array(tokens[1:] if opens else tokens, dtype=np.int32)
        buffer = ctypes.create_string_buffer(16 * len(ids) + 256)
        written = self._lib.llama_detokenize(
            self._pointer,
            ids.ctypes.data_as(self._lib.llama_token_p),
            len(ids),
            buffer,
            len(buffer),
            False,  # noqa: FBT003
            True,  # noqa: FBT003
        )
        if written < 0:
            raise SystemExit(f"{len(ids)} tokens have more text than {len(buffer)} bytes")
        return buffer.raw[:written].decode()
