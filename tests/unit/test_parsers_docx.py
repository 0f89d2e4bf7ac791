import io
import zipfile

import pytest

from indexer.parsers.blocks import Block, BlockKind, Title
from indexer.parsers.office.docx import parse_docx
from rag.errors import SourceDamaged
from tests.unit.office_files import CHART, W, docx, paragraph, styles, table, zipped

STYLES = styles(H1="heading 1", H2="heading 2", T="Title", C="Source Code", TOC="toc 1", Cap="caption")


def parse(content: bytes):
    return [item for item in parse_docx(io.BytesIO(content), "utf-8") if item is not None]


def blocks(body: str, **parts: str) -> list[Block]:
    named = {f"{name}.xml": content for name, content in {"styles": STYLES, **parts}.items()}
    return [item for item in parse(docx(body, parts=named)) if isinstance(item, Block)]


def shown(found: list[Block]) -> list[tuple[str, str]]:
    return [(block.kind.value, block.text) for block in found]


def run(inner: str) -> str:
    return f"<w:r>{inner}</w:r>"


def test_headings_paragraphs_and_code_keep_their_order_and_kind():
    found = blocks(
        paragraph("Guide", "T")
        + paragraph("Setup", "H1")
        + paragraph("Read this.")
        + paragraph("def f():", "C")
        + paragraph("    return 1", "C").replace("<w:t>", '<w:t xml:space="preserve">')
        + paragraph("Details", "H2")
        + paragraph("The end.")
    )
    assert [(b.level, b.heading) for b in found if b.kind is BlockKind.HEADING] == [
        (1, "Guide"),
        (1, "Setup"),
        (2, "Details"),
    ]
    assert shown(found)[2:4] == [("paragraph", "Read this.\n\n"), ("code", "def f():\n    return 1\n\n")]


def test_what_is_not_text_is_left_out():
    body = (
        paragraph("Contents ....... 3", "TOC")
        + "<w:p>"
        + run("<w:t>kept</w:t>")
        + f"<w:del>{run('<w:delText>gone</w:delText>')}</w:del>"
        + f"<w:ins>{run('<w:t> inserted</w:t>')}</w:ins>"
        + run("<w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t>")
        + run("<w:instrText>PAGE</w:instrText>")
        + "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>"
        + run("<w:t>Click here</w:t>")
        + "</w:sdtContent></w:sdt>"
        + "<mc:AlternateContent><mc:Choice>"
        + run("<w:t> once</w:t>")
        + "</mc:Choice><mc:Fallback>"
        + run("<w:t> twice</w:t>")
        + "</mc:Fallback></mc:AlternateContent></w:p>"
    )
    assert shown(blocks(body)) == [("paragraph", "kept inserted once\n\n")]


NUMBERING = (
    f"<w:numbering {W}><w:abstractNum w:abstractNumId='0'>"
    "<w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>"
    "<w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='%1.%2)'/></w:lvl>"
    "</w:abstractNum><w:abstractNum w:abstractNumId='1'><w:lvl w:ilvl='0'><w:numFmt w:val='bullet'/></w:lvl>"
    "</w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num>"
    "<w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>"
    "<w:num w:numId='3'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='1'/>"
    "</w:lvlOverride></w:num></w:numbering>"
)


def item(text: str, number: int, level: int = 0, style: str = "") -> str:
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    properties = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>'
    return f"<w:p><w:pPr>{named}{properties}</w:pPr>{run(f'<w:t>{text}</w:t>')}</w:p>"


def test_lists_are_numbered_as_word_shows_them():
    body = (
        item("one", 1) + item("inner", 1, 1) + item("inner too", 1, 1) + item("two", 1) + paragraph("between")
        + item("three", 1) + item("again", 3) + item("dot", 2)
    )  # fmt: skip
    assert shown(blocks(body, numbering=NUMBERING)) == [
        ("list", "1. one\n  1.a) inner\n  1.b) inner too\n2. two\n\n"),
        ("paragraph", "between\n\n"),
        ("list", "3. three\n1. again\n- dot\n\n"),
    ]


def test_numbered_headings_keep_their_number():
    found = blocks(item("Scope", 1, 0, "H1") + item("Terms", 1, 1, "H2"), numbering=NUMBERING)
    assert [block.heading for block in found] == ["1. Scope", "1.a) Terms"]


def test_a_table_repeats_what_is_merged_and_says_its_header():
    merged = (
        "<w:tbl><w:tr><w:tc><w:tcPr><w:vMerge w:val='restart'/></w:tcPr>" + paragraph("Model") + "</w:tc>"
        "<w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr>" + paragraph("Cost") + "</w:tc></w:tr>"
        "<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc>" + paragraph("MWh") + "</w:tc><w:tc>"
        + paragraph("USD") + "</w:tc></w:tr></w:tbl>"
    )  # fmt: skip
    assert shown(blocks(merged)) == [("table", "Model | Cost | Cost\nModel | MWh | USD\n\n")]
    long = blocks(table([["Name", "Remark"], *([f"n{i}", "word " * 20] for i in range(300))]))
    assert len(long) > 1
    assert [block.header for block in long] == [None, *["Name | Remark"] * (len(long) - 1)]


def test_a_table_that_only_places_text_is_read_as_text():
    assert shown(blocks(table([[text] for text in ("a", "b")]))) == [("paragraph", "a\n\n"), ("paragraph", "b\n\n")]


