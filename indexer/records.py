"""Records of an export as JSON lines: one object a line, ``type`` says which; vectors are base64 of float16 numbers.

The last member of an object, ``crc32``, is of the bytes of the line before it. Exports of older programs have none, and
whoever changes a line leaves it out.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from rag.errors import InvalidRequest
from rag.stores.exchange import ExportEnd, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CHECKSUM: Final = re.compile(rb',"crc32":(\d+)}\s*\Z')


class RecordReader:
    """The records of a file in their order; ``where`` is the place of the last one, told with what goes wrong.

    ``taken`` is how many documents its reader has taken in, or had already.
    """

    def __init__(self, name: str, records: Iterable[Record], unit: str) -> None:
        self._name = name
        self._records = iter(records)
        self._unit = unit
        self._number = 0
        self.taken = 0

    @property
    def where(self) -> str:
        return f"{self._name}, {self._unit} {self._number}"

    def __next__(self) -> Record:
        """Raises InvalidRequest: the next one is no record, or there is none although the end has not come."""
        self._number += 1
        try:
            return next(self._records)
        except StopIteration:
            raise self.problem("the file ends before its end: it is not complete") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self.problem(f"this is no record of an export ({error})") from error

    def close(self) -> None:
        """Raises InvalidRequest: something follows the end."""
        self._number += 1
        if next(self._records, None) is not None:
            raise self.problem("something follows the end")

    def problem(self, message: str) -> InvalidRequest:
        """The error for the present record."""
        before = "What stands before it has been taken in. " if self.taken else ""
        return InvalidRequest(
            f"{self.where}: {message}.",
            hint=f"{before}Export again, and import that file.",
        )


def write_json_lines(path: Path, records: Iterable[Record]) -> ExportEnd:
    """Write all records to a new file; returns the last."""
    encoder, last = msgspec.json.Encoder(), None
    with path.open("xb") as file:
        for record in records:
            line = encoder.encode(record)[:-1]
            file.write(b'%s,"crc32":%d}\n' % (line, crc32(line)))
            last = record
    if not isinstance(last, ExportEnd):
        raise TypeError("records of an export end with its end")
    return last


def read_json_lines(path: Path, file: IO[bytes]) -> RecordReader:
    return RecordReader(str(path), _decoded(file), "line")


def _decoded(file: IO[bytes]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(Record)
    for line in file:
        checksum = _CHECKSUM.search(line)
        if checksum is not None and crc32(line[: checksum.start()]) != int(checksum[1]):
            raise msgspec.ValidationError("it is not as it was written")
        yield decoder.decode(line)
