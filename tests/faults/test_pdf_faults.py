"""PDF files whose objects lead back to themselves, or unpack to more than there is memory: each costs itself."""

from __future__ import annotations

import zlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from indexer.parsing.isolation import IsolatedParsers
from rag.errors import ParserOutOfMemory, SourceDamaged, SourceError, SourceHasNoText
from tests.unit.pdf_pages import make_pdf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
ONE_PAGE = b"<</Type/Pages/Count 1/Kids[3 0 R]>>"
EMPTY_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
DRAWN_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</A 5 0 R>>>>>>"
BOMB = zlib.compress(zlib.compress(bytes(1 << 30), 9), 9)


def pdf(*objects: bytes) -> bytes:
    """A file of these objects, numbered from 1; the first is the catalog."""
    content, offsets = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(content))
    return content + head + table + tail


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)


def form(draws: bytes, named: int) -> bytes:
    resources = b"/Resources<</XObject<</A %d 0 R>>>>" % named
    return stream(draws, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + resources)


@pytest.fixture(scope="module")
def parsers() -> Iterator[IsolatedParsers]:
    with IsolatedParsers(timeout_s=60, memory_bytes=512 << 20) as running:
        yield running


@pytest.fixture
def read(parsers: IsolatedParsers, tmp_path: Path) -> Callable[[bytes], str]:
    def run(content: bytes) -> str:
        path = tmp_path / "file.pdf"
        path.write_bytes(content)
        with path.open("rb") as file:
            found = parsers.parse(file, media_type="application/pdf", encoding="utf-8", size=len(content))
            with closing(found) as pieces:
                return "".join(block.text for piece in pieces for block in piece.blocks)

    return run


FILES: dict[str, tuple[bytes, type[SourceError], str]] = {
    "pages within themselves": (
        pdf(CATALOG, b"<</Type/Pages/Count 1000000/Kids[2 0 R 2 0 R]>>"),
        SourceDamaged,
        "cannot be read",
    ),
    "pages within each other": (
        pdf(
            CATALOG,
            b"<</Type/Pages/Count 10/Kids[3 0 R]>>",
            b"<</Type/Pages/Parent 2 0 R/Count 10/Kids[2 0 R]>>",
        ),
        SourceDamaged,
        "cannot be read",
    ),
    "two billion pages that are not there": (
        pdf(CATALOG, b"<</Type/Pages/Count 2000000000/Kids[3 0 R]>>", EMPTY_PAGE),
        SourceHasNoText,
        "This PDF of 1 page holds",
    ),
    "an outline within itself": (
        pdf(
            b"<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>",
            ONE_PAGE,
            EMPTY_PAGE,
            b"<</First 5 0 R/Last 5 0 R>>",
            b"<</Title(x)/Next 5 0 R/First 5 0 R/Parent 4 0 R>>",
        ),
        SourceHasNoText,
        "This PDF of 1 page holds",
    ),
    "a form that draws itself twice": (
        pdf(CATALOG, ONE_PAGE, DRAWN_PAGE, stream(b"/A Do"), form(b"/A Do /A Do", 5)),
        ParserOutOfMemory,
        "512 MiB",
    ),
    "forms that draw ten forms that draw ten": (
        pdf(CATALOG, ONE_PAGE, DRAWN_PAGE, stream(b"/A Do"), *(form(b"/A Do " * 10, 6 + n) for n in range(30))),
        ParserOutOfMemory,
        "512 MiB",
    ),
    "a page that unpacks to a gigabyte": (
        pdf(CATALOG, ONE_PAGE, DRAWN_PAGE, stream(BOMB, b"/Filter[/FlateDecode/FlateDecode]")),
        ParserOutOfMemory,
        "512 MiB",
    ),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", FILES)
def test_a_pdf_without_end_is_refused_for_what_it_is_and_the_next_is_read(read, name):
    content, error, cause = FILES[name]
    with pytest.raises(error, match=cause):
        read(content)
    assert "still here" in read(make_pdf([["still here"]]))