def test_notes_comments_boxes_and_captions_follow_their_paragraph():
    body = (
        "<w:p>" + run("<w:t>Claim</w:t><w:footnoteReference w:id='2'/>") + run("<w:commentReference w:id='0'/>")
        + run("<w:drawing><pic:cNvPr descr='A duck on the lake'/><pic:cNvPr descr='image1.png'/></w:drawing>")
        + run("<w:pict><w:txbxContent>" + paragraph("In a box") + "</w:txbxContent></w:pict>") + "</w:p>"
        + paragraph("After")
    )  # fmt: skip
    notes = f"<w:footnotes {W}><w:footnote w:id='2'>{paragraph('The source')}</w:footnote></w:footnotes>"
    comment = (
        f"<w:comments {W}><w:comment w:id='0' w:author='Ann' w:date='2026-01-02T03:04:05Z'>"
        f"{paragraph('Really?')}</w:comment></w:comments>"
    )
    found = blocks(body, footnotes=notes, comments=comment)
    assert [block.text.strip() for block in found] == [
        "Claim[1]",
        "A duck on the lake",
        "In a box",
        "[1] The source",
        "Comment by Ann, 2026-01-02: Really?",
        "After",
    ]


def test_pages_are_those_that_word_wrote_down():
    turn = run("<w:lastRenderedPageBreak/>")
    body = (
        paragraph("first") + paragraph("second", extra=turn)
        + "<w:p>" + run("<w:t>begins</w:t>") + turn + run("<w:t> here</w:t>") + "</w:p>" + paragraph("third")
    )  # fmt: skip
    assert [block.page for block in blocks(body)] == [1, 2, 2, 3]
    assert blocks(paragraph("nobody counted"))[0].page is None


def test_charts_are_tables_and_formulas_lines():
    chart = "<w:p>" + run("<w:drawing><c:chart r:id='r1'/></w:drawing>") + "</w:p>"
    found = parse(docx(chart, parts={"styles.xml": STYLES, "chart.xml": CHART}))
    assert [b.text for b in found] == ["Ducks by year\n\n", " | Ducks\n2019 | 120\n2020 | 0.1\n\n"]
    formula = (
        "<w:p><m:oMath><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>"
        "<m:r><m:t>=</m:t></m:r><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>n</m:t></m:r></m:den>"
        "</m:f></m:oMath></w:p>"
    )
    assert blocks(formula)[0].text == "x^2=(a+b)/n\n\n"


def test_the_title_is_the_properties_unless_it_says_nothing():
    assert parse(docx(paragraph("x"), title="Annual report"))[0] == Title(text="Annual report")
    for empty in ("", "report.docx", "Word Document", "Untitled 1"):
        assert not any(isinstance(item, Title) for item in parse(docx(paragraph("x"), title=empty)))


def test_strict_documents_have_other_names_for_the_same():
    with zipfile.ZipFile(io.BytesIO(docx(paragraph("Strict text")))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    usual = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    strict = b"http://purl.oclc.org/ooxml/wordprocessingml/main"
    parts["word/document.xml"] = parts["word/document.xml"].replace(usual, strict)
    assert [item.text for item in parse(zipped(parts))] == ["Strict text\n\n"]


@pytest.mark.parametrize("kept", ["[Content_Types].xml", "_rels/.rels"])
def test_a_container_without_the_document_is_damaged(kept):
    with pytest.raises(SourceDamaged):
        parse(zipped({kept: "<x/>"}))


def test_fields_of_forms_say_what_is_chosen():
    def field(data: str) -> str:
        return run(f'<w:fldChar w:fldCharType="begin"><w:ffData>{data}</w:ffData></w:fldChar>') + run(
            '<w:instrText> FORM </w:instrText><w:fldChar w:fldCharType="end"/>'
        )

    box = '<w:checkBox><w:default w:val="0"/>{}</w:checkBox>'
    entries = '<w:listEntry w:val="France"/><w:listEntry w:val="Spain"/>'
    inner = (
        field(box.format("<w:checked/>")) + run("<w:t>yes </w:t>") + field(box.format('<w:checked w:val="0"/>'))
        + run("<w:t>no </w:t>") + field(box.format("")) + field('<w:checkBox><w:default w:val="1"/></w:checkBox>')
        + field(f"<w:ddList>{entries}</w:ddList>") + field(f'<w:ddList><w:result w:val="1"/>{entries}</w:ddList>')
        + field(f'<w:ddList><w:result w:val="7"/>{entries}</w:ddList>')
    )  # fmt: skip
    assert shown(blocks(f"<w:p>{inner}</w:p>")) == [("paragraph", "☒yes ☐no ☐☒FranceSpain\n\n")]


def test_signs_of_symbol_fonts_and_raised_numbers_are_what_they_show():
    def sign(font: str, code: str) -> str:
        return run(f'<w:sym w:font="{font}" w:char="{code}"/>')

    def styled(properties: str, text: str) -> str:
        return run(f"<w:rPr>{properties}</w:rPr><w:t>{text}</w:t>")

    raised = '<w:vertAlign w:val="superscript"/>'
    inner = (
        sign("Symbol", "F0B1") + run("<w:t>5 </w:t>") + sign("Symbol", "61") + sign("Wingdings", "F0FE")
        + sign("Wingdings 2", "F050") + sign("Wingdings", "F041") + sign("Wingdings", "x")
        + styled('<w:rFonts w:ascii="Symbol"/>', "\uf06d") + run("<w:t>m, 10</w:t>") + styled(raised, "-6")
        + run("<w:t> the 2</w:t>") + styled(raised, "nd") + run("<w:t> CO</w:t>")
        + styled('<w:vertAlign w:val="subscript"/>', "2")
    )  # fmt: skip
    assert shown(blocks(f"<w:p>{inner}</w:p>")) == [("paragraph", "±5 α☒✓μm, 10^-6 the 2nd CO2\n\n")]
