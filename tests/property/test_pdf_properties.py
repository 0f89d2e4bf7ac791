"""Whatever stands on the pages of a PDF, and wherever: it arrives once, in verbatim chunks of the right page."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.parsers.blocks import Block
from indexer.parsers.pdf import pages as pdf_pages
from indexer.parsers.pdf.parser import parse_pdf
from rag.embedding.fake import HashingEmbedder
from rag.errors import SourceError
from tests.property.verbatim import require_verbatim
from tests.unit.pdf_pages import drawn_pdf, make_pdf

_GOOD = make_pdf(
    [[("A Title", 18), "", "Some text.", "One\tTwo\tThree", "1\t2\t3"], ["• an item", "• another"]], title="A"
)
_damage = st.lists(
    st.tuples(st.integers(0, len(_GOOD) - 1), st.binary(max_size=8), st.integers(0, 40)), min_size=1, max_size=12
)
_word = st.text("abcdefghijklm", min_size=2, max_size=9)
# Away from the margins, where what repeats is left out; on a grid, so that words do not lie on each other.
_place = st.tuples(st.integers(0, 3), st.integers(0, 35))
_fonts = st.sampled_from([("Helvetica", 10), ("Helvetica-Bold", 10), ("Helvetica", 16), ("Courier", 9)])
_line = st.tuples(_place, st.lists(_word, min_size=1, max_size=3).map(" ".join), _fonts)
_page = st.lists(_line, max_size=40, unique_by=lambda line: line[0])


@settings(max_examples=60, deadline=None)
@given(pages=st.lists(_page, min_size=1, max_size=4).filter(any))
def test_words_of_a_pdf_arrive_once_on_their_page_and_verbatim(pages) -> None:
    numbered = [
        [(place, f"{text} w{page}x{index}", font) for index, (place, text, font) in enumerate(lines)]
        for page, lines in enumerate(pages, start=1)
    ]

    def drawing(lines):
        def draw(canvas):
            for (column, row), text, font in lines:
                canvas.setFont(*font)
                canvas.drawString(40 + 135 * column, 700 - 15 * row, text[:22])

        return draw

    content = drawn_pdf(*map(drawing, numbered))
    blocks = [item for item in parse_pdf(io.BytesIO(content), "utf-8") if isinstance(item, Block)]
    for page, lines in enumerate(numbered, start=1):
        expected = Counter("".join(text[:22] for _, text, _ in lines).replace(" ", ""))
        arrived = Counter("".join(block.text for block in blocks if block.page == page))
        assert {c: arrived[c] for c in expected} == dict(expected)
    for chunk in require_verbatim(blocks, HashingEmbedder(max_tokens=64)):
        assert chunk.page in range(1, len(pages) + 1)


@settings(max_examples=300, deadline=None)
@given(damage=_damage)
def test_a_damaged_pdf_is_read_or_refused(damage) -> None:
    content = bytearray(_GOOD)
    for place, written, removed in damage:
        content[place : place + removed] = written
    with pytest.MonkeyPatch.context() as patch, suppress(SourceError):
        patch.setattr(pdf_pages, "ocr_installed", lambda: False)
        assert all(item.text for item in parse_pdf(io.BytesIO(bytes(content)), "utf-8") if isinstance(item, Block))
