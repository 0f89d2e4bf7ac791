"""Load files of e-discovery (Concordance, Relativity): a document each line, its fields between thorns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.decoding import TextReader
from indexer.parsers.tables import table_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from indexer.parsers.blocks import Parsed

_BETWEEN: Final = "\x14"
_AROUND: Final = "þ"
# A line's end within a field, and what parts several values.
_WITHIN: Final = str.maketrans({"®": " ", "\x0b": " "})


def parse_load_file(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the documents as rows under the names of their fields."""
    with TextReader(file, encoding) as reader:
        rows = (line.strip("\r\n\ufeff").split(_BETWEEN) for line in reader.lines() if line.strip())
        fields = ([field.strip(_AROUND).translate(_WITHIN) for field in row] for row in rows)
        yield from table_blocks(fields, header_rows=1)
        yield from reader.notices()
