"""Text to tokens and back: the model's vocabulary, with text kept apart from control tokens."""

from __future__ import annotations

import codecs
import ctypes
import threading
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import GenerationFailed

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from rag.inference.model import Model

_EXTRA_TOKENS = 16  # beyond one a byte: prefixes some tokenizers add


class Vocabulary:
    """Tokenizer of a loaded model. Calls may come from any thread; after ``close`` they fail instead of crashing."""

    def __init__(self, model: Model) -> None:
        self._lib = model.lib
        self._pointer = model.vocabulary_pointer
        self._lock = threading.Lock()
        self._closed: str | None = None
        self._pieces: dict[int, bytes] = {}
        self.bos: int = self._lib.llama_vocab_bos(self._pointer)
        self.eos: int = self._lib.llama_vocab_eos(self._pointer)
        self.adds_bos = bool(self._lib.llama_vocab_get_add_bos(self._pointer))
        self.size: int = self._lib.llama_vocab_n_tokens(self._pointer)

    def close(self, reason: str) -> None:
        """To be called before the model is freed; ``reason`` is what later calls fail with."""
        with self._lock:
            self._closed = reason

    @property
    def lib(self) -> ModuleType:
        """llama.cpp's functions."""
        return self._lib

    @property
    def pointer(self) -> int:
        """The C vocabulary. It lives as long as the model: only the thread that frees the model may rely on it."""
        with self._lock:
            self._require_open()
        return self._pointer

    def encode_text(self, text: str) -> NDArray[np.int32]:
        """Tokens of data. Whatever the text says, none of them is a control token or ends a turn."""
        tokens = self._encode(text, special=False)
        forbidden = [t for t in set(tokens.tolist()) if self._is_control(t)]
        if not forbidden:
            return tokens
        # Some vocabularies spell a control token in ordinary pieces ("</s>"): break its text in two and try again.
        for spelled in (self._special_text(t) for t in forbidden):
            if len(spelled) > 1 and spelled in text:
                first, *rest = text.split(spelled)
                broken = [first, *(spelled[1:] + part for part in rest)]
                broken[:-1] = [part + spelled[0] for part in broken[:-1]]
                return np.concatenate([self.encode_text(part) for part in broken])
        return tokens[~np.isin(tokens, forbidden)]

    def encode_markup(self, text: str) -> NDArray[np.int32]:
        """Tokens of a template's own text, control tokens recognized."""
        return self._encode(text, special=True)

    def piece(self, token: int) -> bytes:
        """The bytes a token adds to the text; none for control tokens. May be a part of a character."""
        if token not in self._pieces:
            self._pieces[token] = self._piece(token, special=False)
        return self._pieces[token]

    def text(self, token: int) -> str:
        """How a token is written in the vocabulary; empty for a token that is not there."""
        if token < 0:
            return ""
        with self._lock:
            self._require_open()
            spelled: bytes | None = self._lib.llama_vocab_get_text(self._pointer, token)
        return (spelled or b"").decode("utf-8", errors="replace")

    def ends_generation(self, token: int) -> bool:
        with self._lock:
            self._require_open()
            return bool(self._lib.llama_vocab_is_eog(self._pointer, token))

    def _is_control(self, token: int) -> bool:
        with self._lock:
            self._require_open()
            return bool(
                self._lib.llama_vocab_is_control(self._pointer, token)
                or self._lib.llama_vocab_is_eog(self._pointer, token)
            )

    def _special_text(self, token: int) -> str:
        return self._piece(token, special=True).decode("utf-8", errors="replace")

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            with self._lock:
                self._require_open()
                n = self._lib.llama_token_to_piece(self._pointer, token, buffer, size, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def _encode(self, text: str, *, special: bool) -> NDArray[np.int32]:
        data = text.encode("utf-8", errors="replace")
        tokens = np.empty(len(data) + _EXTRA_TOKENS, dtype=np.int32)
        with self._lock:
            self._require_open()
            # Never adds BOS or EOS by itself: a prompt is made of many pieces.
            n = self._lib.llama_tokenize(
                self._pointer,
                data,
                len(data),
                tokens.ctypes.data_as(self._lib.llama_token_p),
                len(tokens),
                False,  # noqa: FBT003 - a C function
                special,
            )
        if n < 0:
            raise GenerationFailed(f"A text of {len(data)} bytes cannot be tokenized (code {n}).")
        return tokens[:n].copy()

    def _require_open(self) -> None:
        if self._closed is not None:
            raise GenerationFailed(self._closed, hint="Restart the process.")


class TextDecoder:
    """Tokens to text as they come: bytes of an unfinished character wait for the rest."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._utf8.decode(self._vocabulary.piece(token))
