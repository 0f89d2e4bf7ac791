"""Whatever an office document holds: chunks are slices of its text, no word is lost, and damage is only ever told."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.parsers.blocks import MAX_BLOCK_CHARS, Block
from indexer.parsers.epub import parse_epub
from indexer.parsers.office.doc import parse_doc
from indexer.parsers.office.docx import parse_docx
from indexer.parsers.office.odf import parse_odp, parse_odt
from indexer.parsers.office.ppt import parse_ppt
from indexer.parsers.office.pptx import parse_pptx
from indexer.parsers.office.rtf import parse_rtf
from indexer.parsers.office.spreadsheet import parse_spreadsheet
from rag.embedding.fake import HashingEmbedder
from rag.errors import SourceError
from tests.property.verbatim import require_verbatim
from tests.unit.office_files import doc, docx, epub, odf, paragraph, ppt, pptx, shape, styles, table, xlsx

if TYPE_CHECKING:
    from indexer.parsers.blocks import Parser

_words = st.lists(
    st.sampled_from(["Alpha", "beta.", "3.5", "日本語", "Größe", "x" * 90, "1287", "a|b", "-"]), min_size=1, max_size=30
)
_text = _words.map(" ".join)
_rows = st.lists(st.lists(_text, min_size=2, max_size=4), min_size=2, max_size=40)


def _docx(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    body = "".join(paragraph(text, "H" if i % 4 == 0 else "") for i, text in enumerate(texts))
    return parse_docx, docx(body + table(rows), parts={"styles.xml": styles(H="heading 1")})


def _pptx(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    return parse_pptx, pptx([shape(text, kind="title") + shape("\n".join(map(" ".join, rows))) for text in texts])


def _xlsx(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    cells = {f"{chr(65 + c)}{r + 1}": text for r, row in enumerate(rows) for c, text in enumerate(row)}
    return parse_spreadsheet, xlsx({"S": {**cells, **{f"A{len(rows) + 3 + 2 * i}": t for i, t in enumerate(texts)}}})


def _odt(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    cells = ("".join(f"<table:table-cell><text:p>{c}</text:p></table:table-cell>" for c in row) for row in rows)
    body = "".join(f"<text:p>{text}</text:p>" for text in texts)
    body += "<table:table>" + "".join(f"<table:table-row>{row}</table:table-row>" for row in cells) + "</table:table>"
    return parse_odt, odf("text", body)


def _epub(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    cells = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    body = "".join(f"<p>{text}</p>" for text in texts) + f"<table>{cells}</table>"
    return parse_epub, epub({"a.xhtml": body, "b.xhtml": body}, title="")


def _doc(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    return parse_doc, doc("".join(f"{text}\r" for text in [*texts, *map(" ".join, rows)][:14]))


def _ppt(texts: list[str], rows: list[list[str]]) -> tuple[Parser, bytes]:
    narrow = [text.encode("latin-1", errors="ignore").decode("latin-1") for text in map(" ".join, rows)]
    return parse_ppt, ppt([(text, narrow[:5]) for text in texts[:3]])


_MAKERS = st.sampled_from([_docx, _pptx, _xlsx, _odt, _epub, _doc, _ppt])


@settings(max_examples=60, deadline=None)
@given(make=_MAKERS, texts=st.lists(_text, min_size=1, max_size=6), rows=_rows)
def test_chunks_are_slices_of_the_text_and_every_word_arrives(make, texts, rows) -> None:
    parse, content = make(texts, rows)
    blocks = [item for item in parse(io.BytesIO(content), "utf-8") if isinstance(item, Block)]
    source = "".join(block.text for block in blocks)
    require_verbatim(blocks, HashingEmbedder(max_tokens=128))
    assert all(block.text.endswith("\n") for block in blocks if len(block.text) < MAX_BLOCK_CHARS // 2)
    kept = " ".join(source.split())
    wanted = texts[:3] if make is _ppt else texts
    assert all(" ".join(text.split()) in kept for text in wanted)


_PARSERS: list[tuple[Parser, bytes]] = [
    _docx(["One", "Two"], [["a", "b"], ["c", "d"]]),
    _pptx(["One"], [["a", "b"]]),
    _xlsx(["One"], [["a", "b"], ["c", "d"]]),
    _odt(["One"], [["a", "b"], ["c", "d"]]),
    (parse_odp, odf("presentation", "<draw:page><text:p>x</text:p></draw:page>")),
    _epub(["One"], [["a", "b"], ["c", "d"]]),
    _doc(["One", "Two"], [["a", "b"]]),
    _ppt(["One"], [["a", "b"]]),
    (parse_rtf, rb"{\rtf1\ansi{\fonttbl{\f0 A;}} a \'e4 \u1234? \par b\cell c\cell\row}"),
]


@settings(max_examples=300, deadline=None)
@given(
    sample=st.sampled_from(_PARSERS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=5),
    end=st.floats(0.05, 1) | st.just(1.0),
)
def test_damaged_bytes_give_blocks_or_a_source_error(sample, changes, end) -> None:
    parse, content = sample
    damaged = bytearray(content)
    for share, values in changes:
        place = int(share * len(damaged))
        damaged[place : place + len(values)] = values
    with suppress(SourceError):
        for item in parse(io.BytesIO(damaged[: int(end * len(damaged))]), "utf-8"):
            assert not isinstance(item, Block) or item.text
