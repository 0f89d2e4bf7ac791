"""Office documents made to hurt: each costs itself, with the right reason, and the next file is read."""

from __future__ import annotations

import io
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from indexer.detection.office import DOCX, EPUB, ODT, PPTX, XLSX
from indexer.parsing.isolation import IsolatedParsers
from rag.errors import ParserOutOfMemory, SourceDamaged, SourceTooLarge
from tests.unit.office_files import W, docx, epub, odf, paragraph, pptx, shape, xlsx, zipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEMORY = 512 << 20
LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)


@pytest.fixture(scope="module")
def parsers() -> Iterator[IsolatedParsers]:
    with IsolatedParsers(timeout_s=20, memory_bytes=MEMORY) as running:
        yield running


@pytest.fixture
def read(parsers: IsolatedParsers, tmp_path: Path) -> Callable[[str, bytes], str]:
    def run(media_type: str, content: bytes) -> str:
        path = tmp_path / "file"
        path.write_bytes(content)
        with path.open("rb") as file:
            found = parsers.parse(file, media_type=media_type, encoding="utf-8", size=len(content))
            with closing(found) as pieces:
                return "".join(block.text for piece in pieces for block in piece.blocks)

    return run


@pytest.fixture(autouse=True)
def the_next_file_is_read(read):
    yield
    assert read(DOCX, docx(paragraph("still here"))) == "still here\n\n"


def test_a_bomb_is_refused_without_being_expanded(read):
    content = zipped({"[Content_Types].xml": "<x/>", "word/document.xml": bytes(1 << 28)})
    assert len(content) < 1 << 20
    with pytest.raises(SourceTooLarge, match="grows from"):
        read(DOCX, content)


def test_a_flood_of_text_within_the_ratio_is_cut_off(read, monkeypatch):
    monkeypatch.setattr("indexer.parsing.isolation._MAX_TEXT_CHARS", 1 << 20)
    with pytest.raises(SourceTooLarge, match="characters of text"):
        read(DOCX, docx("".join(paragraph(f"{i} " + "flood of words " * 60) for i in range(3000))))


@pytest.mark.parametrize("part", ["word/document.xml", "word/_rels/document.xml.rels", "docProps/core.xml"])
def test_entities_are_refused_in_every_part(read, part):
    with zipfile.ZipFile(io.BytesIO(docx(paragraph("&amp;")))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = (LAUGHS + "<x>&i;</x>").encode()
    with pytest.raises(SourceDamaged, match="entities"):
        read(DOCX, zipped(parts))


def test_entities_in_a_workbook_are_not_expanded(read):
    with zipfile.ZipFile(io.BytesIO(xlsx({"S": {"A1": "words", "B1": "LAUGH"}}))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].replace(b"LAUGH", b"&i;")
    parts["xl/worksheets/sheet1.xml"] = LAUGHS.encode() + sheet
    with pytest.raises(SourceDamaged):
        read(XLSX, zipped(parts))


def test_a_sheet_that_claims_a_million_rows_is_what_its_cells_are(read):
    cells = {"A1": "Name", "B1": "Age", "A2": "Ann", "B2": 7, "A1048576": "last"}
    assert read(XLSX, xlsx({"S": cells})) == "S\n\nName | Age\nAnn | 7\n\nlast\n\n"


def test_a_stray_cell_at_the_end_of_the_world_is_named(read):
    with pytest.raises(SourceTooLarge, match="17,179,869,184 cells") as caught:
        read(XLSX, xlsx({"S": {"A1": "here", "XFD1048576": "there"}}))
    assert "stray" in caught.value.hint


def test_a_library_that_aborts_for_want_of_memory_is_told_as_such(read):
    # Below the limit on cells, above that on memory.
    with pytest.raises(ParserOutOfMemory, match="512 MiB"):
        read(XLSX, xlsx({"S": {"A1": "here", "AZ1048576": "there"}}))


DEPTHS = {
    "docx tables": (
        DOCX,
        docx("<w:tbl><w:tr><w:tc>" * 60 + paragraph("deep") + "<w:p/></w:tc></w:tr></w:tbl>" * 60),
    ),
    "docx controls": (DOCX, docx("<w:sdt><w:sdtContent>" * 100 + paragraph("deep") + "</w:sdtContent></w:sdt>" * 100)),
    "docx boxes": (
        DOCX,
        docx("<w:p><w:r><w:txbxContent>" * 70 + paragraph("deep") + "</w:txbxContent></w:r></w:p>" * 70),
    ),
    "pptx groups": (PPTX, pptx(["<p:grpSp>" * 200 + shape("deep") + "</p:grpSp>" * 200])),
    "odt lists": (
        ODT,
        odf(
            "text",
            "<text:list><text:list-item>" * 100 + "<text:p>deep</text:p>" + "</text:list-item></text:list>" * 100,
        ),
    ),
    "odt frames": (ODT, odf("text", "<text:p><draw:frame>" * 100 + "deep" + "</draw:frame></text:p>" * 100)),
    "epub": (EPUB, epub({"a": "<div>" * 1500 + "deep" + "</div>" * 1500})),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_deep_nesting_is_read_or_left_out_but_never_a_crash(read, name):
    media_type, content = DEPTHS[name]
    assert isinstance(read(media_type, content), str)


def test_deeper_than_documents_nest_is_refused(read):
    with pytest.raises(SourceDamaged, match="XML"):
        read(DOCX, docx("<w:sdt>" * 400 + paragraph("deep") + "</w:sdt>" * 400))


def test_a_relation_that_leads_out_of_the_file_leads_nowhere(read, tmp_path):
    (tmp_path / "secret.xml").write_text(f"<w:styles {W}/>")
    parts = {
        "[Content_Types].xml": "<x/>",
        "_rels/.rels": '<R xmlns="r"><Relationship Id="1" Type="t/officeDocument" Target="../../../etc/passwd"/></R>',
        "word/document.xml": "<x/>",
    }
    with pytest.raises(SourceDamaged, match="not the document"):
        read(DOCX, zipped(parts))


def test_a_table_of_ten_thousand_columns_is_bounded(read):
    row = "<w:tr>" + "<w:tc><w:tcPr><w:gridSpan w:val='999999999'/></w:tcPr><w:p/></w:tc>" * 500 + "</w:tr>"
    assert read(DOCX, docx(f"<w:tbl>{row * 50}</w:tbl>{paragraph('after')}")) == "after\n\n"
