"""llama.cpp itself: its ctypes functions, its loadable backends and its log, set up once for the process."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import ModelUnloadable
from rag.openmp import wait_passively
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from types import ModuleType

_log = get_logger("inference")

_DEBUG, _ERROR, _CONTINUED = 1, 4, 5  # enum ggml_log_level


class NativeLog:
    """llama.cpp's log lines: handed to our log at debug level, and the latest kept as reasons for errors.

    Its own debug lines (thousands while a model loads) are dropped.
    """

    def __init__(self) -> None:
        # No lock: this is called from inside C, also while the garbage collector frees a model in another thread.
        self._lines: deque[tuple[int, str]] = deque(maxlen=500)
        self._level = _DEBUG

    def write(self, level: int, text: bytes | None, _user_data: object) -> None:
        self._level = level = self._level if level == _CONTINUED else level
        line = (text or b"").decode("utf-8", errors="replace").strip()
        if level == _DEBUG or not line:
            return
        self._lines.append((level, line))
        _log.debug("llama.cpp", line=line)

    def clear(self) -> None:
        self._lines.clear()

    def lines(self) -> list[str]:
        return [line for _, line in self._lines.copy()]

    def reason(self) -> str:
        """What llama.cpp reported as errors, the first (usually the cause) first; empty if nothing."""
        errors = [line.split(": ", 1)[-1] for level, line in self._lines.copy() if level == _ERROR]
        return "; ".join(dict.fromkeys(errors[:2])).rstrip(".")


native_log = NativeLog()
# llama.cpp's log and errors are global: what one load reports must not mix with another's.
loading = threading.Lock()
_kept_alive: list[object] = []  # C holds the callback's address for as long as the process lives


@functools.cache
def library() -> ModuleType:
    """The module of llama.cpp's C functions (``llama_cpp.llama_cpp``), loaded and initialized on first use.

    Raises:
        ModelUnloadable: the llama-cpp-python package is missing or its libraries cannot be loaded.
    """
    wait_passively()
    try:
        module = importlib.import_module("llama_cpp.llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelUnloadable(
            f"llama.cpp cannot be loaded: {error}.", hint="Reinstall it: pip install --force-reinstall llama-cpp-python"
        ) from error
    callback = module.llama_log_callback(native_log.write)
    _kept_alive.append(callback)
    module.llama_log_set(callback, None)
    load_backends(module._lib)
    module.llama_backend_init()
    return module


def load_backends(libllama: ctypes.CDLL) -> None:
    """Make llama.cpp find its compute backends.

    A portable build (``GGML_BACKEND_DL``) ships each CPU variant as a module beside libllama, but ggml only searches
    the interpreter's folder and the working directory for them (llama-cpp-python issue 2069). An ordinary build has
    its backends linked in, and nothing is done.

    Raises:
        ModelUnloadable: none of the modules runs on this processor.
    """
    # libggml's symbols are found through libllama, which depends on it: opening the file itself could load it twice.
    libllama.ggml_backend_reg_count.restype = ctypes.c_size_t
    if libllama.ggml_backend_reg_count():
        return
    folder = Path(libllama._name).parent
    libllama.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    libllama.ggml_backend_load_all_from_path.restype = None
    libllama.ggml_backend_load_all_from_path(os.fsencode(folder))
    if not libllama.ggml_backend_reg_count():
        raise ModelUnloadable(
            f"llama.cpp has no backend for this processor in {folder}.",
            hint="Reinstall it for this machine: pip install --force-reinstall --no-cache-dir llama-cpp-python",
        )
