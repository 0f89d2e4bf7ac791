"""LoRA adapters (GGUF) by name: loaded with a model, switched on and off between two steps of a context."""

from __future__ import annotations

import ctypes
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rag.errors import GenerationFailed, ModelMissing, ModelUnloadable, UnknownAdapter
from rag.inference.binding import library, loading, native_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from rag.inference.model import Model

_HINT = "Set RAG_LORA_ADAPTERS to adapters that were made for this model and converted to GGUF, or leave it out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter in memory. Freeing its model frees it, so there is nothing to free here, and no use after that.

    ``sha256`` is the file's: model state that was made with an adapter is of use with that adapter only.
    """

    name: str
    sha256: str
    pointer: int = field(repr=False)


class Adapters:
    """The adapters of one model."""

    def __init__(self, adapters: Iterable[Adapter] = ()) -> None:
        self._by_name = {adapter.name: adapter for adapter in adapters}

    @classmethod
    def load(cls, model: Model, files: Mapping[str, Path]) -> Adapters:
        """Load files by name, before the model gets a context. Raises as ``load_adapter``."""
        return cls(load_adapter(model, name, path) for name, path in files.items())

    def __iter__(self) -> Iterator[Adapter]:
        return iter(self._by_name.values())

    def get(self, name: str | None) -> Adapter | None:
        """The adapter of that name; None for None, which is the model as it is.

        Raises:
            UnknownAdapter: there is none of that name; the hint lists those there are.
        """
        if name is None:
            return None
        if name not in self._by_name:
            known = ", ".join(sorted(self._by_name)) or "none; RAG_LORA_ADAPTERS adds them"
            raise UnknownAdapter(f"There is no LoRA adapter {name!r}.", hint=f"Configured: {known}.")
        return self._by_name[name]


def load_adapter(model: Model, name: str, path: Path) -> Adapter:
    """Load a LoRA adapter.

    Call it before the model gets a context: llama.cpp sizes a context's graphs for the adapters it knows by then.

    Raises:
        ModelMissing: there is no such file.
        ModelUnloadable: llama.cpp rejects it (not an adapter, another model's, damaged); the message has its reason.
    """
    if not path.is_file():
        raise ModelMissing(f"There is no file for the LoRA adapter {name!r} at {path}.", hint=_HINT)
    lib = model.lib
    with loading:
        native_log.clear()
        pointer = lib.llama_adapter_lora_init(model.pointer, os.fsencode(path))
        reason = native_log.reason() or "llama.cpp gave no reason"
    if pointer and lib.llama_adapter_get_alora_n_invocation_tokens(pointer):
        # Such an adapter is to act from certain tokens of the prompt on; over a whole prompt it would act wrongly.
        lib.llama_adapter_lora_free(pointer)
        pointer, reason = None, "adapters that wait for invocation tokens (aLoRA) are not supported"
    if not pointer:
        raise ModelUnloadable(f"The LoRA adapter {name!r} cannot be loaded from {path}: {reason}.", hint=_HINT)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Adapter(name=name, sha256=digest, pointer=pointer)


def activate(context: int, adapter: Adapter | None) -> None:
    """Make a context (its pointer) compute with one adapter, or with none, from the next decode on.

    Nothing happens if it already does; otherwise the next decode lays out the context's graphs anew. Cells that were
    filled before keep what they hold.

    Raises:
        GenerationFailed: llama.cpp did not take it.
    """
    lib = library()
    if adapter is None:
        code = lib.llama_set_adapters_lora(context, None, 0, None)
    else:
        pointers = (lib.llama_adapter_lora_p_ctypes * 1)(adapter.pointer)
        code = lib.llama_set_adapters_lora(context, pointers, 1, (ctypes.c_float * 1)(1.0))
    if code != 0:
        name = "none" if adapter is None else repr(adapter.name)
        raise GenerationFailed(f"llama.cpp could not switch the LoRA adapter to {name} (code {code}).")
