import io
import struct

import pytest

from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.office.doc import parse_doc
from indexer.parsers.office.ppt import parse_ppt
from rag.errors import SourceDamaged, SourceEncrypted, SourceUnsupported
from tests.unit.office_files import cells_of_ppt, compound, doc, ppt

IN_TABLE = b"\x16\x24\x01"
ENDS_ROW = IN_TABLE + b"\x17\x24\x01"
ITEM = b"\x0a\x26\x01" + b"\x0b\x46\x01\x00"


def blocks(parse, content: bytes) -> list[Block]:
    return [item for item in parse(io.BytesIO(content), "utf-8") if isinstance(item, Block)]


def marked(*pieces: tuple[str, bytes]) -> bytes:
    """Paragraphs with their marks, and what is said of each: style number, then instructions."""
    text, properties = "", {}
    for piece, said in pieces:
        text += piece
        properties[len(text) - 1] = said or b"\0\0"
    return doc(text, properties)


def test_headings_lists_and_tables_of_an_old_word_document():
    content = marked(
        ("Große Überschrift\r", b"\x01\0"),
        ("First text.\r", b""),
        ("one\r", b"\0\0" + ITEM),
        ("two\x0bmore\r", b"\0\0" + ITEM),
        ("Name\x07", b"\0\0" + IN_TABLE),
        ("Age\x07", b"\0\0" + IN_TABLE),
        ("\x07", b"\0\0" + ENDS_ROW),
        ("Ann\x07", b"\0\0" + IN_TABLE),
        ("7\x07", b"\0\0" + IN_TABLE),
        ("\x07", b"\0\0" + ENDS_ROW),
        ("Next\r", b"\x02\0"),
        ("Last.\r", b""),
    )
    found = blocks(parse_doc, content)
    assert [(b.kind.value, b.level, b.text) for b in found] == [
        ("heading", 1, "Große Überschrift\n\n"),
        ("paragraph", 0, "First text.\n\n"),
        ("list", 0, "  - one\n  - two\n    more\n\n"),
        ("table", 0, "Name | Age\nAnn | 7\n\n"),
        ("heading", 2, "Next\n\n"),
        ("paragraph", 0, "Last.\n\n"),
    ]


def test_field_instructions_are_no_text():
    content = marked(('See \x13 HYPERLINK "http://x" \x14the \x13 REF a \x14inner\x15 page\x15 now.\r', b""))
    assert blocks(parse_doc, content)[0].text == "See the inner page now.\n\n"


def test_old_and_encrypted_documents_are_refused_as_such():
    with pytest.raises(SourceEncrypted):
        blocks(parse_doc, doc("x\r", flags=0x0100))
    with pytest.raises(SourceUnsupported, match="Word 95"):
        blocks(parse_doc, doc("x\r", version=0x65))
    with pytest.raises(SourceEncrypted):
        blocks(parse_ppt, ppt([("T", [])], encrypted=True))


@pytest.mark.parametrize("parse", [parse_doc, parse_ppt])
def test_damage_is_told_as_damage(parse):
    with pytest.raises(SourceDamaged):
        blocks(parse, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(SourceDamaged, match="cannot be read"):
        blocks(parse, compound({"Other": b"x"}))
    whole = doc("text\r") if parse is parse_doc else ppt([("Title", ["text"])])
    with pytest.raises(SourceDamaged):
        blocks(parse, whole[:1600])


def test_slides_of_an_old_presentation():
    found = blocks(parse_ppt, ppt([("First", ["a line", "one\ntwo"]), ("", ["untitled"])]))
    assert [(b.kind, b.text, b.page) for b in found] == [
        (BlockKind.HEADING, "First\n\n", 1),
        (BlockKind.PARAGRAPH, "a line\n\n", 1),
        (BlockKind.LIST, "- one\n- two\n\n", 1),
        (BlockKind.HEADING, "Slide 2\n\n", 2),
        (BlockKind.PARAGRAPH, "untitled\n\n", 2),
    ]


def test_numbered_captions_of_old_documents_are_those_of_the_tables_beside_them():
    cells = [("Name\x07", IN_TABLE), ("Age\x07", IN_TABLE), ("\x07", ENDS_ROW)]
    rows = [(text, b"\0\0" + properties) for text, properties in cells]
    found = blocks(parse_doc, marked(("Table 1: Ducks\r", b""), *rows, ("Table 1 tells all.\r", b"")))
    assert [(b.kind.value, b.caption) for b in found] == [
        ("caption", ""),
        ("table", "Table 1: Ducks"),
        ("paragraph", ""),
    ]
    grid = cells_of_ppt({(0, 0, 10, 10): "Name", (10, 0, 20, 10): "Age", (0, 10, 10, 20): "Ann", (10, 10, 20, 20): "7"})
    found = blocks(parse_ppt, ppt([("Title", ["Table 1: Ducks"])], table=grid))
    assert [b.caption for b in found if b.kind is BlockKind.TABLE] == ["Table 1: Ducks"]


def test_a_table_of_an_old_presentation_is_a_grid_of_shapes():
    cells = {
        (0, 0, 10, 10): "Year",
        (10, 0, 30, 10): "Ducks",
        (0, 10, 10, 30): "2019",
        (10, 10, 20, 20): "1",
        (20, 10, 30, 20): "2",
        (20, 20, 30, 30): "4",
        (10, 20, 20, 30): "3",
        (0, 0, 30, 0): "a line, not a cell",
    }
    found = blocks(parse_ppt, ppt([("Title", [])], table=cells_of_ppt(cells)))
    assert [(b.kind.value, b.text) for b in found] == [
        ("heading", "Title\n\n"),
        ("table", "Year | Ducks | Ducks\n2019 | 1 | 2\n2019 | 3 | 4\n\n"),
    ]


def test_a_presentation_that_leads_in_circles_ends():
    content = bytearray(ppt([("First", ["text"])]))
    edit = content.index(struct.pack("<HHI", 0, 0x0FF5, 28))
    stream = edit - content.index(struct.pack("<HHI", 0xF, 0x03EE, 0)[:4])
    # The save before this one is this one.
    struct.pack_into("<I", content, edit + 8 + 8, stream)
    assert blocks(parse_ppt, bytes(content))[0].text == "First\n\n"
