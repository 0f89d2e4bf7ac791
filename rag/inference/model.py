"""A loaded GGUF model: its pointer, its metadata, and where its layers run."""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING, Literal

from rag.errors import AcceleratorUnavailable, ModelMissing, ModelUnloadable
from rag.inference.binding import library, loading, native_log
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


_log = get_logger("inference")

# Layers on a GPU: all it can hold if this llama.cpp finds one; all, or an error; so many, or an error.
GpuLayers = int | Literal["auto", "all"]
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")


class Model:
    """Weights and vocabulary. Immutable once loaded, so threads may share it; free contexts before it."""

    def __init__(self, lib: ModuleType, pointer: int, *, gpu_layers: int) -> None:
        self.lib = lib
        self.pointer = pointer
        self.gpu_layers = gpu_layers
        self.vocabulary_pointer: int = lib.llama_model_get_vocab(pointer)
        self.trained_context: int = lib.llama_model_n_ctx_train(pointer)

    @classmethod
    def load(cls, path: Path, *, gpu_layers: GpuLayers) -> Model:
        """Load a GGUF file, memory-mapped. Fewer layers on a GPU than asked for are a warning, none at all is an error.

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
        params.use_extra_bufts = may_repack(lib)
        with loading:
            native_log.clear()
            pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
            reason, lines = native_log.reason(), native_log.lines()
        if not pointer:
            raise ModelUnloadable(
                f"{path} cannot be loaded: {reason or 'llama.cpp gave no reason'}.",
                hint="The file may be incomplete or not a GGUF model. Check it with: rag models verify NAME",
            )
        offloaded, of = _offloaded_layers(lines)
        model = cls(lib, pointer, gpu_layers=offloaded)
        if layers != 0 and gpu_layers != "auto" and offloaded == 0:
            model.free()
            raise _no_accelerator(f"{gpu_layers} layers were to run on a GPU, but llama.cpp offloaded none")
        if gpu_layers != "auto" and offloaded < (of if gpu_layers == "all" else layers):
            _log.warning("fewer layers on the GPU than asked for", asked=gpu_layers, offloaded=offloaded, layers=of)
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


def _layers_to_offload(lib: ModuleType, gpu_layers: GpuLayers) -> int:
    """As llama.cpp counts them: -1 is all."""
    possible = bool(lib.llama_supports_gpu_offload())
    if gpu_layers == "auto":
        return -1 if possible else 0
    if gpu_layers != 0 and not possible:
        raise _no_accelerator(f"{gpu_layers} layers were to run on a GPU, but this llama.cpp finds none")
    return -1 if gpu_layers == "all" else gpu_layers


def may_repack(lib: ModuleType) -> bool:
    """Whether this build may keep weights in buffers of its own: not with AMX, whose code ends the process.

    Compiled by GCC 12 that loads a tile configuration of which all but the first bytes were optimized away
    (ggml-org/llama.cpp issue 20824, pull request 26954). Without such buffers it computes as on other processors.
    """
    if b"AMX_INT8 = 1" not in lib.llama_print_system_info():
        return True
    _log.info("this llama.cpp was compiled with AMX, whose code is faulty; it runs without, and slower than it could")
    return False


def _no_accelerator(what: str) -> AcceleratorUnavailable:
    return AcceleratorUnavailable(
        f"{what}.",
        hint="Install a build for your GPU (NVIDIA: CMAKE_ARGS=-DGGML_CUDA=on pip install --no-binary :all: "
        "--force-reinstall llama-cpp-python; AMD: -DGGML_HIP=on), or set RAG_GPU_LAYERS=0.",
    )


def _offloaded_layers(lines: list[str]) -> tuple[int, int]:
    """How many layers llama.cpp says it offloaded, and of how many (the output layer is one of them)."""
    found = [(int(match[1]), int(match[2])) for line in lines if (match := _OFFLOADED.search(line))]
    return found[-1] if found else (0, 0)
