"""Which paragraphs of a Word document are headings by their letters, where no style says so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from indexer.parsers.blocks import MAX_HEADING_CHARS
from indexer.parsers.office.docx_text import NoteMark, paragraph_text
from indexer.parsers.office.unmarked_headings import Line, unmarked_headings
from indexer.parsers.xml_parts import name_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from lxml.etree import _Element

    from indexer.parsers.office.docx_styles import Numbering, Styles


def docx_headings(
    elements: Iterable[_Element], styles: Styles, numbering: Numbering
) -> Generator[None, None, dict[int, int]]:
    """Levels of headings without a heading's style, by their place among the elements of the body."""
    return unmarked_headings(_lines(elements, styles, numbering))


def _lines(elements: Iterable[_Element], styles: Styles, numbering: Numbering) -> Iterator[Line]:
    for place, element in enumerate(elements):
        name = name_of(element.tag)
        if name == "w:p":
            yield from _paragraph(place, element, styles, numbering)
        elif name == "w:tbl":
            inner = (e for e in element.iter() if name_of(e.tag) == "w:p")
            levels = [level for e in inner if (level := styles.of_paragraph(e).level) is not None]
            yield from (Line(place=place, text="", level=level) for level in levels)
            size = styles.of_run(None, styles.of("")).size
            yield Line(place=place, text="".join(element.itertext()).strip(), size=size, may_be=False)


def _paragraph(place: int, element: _Element, styles: Styles, numbering: Numbering) -> Iterator[Line]:
    style = styles.of_paragraph(element)
    content = paragraph_text(element, NoteMark())
    text = content.lines
    if not text or style.is_contents:
        return
    sizes: Counter[int] = Counter()
    bold = slanted = True
    for run, properties in content.runs:
        letters = styles.of_run(properties, style)
        sizes[letters.size] += len(run)
        if any(map(str.isalnum, run)):
            bold, slanted = bold and letters.bold, slanted and letters.slanted
    ordered = style.numbering is not None and numbering.is_ordered(style.numbering)
    yield Line(
        place=place,
        text=text,
        size=sizes.most_common(1)[0][0] if sizes else 0,
        bold=bold and bool(sizes),
        slanted=slanted,
        items=style.numbering if ordered else None,
        may_be=ordered or not (style.numbering or style.is_caption or style.is_code or style.is_quote),
        level=style.level if len(text) <= MAX_HEADING_CHARS else None,
        is_title=style.is_title,
    )
