"""A loaded GGUF model and its context: who owns which pointer, how it is set up, and in which order it is freed."""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rag.errors import AcceleratorUnavailable, GenerationFailed, ModelMissing, ModelUnloadable
from rag.inference.binding import library, loading, native_log
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

_log = get_logger("inference")

# A request can be cancelled between two of these; larger batches are no faster on a CPU (benchmarks/single_stream.py).
BATCH_TOKENS = 128
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")


class Model:
    """Weights and vocabulary. Immutable once loaded, so threads may share it; free contexts before it."""

    def __init__(self, lib: ModuleType, pointer: int, *, gpu_layers: int) -> None:
        self.lib = lib
        self.pointer = pointer
        self.gpu_layers = gpu_layers
        self.vocabulary_pointer: int = lib.llama_model_get_vocab(pointer)
        self.trained_context: int = lib.llama_model_n_ctx_train(pointer)

    @classmethod
    def load(cls, path: Path, *, gpu_layers: int | Literal["auto"]) -> Model:
        """Load a GGUF file, memory-mapped.

        Raises:
            ModelMissing: there is no such file.
            ModelUnloadable: llama.cpp rejects it; the message has its reason.
            AcceleratorUnavailable: layers were to be offloaded and this build or machine cannot.
        """
        if not path.is_file():
            raise ModelMissing(f"There is no model file at {path}.", hint="Run: rag models pull NAME")
        lib = library()
        layers = _layers_to_offload(lib, gpu_layers)
        params = lib.llama_model_default_params()
        params.n_gpu_layers = layers
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP
        with loading:
            native_log.clear()
            pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
            reason, lines = native_log.reason(), native_log.lines()
        if not pointer:
            raise ModelUnloadable(
                f"{path} cannot be loaded: {reason or 'llama.cpp gave no reason'}.",
                hint="The file may be incomplete or not a GGUF model. Check it with: rag models verify NAME",
            )
        offloaded = _offloaded_layers(lines)
        model = cls(lib, pointer, gpu_layers=offloaded)
        if layers != 0 and gpu_layers != "auto" and offloaded == 0:
            model.free()
            raise _no_accelerator(f"{gpu_layers} layers were to run on a GPU, but llama.cpp offloaded none")
        return model

    def metadata(self, key: str) -> str | None:
        """A scalar metadata value of the GGUF as text; None if it is not there."""
        name = key.encode()
        size = self.lib.llama_model_meta_val_str(self.pointer, name, None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        self.lib.llama_model_meta_val_str(self.pointer, name, buffer, size + 1)
        return buffer.value.decode("utf-8", errors="replace")

    def backend(self) -> str:
        """Backends and the CPU features in use, as llama.cpp itself reports them: ``CPU: AVX2 FMA ...``."""
        parts = []
        for part in self.lib.llama_print_system_info().decode().split(" | "):
            name, _, feature = part.rpartition(" : ")
            flag, _, value = feature.partition(" = ")
            if name:
                parts.append(f"{name}:")
            if value.strip(" |") not in ("", "0"):
                parts.append(flag.strip())
        return " ".join(parts)

    def free(self) -> None:
        if self.pointer:
            self.lib.llama_model_free(self.pointer)
            self.pointer = 0


class Context:
    """The model's working state: KV cache, batch and logits. Belongs to one thread at a time."""

    def __init__(self, model: Model, *, context_tokens: int, threads: int) -> None:
        """Allocate the context.

        Raises:
            ModelUnloadable: no such context can be made: too little memory, or not a causal language model.
        """
        lib = model.lib
        self.size = min(context_tokens, model.trained_context)
        if self.size < context_tokens:
            _log.warning("context shortened to what the model was trained for", asked=context_tokens, used=self.size)
        params = lib.llama_context_default_params()
        params.n_ctx = self.size
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_threads = params.n_threads_batch = threads
        # On a CPU flash attention takes another path for short batches than for long ones: the same prefix gives
        # other logits by how it was cut. Plain attention does not, which makes reuse of state exact.
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_AUTO if model.gpu_layers else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.kv_unified = True
        params.no_perf = True
        with loading:
            native_log.clear()
            pointer = lib.llama_init_from_model(model.pointer, params)
            reason = native_log.reason()
        self._memory = lib.llama_get_memory(pointer) if pointer else None
        if not pointer or not self._memory or lib.llama_model_has_encoder(model.pointer):
            if pointer:
                lib.llama_free(pointer)
            raise ModelUnloadable(
                f"The model gives no context of {self.size} tokens to generate with: "
                f"{reason or 'it is not a causal language model'}.",
                hint="Set RAG_CONTEXT_TOKENS lower, or choose another model.",
            )
        self._lib = lib
        self._pointer = pointer
        self._vocabulary_size: int = lib.llama_vocab_n_tokens(model.vocabulary_pointer)
        self._batch = _Batch(lib)
        self.steps = 0

    def decode(self, tokens: NDArray[np.int32], position: int, *, logits: bool) -> None:
        """Read at most ``BATCH_TOKENS`` tokens at ``position`` on; ``logits`` are wanted for the last of them.

        Raises:
            GenerationFailed: llama.cpp could not; the cache must be cleared.
        """
        self.steps += 1
        native_log.clear()
        code = self._batch.decode(self._pointer, tokens, position, logits=logits)
        if code != 0:
            raise GenerationFailed(
                f"llama.cpp could not decode {len(tokens)} tokens at position {position} (code {code}): "
                f"{native_log.reason() or 'no reason given'}."
            )

    def logits(self) -> NDArray[np.float32]:
        """Logits of the last decoded token, shape ``(vocabulary,)``. A view that dies at the next decode."""
        pointer = self._lib.llama_get_logits_ith(self._pointer, -1)
        return np.ctypeslib.as_array(pointer, (self._vocabulary_size,))

    def forget_from(self, position: int) -> bool:
        """Drop the cache's tokens from ``position`` on; False if this kind of model cannot drop only a part."""
        return bool(self._lib.llama_memory_seq_rm(self._memory, 0, position, -1))

    def clear(self) -> None:
        # The buffers' content is overwritten before it is read: clearing the table of cells is enough.
        self._lib.llama_memory_clear(self._memory, False)  # noqa: FBT003 - a C function

    def free(self) -> None:
        if self._pointer:
            self._batch.free()
            self._lib.llama_free(self._pointer)
            self._pointer = 0


class _Batch:
    """A llama_batch of one sequence, filled through numpy views of its arrays."""

    def __init__(self, lib: ModuleType) -> None:
        self._lib = lib
        self._batch: Any = lib.llama_batch_init(BATCH_TOKENS, 0, 1)
        shape = (BATCH_TOKENS,)
        self._token = np.ctypeslib.as_array(self._batch.token, shape)
        self._pos = np.ctypeslib.as_array(self._batch.pos, shape)
        self._logits = np.ctypeslib.as_array(self._batch.logits, shape)
        np.ctypeslib.as_array(self._batch.n_seq_id, shape)[:] = 1
        for i in range(BATCH_TOKENS):
            self._batch.seq_id[i][0] = 0

    def decode(self, context: int, tokens: NDArray[np.int32], position: int, *, logits: bool) -> int:
        n = len(tokens)
        self._batch.n_tokens = n
        self._token[:n] = tokens
        self._pos[:n] = np.arange(position, position + n)
        self._logits[:n] = 0
        self._logits[n - 1] = logits
        return int(self._lib.llama_decode(context, self._batch))

    def free(self) -> None:
        self._lib.llama_batch_free(self._batch)


def _layers_to_offload(lib: ModuleType, gpu_layers: int | Literal["auto"]) -> int:
    possible = bool(lib.llama_supports_gpu_offload())
    if gpu_layers == "auto":
        return -1 if possible else 0
    if gpu_layers != 0 and not possible:
        raise _no_accelerator(f"{gpu_layers} layers were to run on a GPU, but this llama.cpp finds none")
    return gpu_layers


def _no_accelerator(what: str) -> AcceleratorUnavailable:
    return AcceleratorUnavailable(
        f"{what}.",
        hint="Install a build for your GPU (NVIDIA: CMAKE_ARGS=-DGGML_CUDA=on pip install --no-binary :all: "
        "--force-reinstall llama-cpp-python; AMD: -DGGML_HIP=on), or set RAG_GPU_LAYERS=0.",
    )


def _offloaded_layers(lines: list[str]) -> int:
    found = [int(match[1]) for line in lines if (match := _OFFLOADED.search(line))]
    return found[-1] if found else 0
