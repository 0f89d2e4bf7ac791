"""The ceiling: llama_decode called in a loop with nothing around it, best settings, one sequence."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.completion import Completion
from rag.inference.binding import library
from rag.inference.model import may_repack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BATCH = 512  # llama.cpp's own default for a physical batch


class RawLoop:
    """A model and a context of its own: flash attention on, one KV cache, greedy by the highest logit."""

    SETTINGS = f"flash attention on, n_batch = n_ubatch = {_BATCH}, kv_unified"

    def __init__(self, path: Path, *, context_tokens: int, threads: int) -> None:
        self._lib = lib = library()
        model_params = lib.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = may_repack(lib)
        self._model = lib.llama_model_load_from_file(os.fsencode(path), model_params)
        params = lib.llama_context_default_params()
        params.n_ctx = context_tokens
        params.n_batch = params.n_ubatch = _BATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.kv_unified = True
        params.no_perf = True
        self._context = lib.llama_init_from_model(self._model, params) if self._model else None
        if not self._context:
            raise SystemExit(f"{path} gives no context of {context_tokens} tokens for the raw loop")
        self._size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self._model))

    def complete(self, tokens: Sequence[int], answer_tokens: int, *, banned: Sequence[int] = ()) -> Completion:
        """Read the prompt anew and generate exactly ``answer_tokens``."""
        lib = self._lib
        lib.llama_memory_clear(lib.llama_get_memory(self._context), False)  # noqa: FBT003 - a C function
        prompt = np.array(tokens, dtype=np.int32)
        forbidden = np.array(banned, dtype=np.int64)
        began = time.perf_counter()
        for start in range(0, len(prompt), _BATCH):
            self._decode(prompt[start : start + _BATCH])
        token = self._choose(forbidden)
        first = time.perf_counter()
        for _ in range(answer_tokens - 1):
            self._decode(token)
            token = self._choose(forbidden)
        ended = time.perf_counter()
        return Completion(
            prompt_tokens=len(prompt), tokens=answer_tokens, first_token_s=first - began, total_s=ended - began
        )

    def close(self) -> None:
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)

    def _decode(self, tokens: np.ndarray) -> None:
        # Positions follow on from what the sequence holds, and the last token's logits are kept.
        batch = self._lib.llama_batch_get_one(tokens.ctypes.data_as(self._lib.llama_token_p), len(tokens))
        code = self._lib.llama_decode(self._context, batch)
        if code != 0:
            raise SystemExit(f"llama_decode failed in the raw loop (code {code})")

    def _choose(self, banned: np.ndarray) -> np.ndarray:
        logits = np.ctypeslib.as_array(self._lib.llama_get_logits_ith(self._context, -1), (self._size,))
        logits[banned] = -np.inf
        return np.array([logits.argmax()], dtype=np.int32)
