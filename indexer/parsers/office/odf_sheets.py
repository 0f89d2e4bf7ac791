"""OpenDocument spreadsheets (ods, fods): every sheet is a page and a section under its name.

Cells say their values; what stands on a sheet beside them (charts, text boxes, comments) follows its tables.
"""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, bounded
from indexer.parsers.office.comments import annotation_line
from indexer.parsers.office.far_columns import FarColumns
from indexer.parsers.office.odf_body import BodyReader, filled_cells
from indexer.parsers.office.odf_cells import cell_text
from indexer.parsers.office.odf_objects import OdfObjects
from indexer.parsers.office.odf_package import CONTENT, odf_package, odf_title
from indexer.parsers.office.odf_styles import OdfStyles
from indexer.parsers.office.sheet_rows import sheet_blocks, sheet_section
from indexer.parsers.xml_parts import elements_named, name_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from lxml.etree import _Element

_TABLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_ROW: Final = f"{_TABLE}table-row"
_SHAPES: Final = f"{_TABLE}shapes"
_SHEET: Final = f"{_TABLE}table"
_COVERED: Final = f"{_TABLE}covered-table-cell"
_SPANNED: Final = f"{_TABLE}number-columns-spanned"
# As many as a sheet has at most.
_MAX_COLUMNS: Final = 1 << 14
_MAX_ROWS: Final = 1 << 20
# Cells and characters.
_MAX_HELD: Final = 1 << 18
_ROWS_PER_SIGN_OF_LIFE: Final = 1000


def parse_ods(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield for each sheet that holds something its name as a heading, then tables and remarks.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
    """
    with odf_package(file) as archive:
        yield from odf_title(archive)
        styles, objects = OdfStyles(archive), OdfObjects(archive)
        # Tables in cells and in charts are none of a sheet's rows.
        rows = elements_named(archive, CONTENT, _ROW, outside=(_ROW, _SHAPES))
        for table, of_table in groupby(rows, key=lambda row: next(row.iterancestors(_SHEET))):
            if (above := table.getparent()) is not None and name_of(above.tag) == "office:spreadsheet":
                number = 1 + sum(1 for _ in table.itersiblings(_SHEET, preceding=True))
                sheet = _Sheet(BodyReader(styles, objects, page=number, paged=True))
                name = table.get(f"{_TABLE}name") or ""
                yield from sheet_section(name, number, sheet.blocks(table, of_table, number))


def _from_first_column(rows: Iterator[tuple[Sequence[str], bool]]) -> Iterator[Sequence[str]]:
    """Rows without the columns on the left that are empty in all of those that can be held."""
    held: list[tuple[Sequence[str], bool]] = []
    size = 0
    while size < _MAX_HELD and (found := next(rows, None)) is not None:
        held.append(found)
        size += len(found[0]) + sum(map(len, found[0]))
    start = min((next(i for i, cell in enumerate(cells) if cell) for cells, _merged in held if any(cells)), default=0)
    for cells, merged in chain(held, rows):
        said = {cell for cell in cells if cell}
        # A title over several columns is one.
        yield list(said) if merged and len(said) == 1 else cells if any(cells[:start]) else cells[start:]


class _Sheet:
    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self._comments: list[str] = []
        # Of what is drawn; a row is forgotten, and all before it, when the next one is read.
        self._drawn: list[Block] = []

    def blocks(self, table: _Element, rows: Iterable[_Element], number: int) -> Iterator[Block | None]:
        for shapes in table.iterchildren(_SHAPES):
            self._draw(shapes)
        for position, block in enumerate(sheet_blocks(_from_first_column(self._rows(rows)), page=number)):
            yield from bounded(block)
            if position % _ROWS_PER_SIGN_OF_LIFE == 0:
                yield None
        for block in self._drawn:
            yield from bounded(block)
        for line in self._comments:
            yield from bounded(Block(text=f"{line}\n\n", page=number))

    def _rows(self, rows: Iterable[_Element]) -> Iterator[tuple[Sequence[str], bool]]:
        """Cells of every row, and whether some of them are merged."""
        repeated, merged = 1, False
        columns = FarColumns()

        def noted(of_sheet: Iterable[_Element]) -> Iterator[_Element]:
            nonlocal repeated, merged
            for row in of_sheet:
                repeated = whole_number(row.get(f"{_TABLE}number-rows-repeated")) or 1
                merged = any(cell.tag == _COVERED or cell.get(_SPANNED, "1") != "1" for cell in row)
                yield row

        for cells in map(columns.row, filled_cells(noted(rows), self._text, most=_MAX_COLUMNS)):
            for _ in range(min(repeated, _MAX_ROWS) if any(cells) else 1):
                yield cells, merged

    def _text(self, cell: _Element) -> str:
        paragraphs: list[str] = []
        for inner in cell:
            name = name_of(inner.tag)
            if name == "text:p":
                paragraphs.append(self._reader.plain(inner) if len(inner) else inner.text or "")
            elif name == "office:annotation":
                self._comments.append(annotation_line(inner, self._reader.plain(inner)))
            elif name.startswith("draw:"):
                self._draw([inner])
        return cell_text(cell, " ".join(paragraphs).strip())

    def _draw(self, shapes: Iterable[_Element]) -> None:
        for shape in shapes:
            self._drawn.extend(self._reader.shape(shape))
            self._drawn.extend(self._reader.finish())
