"""Tables as text (RFC 4180 and its many relatives): every row tells its columns' names, so it is understood alone."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Notice, Parsed, bounded, one_line
from indexer.parsers.decoding import TextReader
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_DELIMITERS: Final = ",;\t|"
_SAMPLE_ROWS: Final = 50
# A cell longer than this is a quotation mark that is never closed.
_MAX_CELL_CHARS: Final = 1 << 20


def parse_csv(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the rows of a table whose cells are separated by commas, semicolons, tabs or bars, whatever fits best."""
    with TextReader(file, encoding) as reader:
        yield from _parse(reader, "")
        yield from reader.notices()


def parse_tsv(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the rows of a table whose cells are separated by tabs."""
    with TextReader(file, encoding) as reader:
        yield from _parse(reader, "\t")
        yield from reader.notices()


def _parse(reader: TextReader, delimiter: str) -> Iterator[Parsed]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    lines = reader.lines()
    first = next(lines, "")
    if first.lower().startswith("sep="):  # for a spreadsheet program, in the first line
        delimiter, first = first.strip()[4:5], ""
    sample = list(itertools.islice(lines, _SAMPLE_ROWS))
    sample.insert(0, first)
    delimiter = delimiter or _delimiter(sample)
    rows = csv.reader(itertools.chain(sample, lines), delimiter=delimiter or ",", skipinitialspace=True)
    read = 0
    try:
        for block in _blocks(_filled(rows)):
            read = rows.line_num
            yield from bounded(block)
    except csv.Error as error:
        if not read:
            raise SourceDamaged(
                f"Its first rows cannot be read: {error}.",
                hint="See whether a quotation mark is never closed, or name it .txt.",
            ) from error
        yield Notice(message=f"The rows after line {read:,} could not be read: {error}.")


def _blocks(filled: Iterator[list[str]]) -> Iterator[Block]:
    header = next(filled, None)
    if header is None:
        return
    try:
        second = next(filled, None)
    except csv.Error:  # the header is all that there is
        yield from table_blocks(header, iter(()))
        raise
    if second is not None and _is_data(header, second):
        filled = itertools.chain([header, second], filled)
        header = [f"column {number}" for number in range(1, len(header) + 1)]
    elif second is not None:
        filled = itertools.chain([second], filled)
    yield from table_blocks(header, filled)


def table_blocks(header: Sequence[str], rows: Iterator[list[str]]) -> Iterator[Block]:
    """One block a row, each cell with the name of its column; a table of one column is a list of its cells."""
    names = [one_line(name) for name in header]
    if len(names) == 1:
        yield Block(text=f"{names[0]}\n")
        names = [""]
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the number of rows is needed after the last
        cells = itertools.zip_longest(names, (one_line(cell) for cell in row), fillvalue="")
        text = " | ".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)
        yield Block(text=f"{text}\n")
    if not count and len(header) > 1:
        yield Block(text=" | ".join(name for name in names if name) + "\n")


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in rows if any(cell.strip() for cell in row))


def _delimiter(lines: Sequence[str]) -> str:
    """The separator that gives most rows the same number of cells, and more than one."""
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if any(row)]
        except csv.Error:
            continue
        common = max(set(widths), key=widths.count) if widths else 0
        if common > 1:
            score = widths.count(common) / len(widths) + min(common, 20) / 100
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _is_data(header: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the first row is already data: names of columns are not numbers."""
    return any(_is_number(cell) for cell in header) and any(_is_number(cell) for cell in second)


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().replace(",", "."))
    except ValueError:
        return False
    return True
