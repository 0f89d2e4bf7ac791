"""Which paragraphs of an OpenDocument text are headings by their letters, where none says so itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from indexer.parsers.blocks import one_line
from indexer.parsers.office.odf_styles import STYLES
from indexer.parsers.office.unmarked_headings import Line, unmarked_headings
from indexer.parsers.xml_parts import attribute, name_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from lxml.etree import _Element

    from indexer.parsers.office.odf_styles import Letters, OdfStyles

_APART = ("text:note", "office:annotation", "draw:", "text:tracked-changes")


def odf_headings(elements: Iterable[_Element], styles: OdfStyles) -> Generator[None, None, dict[int, int]]:
    """Levels of paragraphs that are headings without saying so, by their place among the elements of the body.

    Takes in the styles that stand among the elements.
    """
    return unmarked_headings(_lines(elements, styles))


def _lines(elements: Iterable[_Element], styles: OdfStyles) -> Iterator[Line]:
    for place, element in enumerate(elements):
        if name_of(element.tag) in STYLES:
            styles.add(element)
        else:
            for inner in element.iter("{*}p", "{*}h"):
                yield from _line(place, inner, styles, alone=inner is element)


def _line(place: int, element: _Element, styles: OdfStyles, *, alone: bool) -> Iterator[Line]:
    style = attribute(element, "text:style-name")
    marked, title = name_of(element.tag) == "text:h", styles.is_title(style)
    runs = list(_runs(element, styles, styles.letters(style)))
    text = one_line("".join(run for run, _letters in runs))
    if not text or styles.is_contents(style):
        return
    sizes: Counter[float] = Counter()
    bold = slanted = True
    for run, letters in runs:
        sizes[letters.size] += len(run.strip())
        if any(map(str.isalnum, run)):
            bold, slanted = bold and letters.bold, slanted and letters.slanted
    yield Line(
        place=place,
        text=text,
        size=sizes.most_common(1)[0][0],
        bold=bold,
        slanted=slanted,
        may_be=alone and not (styles.is_code(style) or styles.is_caption(style) or styles.is_quote(style)),
        level=1 if marked or title else None,
        is_title=title and not marked,
    )


def _runs(element: _Element, styles: OdfStyles, letters: Letters) -> Iterator[tuple[str, Letters]]:
    yield element.text or "", letters
    for inner in element:
        name = name_of(inner.tag)
        if name == "text:line-break":
            yield "\n", letters
        elif name in {"text:s", "text:tab"}:
            yield " ", letters
        elif not name.startswith(_APART):
            own = attribute(inner, "text:style-name") if name in {"text:span", "text:a"} else ""
            yield from _runs(inner, styles, styles.letters(own, letters) if own else letters)
        yield inner.tail or "", letters
