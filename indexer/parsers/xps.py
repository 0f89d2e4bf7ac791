"""XPS and OpenXPS, what Windows prints to: runs of glyphs with their places, laid out as the lines of a PDF are.

Source: ECMA-388. How wide a run is stands in its markup where a printer driver wrote it; elsewhere it is estimated.
"""

from __future__ import annotations

import math
import posixpath
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from indexer.parsers.blocks import Parsed, Title, bounded
from indexer.parsers.captions import beside_tables
from indexer.parsers.office.package import package_title, related, relations
from indexer.parsers.pdf.blocks import PageWriter
from indexer.parsers.pdf.columns import in_reading_order
from indexer.parsers.pdf.edges import keep_tables
from indexer.parsers.pdf.headings import Style
from indexer.parsers.pdf.lines import Line, margin, rejoined
from indexer.parsers.pdf.running import Running
from indexer.parsers.xml_parts import local_name, read_xml
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceDamaged, SourceHasNoText

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from lxml.etree import _Element

_SAMPLE_PAGES: Final = 12
_POINTS: Final = 0.75  # a unit is 1/96 inch
# Of a font's size, where nothing says how wide a character is.
_USUAL_WIDTH: Final = 0.5
_WORD = re.compile(r"\S+")
_BETWEEN = re.compile(r"[\s,]+")
# Of units and of scales: what is larger lies on no page.
_MAX_NUMBER: Final = 1e6
_Matrix = tuple[float, ...]


def parse_xps(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - XML says its encoding itself
    """Yield each page's headings, paragraphs, lists and tables, with its number.

    Raises:
        SourceDamaged, SourceEncrypted, SourceTooLarge: as the container or its XML shows.
        SourceHasNoText: its pages are pictures, or show characters without saying which.
    """
    with LimitedZip(file) as archive:
        pages = list(dict.fromkeys(_pages(archive)))  # none may be there twice (ECMA-388)
        if title := package_title(archive):
            yield Title(text=title)
        yield from beside_tables(_parsed(archive, pages))


def _parsed(archive: LimitedZip, pages: Sequence[str]) -> Iterator[Parsed]:
    sample = [_lines(archive, page) for page in pages[:_SAMPLE_PAGES]]
    running = Running.of(sample)
    writer = PageWriter(Style.of(sample, whole=len(sample) == len(pages)), {})
    writer.learn(*sample)
    found = False
    for number, page in enumerate(pages, start=1):
        lines = sample[number - 1] if number <= len(sample) else _lines(archive, page)
        for block in writer.blocks(running.without(lines, number), page=number, grids=[]):
            found = True
            yield from bounded(block)
        yield None
    if not found:
        raise SourceHasNoText("This document holds no text.", hint="Print it to a PDF file and ingest that.")


def _pages(archive: LimitedZip) -> Iterator[str]:
    """The parts of the pages, in order."""
    sequence = related(relations(archive), "fixedrepresentation")
    if sequence not in archive:
        raise SourceDamaged("It does not say what its pages are.", hint="Print it again.")
    for document in dict.fromkeys(_sources(archive, sequence, "DocumentReference")):
        yield from _sources(archive, document, "PageContent")


def _sources(archive: LimitedZip, part: str, name: str) -> Iterator[str]:
    for element in read_xml(archive, part):
        if isinstance(element.tag, str) and local_name(element) == name:
            path = posixpath.join("/", posixpath.dirname(part), unquote(element.get("Source") or ""))
            yield posixpath.normpath(path).lstrip("/")


def _lines(archive: LimitedZip, part: str) -> list[Line]:
    page = read_xml(archive, part)
    height = _numbers(page.get("Height"), 1)[0] * _POINTS
    moves: dict[_Element, _Matrix] = {}
    lines = [line for run in page.iter("{*}Glyphs") for line in _run(run, moves)]
    for line in lines:
        line.base += height
        line.margin = margin(line.base, height)
    lines = rejoined(lines)
    keep_tables(lines, [])
    return in_reading_order(lines)


def _run(run: _Element, moves: dict[_Element, _Matrix]) -> Iterator[Line]:
    """The words of a run on its baseline, which is below zero: pages count from their upper edge."""
    text = (run.get("UnicodeString") or "").removeprefix("{}")
    if not text.strip():
        return
    x, y = _numbers(run.get("OriginX"), 1)[0], _numbers(run.get("OriginY"), 1)[0]
    size = _numbers(run.get("FontRenderingEmSize"), 1)[0]
    places = [0.0, *accumulate(_widths(run.get("Indices") or "", len(text)))]
    scale, turned = 1.0, run.get("IsSideways") == "true"
    for around in (run, *run.iterancestors()):
        if around not in moves:
            moves[around] = _matrix(around)
        a, b, c, d, e, f = moves[around]
        x, y = _limited(a * x + c * y + e), _limited(b * x + d * y + f)
        scale = _limited(scale * a) if b == 0 else scale
        turned = turned or b != 0 or a <= 0
    size *= scale * _POINTS
    left = x * _POINTS - (places[-1] * size if _is_leftward(run) else 0.0)
    words = [
        (left + places[word.start()] * size, left + places[word.end()] * size, word[0]) for word in _WORD.finditer(text)
    ]
    yield Line(
        left=words[0][0], right=words[-1][1], base=-y * _POINTS, size=max(0.5, round(size * 2) / 2),
        bold="Bold" in (run.get("StyleSimulations") or ""), text=" ".join(word for _, _, word in words), words=words,
        turned=turned,
    )  # fmt: skip


def _is_leftward(run: _Element) -> bool:
    return int(_numbers(run.get("BidiLevel"), 1)[0]) % 2 == 1


def _widths(indices: str, count: int) -> list[float]:
    """How wide each character is, in font sizes: ``glyph,advance,...`` between semicolons, hundredths."""
    known = [_numbers(entry.partition(",")[2], 1)[0] / 100 for entry in indices.split(";")[:count]]
    known += [0.0] * (count - len(known))
    return [width or _USUAL_WIDTH for width in known]


def _matrix(element: _Element) -> _Matrix:
    """How an element is moved, scaled and turned: an attribute, or an element of its own."""
    stated = element.get("RenderTransform")
    if stated is None:
        inner = next(element.iterchildren(f"{{*}}{local_name(element)}.RenderTransform"), None)
        stated = None if inner is None else next((e.get("Matrix") for e in inner), None)
    numbers = _numbers(stated, 6)
    return tuple(numbers) if stated and any(numbers[:4]) else (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def _numbers(text: str | None, count: int) -> list[float]:
    """The first numbers of a text; 0 for each that is not there or is none."""
    found = [_number(number) for number in _BETWEEN.split((text or "").strip(), maxsplit=count)[:count]]
    return found + [0.0] * (count - len(found))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return _limited(number) if math.isfinite(number) else 0.0


def _limited(number: float) -> float:
    return max(-_MAX_NUMBER, min(_MAX_NUMBER, number))
