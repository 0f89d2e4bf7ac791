"""Tells a complete GGUF file from a torn or foreign one by its header, without loading a tensor.

The format is described in ggml's ``docs/gguf.md`` (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from rag.errors import ModelCorrupt

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MAX_DIMENSIONS = 8

# Elements and bytes of one block, by ggml's type number. A type not listed here is newer than this table: of such a
# tensor only the beginning can be checked.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class _Header:
    """A cursor over the mapped file. Reading past the end raises ``struct.error`` or ``ValueError``."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return int(value)

    def text(self) -> bytes:
        length = self.number("Q")
        start = self._at
        self.skip(length)
        return self._data[start : self._at]

    def skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise ValueError("the header runs past the end of the file")

    def value(self, kind: int) -> int | None:
        """Step over a metadata value; returns it if it is a 32-bit count."""
        if kind == _STRING:
            self.text()
        elif kind == _ARRAY:
            element = self.number("I")
            count = self.number("Q")
            if element in _SCALAR_BYTES:
                self.skip(count * _SCALAR_BYTES[element])
            else:
                self._array_of_long_values(element, count)
        elif kind == 4:
            return self.number("I")
        elif kind in _SCALAR_BYTES:
            self.skip(_SCALAR_BYTES[kind])
        else:
            raise ValueError(f"unknown metadata type {kind}")
        return None

    def _array_of_long_values(self, element: int, count: int) -> None:
        # Each value takes at least eight bytes, so a count beyond that is damage and not worth a long loop.
        if element not in (_STRING, _ARRAY) or count * 8 > len(self._data) - self._at:
            raise ValueError("an array of the header is damaged")
        for _ in range(count):
            self.value(element)

    @property
    def at(self) -> int:
        return self._at


def check_gguf(path: Path) -> None:
    """Check that a file is a GGUF and not shorter than its header says.

    Raises:
        ModelCorrupt: it is another kind of file, or truncated.
        OSError: it cannot be read.
    """
    hint = "Copy or download the file again."
    with path.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            raise ModelCorrupt(f"{path} is not a GGUF model: it does not begin with {_MAGIC.decode()}.", hint=hint)
        size = path.stat().st_size
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                needed = _bytes_needed(_Header(data))
            except (struct.error, ValueError, IndexError, RecursionError) as error:
                raise ModelCorrupt(f"The header of {path} is torn or damaged: {error}.", hint=hint) from error
    if size < needed:
        raise ModelCorrupt(f"{path} is truncated: it has {size} bytes of at least {needed}.", hint=hint)


def _bytes_needed(header: _Header) -> int:
    header.skip(len(_MAGIC))
    version = header.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"GGUF version {version} is not known")
    tensors, pairs = header.number("Q"), header.number("Q")
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(pairs):
        key = header.text()
        value = header.value(header.number("I"))
        if key == b"general.alignment" and value:
            alignment = value
    end = 0
    for _ in range(tensors):
        end = max(end, _tensor_end(header))
    return -(-header.at // alignment) * alignment + end


def _tensor_end(header: _Header) -> int:
    header.text()
    dimensions = header.number("I")
    if dimensions > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor has {dimensions} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= header.number("Q")
    kind, offset = header.number("I"), header.number("Q")
    block_elements, block_bytes = _BLOCKS.get(kind, (elements, 1))
    return offset + -(-elements // block_elements) * block_bytes if elements else offset
