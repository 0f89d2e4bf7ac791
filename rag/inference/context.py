"""A llama.cpp context: the key-value cells of many sequences, one batch at a time, and its logits."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import GenerationFailed, ModelUnloadable
from rag.inference.binding import loading, native_log
from rag.telemetry import get_logger

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from rag.inference.model import Model

_log = get_logger("inference")

# Rows of a batch whose logits can be read: one a running answer, more where drafts are verified or a text is scored.
OUTPUT_ROWS = 64


class Batch:
    """Tokens for one step, in the arrays llama.cpp reads. A row is a token of a sequence at a position."""

    def __init__(self, lib: ModuleType, capacity: int) -> None:
        self._lib = lib
        self.capacity = capacity
        self.rows = 0
        self.outputs = 0
        self._token = np.zeros(capacity, dtype=np.int32)
        self._position = np.zeros(capacity, dtype=np.int32)
        self._output = np.zeros(capacity, dtype=np.int8)
        self._sequence = np.zeros(capacity, dtype=np.int32)
        self._counts = np.ones(capacity, dtype=np.int32)
        # One pointer a row, to the row's only sequence id.
        self._pointers = self._sequence.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)

    def clear(self) -> None:
        self.rows = self.outputs = 0

    def add(self, tokens: NDArray[np.int32], position: int, sequence: int, *, outputs: int = 0) -> int:
        """Add consecutive tokens of a sequence; logits are wanted of the last ``outputs``. Returns the first row."""
        first, end = self.rows, self.rows + len(tokens)
        self._token[first:end] = tokens
        self._position[first:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._sequence[first:end] = sequence
        self._output[first:end] = 0
        self._output[end - outputs : end] = 1
        self.rows = end
        self.outputs += outputs
        return first

    def native(self) -> object:
        """The ``llama_batch`` of the rows added so far; valid until the batch is changed."""
        lib = self._lib

        def pointer(array: NDArray[np.int32] | NDArray[np.int8] | NDArray[np.uintp], kind: object) -> object:
            return ctypes.cast(array.ctypes.data, kind)  # type: ignore[arg-type]

        integer = ctypes.POINTER(ctypes.c_int32)
        return lib.llama_batch(
            n_tokens=self.rows,
            token=pointer(self._token, integer),
            embd=None,
            pos=pointer(self._position, integer),
            n_seq_id=pointer(self._counts, integer),
            seq_id=pointer(self._pointers, ctypes.POINTER(integer)),
            logits=pointer(self._output, ctypes.POINTER(ctypes.c_int8)),
        )


class Context:
    """Cells shared by up to ``sequences`` sequences. Belongs to one thread at a time.

    ``exact`` turns flash attention off, so that the same rows give the same bits however a prompt was cut before
    (``rag.inference.sequence`` says which cuts); on otherwise, because it passes over the cells of other sequences
    instead of reading them (docs/lab-log.md has the figures for both).
    """

    def __init__(
        self, model: Model, *, cells: int, threads: int, batch_tokens: int, sequences: int = 1, exact: bool = False
    ) -> None:
        """Allocate the context.

        Raises:
            ModelUnloadable: no such context can be made: too little memory, or not a causal language model.
        """
        lib = model.lib
        params = lib.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = batch_tokens
        params.n_seq_max = sequences
        # llama.cpp keeps room for one output of every sequence at least.
        params.n_outputs_max = params.n_outputs_max_per_seq = max(min(OUTPUT_ROWS, batch_tokens), sequences)
        params.n_threads = params.n_threads_batch = threads
        # AUTO: llama.cpp itself knows which models and devices have it.
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED if exact else lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = True
        params.swa_full = True  # prefixes of sliding-window models stay reusable
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
                f"The model gives no context of {cells} tokens to generate with: "
                f"{reason or 'it is not a causal language model'}.",
                hint="Set RAG_CONTEXT_TOKENS and RAG_KV_TOKENS lower, or choose another model.",
            )
        self._lib = lib
        self.pointer = pointer
        self.cells: int = lib.llama_n_ctx(pointer)
        self.sequences = sequences
        self.batch_tokens = batch_tokens
        self._vocabulary_size: int = lib.llama_vocab_n_tokens(model.vocabulary_pointer)
        self._state = np.empty(0, dtype=np.uint8)
        self.steps = 0

    def batch(self) -> Batch:
        """An empty batch of the context's size."""
        return Batch(self._lib, self.batch_tokens)

    def decode(self, batch: Batch) -> None:
        """Run the model over a batch.

        Raises:
            GenerationFailed: llama.cpp could not. What the batch's sequences hold is then unknown.
        """
        self.steps += 1
        native_log.clear()
        code = self._lib.llama_decode(self.pointer, batch.native())
        if code != 0:
            raise GenerationFailed(
                f"llama.cpp could not decode {batch.rows} tokens (code {code}): "
                f"{native_log.reason() or 'no reason given'}."
            )

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits of a row of the last batch, shape ``(vocabulary,)``. A view that dies at the next decode."""
        pointer = self._lib.llama_get_logits_ith(self.pointer, row)
        if not pointer:
            raise GenerationFailed(f"llama.cpp has no logits for row {row} of the batch.")
        return np.ctypeslib.as_array(pointer, (self._vocabulary_size,))

    def copy(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        """Let ``target`` share the cells of ``source`` at positions ``start`` to ``end`` (-1: all). Copies no data."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def drop(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        """Take a sequence out of its cells; False if this kind of model cannot drop only a part."""
        return bool(self._lib.llama_memory_seq_rm(self._memory, sequence, start, end))

    def last_position(self, sequence: int) -> int:
        """The highest position the sequence holds; -1 if it is empty."""
        return int(self._lib.llama_memory_seq_pos_max(self._memory, sequence))

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """The state of a sequence's cells. A view of a buffer that the next call overwrites."""
        size = self._lib.llama_state_seq_get_size(self.pointer, sequence)
        if len(self._state) < size:
            self._state = np.empty(size, dtype=np.uint8)
        written = self._lib.llama_state_seq_get_data(self.pointer, self._bytes(self._state), size, sequence)
        return self._state[:written]

    def restore(self, sequence: int, state: NDArray[np.uint8]) -> bool:
        """Fill an empty sequence with a saved state, at the positions it had; False if llama.cpp does not take it."""
        native_log.clear()
        read = self._lib.llama_state_seq_set_data(self.pointer, self._bytes(state), len(state), sequence)
        if read != len(state):
            self.drop(sequence)
            _log.warning("model state not restored", reason=native_log.reason() or "sizes differ")
            return False
        return True

    def clear(self) -> None:
        # The buffers' content is overwritten before it is read: clearing the table of cells is enough.
        self._lib.llama_memory_clear(self._memory, False)  # noqa: FBT003 - a C function

    def free(self) -> None:
        if self.pointer:
            self._lib.llama_free(self.pointer)
            self.pointer = 0

    @staticmethod
    def _bytes(array: NDArray[np.uint8]) -> object:
        return ctypes.cast(array.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
