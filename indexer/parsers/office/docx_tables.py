"""Rows and cells of a Word table; merged cells say their text in every place that they cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import attribute, child, name_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lxml.etree import _Element

_WRAPPERS: Final = frozenset({"w:sdt", "w:sdtContent", "w:customXml", "w:ins"})
# More columns than a table can have in Word; larger spans are damage.
_MAX_COLUMNS: Final = 63


@dataclass(slots=True, kw_only=True)
class Cell:
    """A ``w:tc`` with the columns it covers; ``merged`` cells go on with the cell above."""

    element: _Element
    span: int
    merged: bool


@dataclass(slots=True, kw_only=True)
class Row:
    """``before`` is how many columns the row leaves out at its start."""

    cells: list[Cell]
    before: int
    header: bool


def table_rows(table: _Element) -> Iterator[Row]:
    """Rows of a ``w:tbl`` that were not deleted."""
    for element in _unwrapped(table, "w:tr"):
        properties = child(element, "w:trPr")
        if properties is not None and child(properties, "w:del") is not None:
            continue
        yield Row(
            cells=[_cell(cell) for cell in _unwrapped(element, "w:tc")],
            before=0 if properties is None else _count(properties, "w:gridBefore", 0),
            header=properties is not None and child(properties, "w:tblHeader") is not None,
        )


def table_cells(rows: Sequence[Row], text_of: Callable[[_Element], str]) -> Iterator[list[str]]:
    """Texts of each row, column by column. A cell over a whole row of several columns is written once."""
    width = max((row.before + sum(cell.span for cell in row.cells) for row in rows), default=0)
    above: list[str] = []
    for row in rows:
        texts = [""] * row.before
        for cell in row.cells:
            own = text_of(cell.element)
            place = len(texts)
            if cell.merged and not own and place < len(above):
                own = above[place]
            texts.extend([own] if cell.span == width else [own] * cell.span)
        above = texts
        yield texts


def is_layout(rows: Sequence[Row], is_heading: Callable[[_Element], bool]) -> bool:
    """Whether a table only places text: a single column or row, or cells that hold headings or tables."""
    if max((len(row.cells) for row in rows), default=0) < 2:
        return True
    for row in rows:
        for cell in row.cells:
            for inner in cell.element.iter():
                name = name_of(inner.tag)
                if name == "w:tbl" or (name == "w:p" and is_heading(inner)):
                    return True
    return False


def _unwrapped(element: _Element, wanted: str) -> Iterator[_Element]:
    for inner in element:
        name = name_of(inner.tag)
        if name == wanted:
            yield inner
        elif name in _WRAPPERS:
            yield from _unwrapped(inner, wanted)


def _cell(element: _Element) -> Cell:
    properties = child(element, "w:tcPr")
    if properties is None:
        return Cell(element=element, span=1, merged=False)
    merge = child(properties, "w:vMerge")
    return Cell(
        element=element,
        span=_count(properties, "w:gridSpan", 1),
        merged=merge is not None and attribute(merge, "w:val", "continue") == "continue",
    )


def _count(properties: _Element, name: str, default: int) -> int:
    found = child(properties, name)
    return default if found is None else min(whole_number(attribute(found, "w:val"), default), _MAX_COLUMNS)
