"""Charts of office documents as tables: a row for each category, a column for each series, with the values that the
document keeps. Sources: ECMA-376 part 1, 21.2 (charts), and [MS-ODRAWXML] 2.24.3 (those of Excel 2016 and later).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, BlockKind, bounded, one_line
from indexer.parsers.office.number_formats import is_date_format, parse_format
from indexer.parsers.tables import table_blocks
from indexer.parsers.xml_parts import child, name_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

_CATEGORY_AXES: Final = frozenset({"c:catAx", "c:dateAx"})
_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - sheets know no time zones
_EPOCH_OF_1904: Final = datetime(1904, 1, 1)  # noqa: DTZ001
_DAY_SECONDS: Final = 86_400
_LAST_DAY: Final = datetime(9999, 12, 31)  # noqa: DTZ001


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    categories: dict[int, str]
    values: dict[int, str]


def chart_blocks(root: _Element, page: int | None) -> Iterator[Block]:
    """Yield the title of a chart with the names of its axes as a caption, and what it shows as a table."""
    newer = name_of(root.tag) == "cx:chartSpace"
    chart = child(root, "cx:chart" if newer else "c:chart")
    if chart is None:
        return
    series = list(_newer_series(root, chart) if newer else _series(root, chart))
    title = _title(child(chart, "cx:title" if newer else "c:title"))
    category, axes = _axes(chart)
    caption = "\n".join(filter(None, [title, *axes]))
    if caption:
        yield from bounded(Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION, page=page))
    categories: dict[int, str] = {}
    for each in series:
        categories = each.categories | categories
    names = [each.name for each in series]
    if any(each.values for each in series):
        indices = sorted({*categories, *(index for each in series for index in each.values)})
        rows = [[categories.get(i, ""), *(each.values.get(i, "") for each in series)] for i in indices]
        yield from table_blocks(
            [[category, *names], *rows], header_rows=int(any([category, *names])), page=page, caption=one_line(caption)
        )


def texts(element: _Element) -> str:
    """What its paragraphs say, as one line."""
    paragraphs = (
        "".join(t.text or "" for t in p.iter() if name_of(t.tag) == "a:t")
        for p in element.iter()
        if name_of(p.tag) == "a:p"
    )
    return one_line(" ".join(paragraphs))


def _title(title: _Element | None) -> str:
    """Of a chart or an axis: its own words, or those of a cell."""
    return "" if title is None else texts(title) or _cached(title)


def _axes(chart: _Element) -> tuple[str, list[str]]:
    """The name of what the categories are, and those of the other axes."""
    axes = [element for element in chart.iter() if name_of(element.tag) in {*_CATEGORY_AXES, "c:valAx"}]
    first = next((axis for axis in axes if name_of(axis.tag) in _CATEGORY_AXES), axes[0] if axes else None)
    others = [_title(child(axis, "c:title")) for axis in axes if axis is not first]
    others += [_title(child(axis, "cx:title")) for axis in chart.iter() if name_of(axis.tag) == "cx:axis"]
    return "" if first is None else _title(child(first, "c:title")), list(filter(None, others))


def _series(root: _Element, chart: _Element) -> Iterator[_Series]:
    marked = child(root, "c:date1904")
    epoch = _EPOCH if marked is None or marked.get("val") in {"0", "false"} else _EPOCH_OF_1904
    for element in chart.iter():
        if name_of(element.tag) == "c:ser":
            name, labels, data = (
                next((found for inner in names if (found := child(element, inner)) is not None), None)
                for names in (("c:tx",), ("c:cat", "c:xVal"), ("c:val", "c:yVal"))
            )
            yield _Series("" if name is None else _cached(name), _points(labels, epoch), _points(data, epoch))


def _newer_series(root: _Element, chart: _Element) -> Iterator[_Series]:
    data = child(root, "cx:chartData")
    by_id = {element.get("id"): element for element in (() if data is None else data)}
    for element in chart.iter():
        if name_of(element.tag) != "cx:series":
            continue
        used, name = child(element, "cx:dataId"), child(element, "cx:tx")
        dimensions = by_id.get(None if used is None else used.get("val"))
        if dimensions is not None:
            yield _Series(
                "" if name is None else _cached(name),
                _points(child(dimensions, "cx:strDim"), _EPOCH),
                _points(child(dimensions, "cx:numDim"), _EPOCH),
            )


def _cached(element: _Element) -> str:
    """The texts that a document keeps of what it refers to."""
    return one_line(" ".join(value.text or "" for value in element.iter() if name_of(value.tag) in {"c:v", "cx:v"}))


def _points(data: _Element | None, epoch: datetime) -> dict[int, str]:
    """Cached values by their place; of several levels those outside stand before those within."""
    if data is None:
        return {}
    levels = [element for element in data.iter() if name_of(element.tag) in {"c:lvl", "cx:lvl"}] or [data]
    (inner, *outer) = [_level(level, epoch) for level in levels]
    for level in outer:
        inner = _under(level, inner)
    return inner


def _level(level: _Element, epoch: datetime) -> dict[int, str]:
    codes = (element.text for element in level.iter() if name_of(element.tag) == "c:formatCode")
    code = next(codes, None) or level.get("formatCode") or ""
    points = {}
    for element in level.iter():
        if name_of(element.tag) == "c:pt" and (value := child(element, "c:v")) is not None:
            points[whole_number(element.get("idx"))] = _shown(
                value.text or "", element.get("formatCode") or code, epoch
            )
        elif name_of(element.tag) == "cx:pt":
            points[whole_number(element.get("idx"))] = _shown(element.text or "", code, epoch)
    return points


def _under(level: dict[int, str], inner: dict[int, str]) -> dict[int, str]:
    """Names of groups before those of what is in them; a group goes on until the next."""
    found, name = {}, ""
    for index in sorted({*level, *inner}):
        name = level.get(index, name)
        if index in inner:
            found[index] = f"{name} {inner[index]}".strip()
    return found


def _shown(text: str, code: str, epoch: datetime) -> str:
    """A value as the document shows it; sheets store 0.1 as 0.10000000000000001, and a date as its number."""
    try:
        value = float(text)
    except ValueError:
        return one_line(text)
    if not math.isfinite(value):
        return text
    if is_date_format(code) and 0 <= value <= (_LAST_DAY - epoch).days:
        at = epoch + timedelta(seconds=round(value * _DAY_SECONDS))
        exact = "seconds" if at.second else "minutes"
        if value < 1:
            return at.time().isoformat(timespec=exact)
        return at.isoformat(sep=" ", timespec=exact).removesuffix(" 00:00")
    if (around := parse_format(code)) is not None:
        return around.shown(value)
    return f"{value:.12g}" if "." in text and "e" not in text.lower() else text
