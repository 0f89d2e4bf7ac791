import io
from typing import Any

import pytest

from indexer.parsers.blocks import Block, Title
from indexer.parsers.office.odf import parse_odp, parse_odt
from rag.errors import SourceEncrypted
from tests.unit.office_files import ODF, odf


def parse(content: bytes, parser=parse_odt):
    return [item for item in parser(io.BytesIO(content), "utf-8") if item is not None]


def shown(body: str, **options: Any) -> list[tuple[str, str]]:
    found = parse(odf("text", body, **options))
    return [(item.kind.value, item.text) for item in found if isinstance(item, Block)]


STYLES = (
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"/>'
    '<text:list-level-style-bullet text:level="2"/></text:list-style>'
    '<style:style style:name="P1" style:parent-style-name="Preformatted_20_Text"/>'
    '<style:style style:name="P2" style:parent-style-name="Contents_20_1"/>'
)


def test_structure_of_a_text():
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">A <text:span>heading</text:span></text:h>'
        '<text:p text:style-name="P2">Contents ... 1</text:p>'
        '<text:section><text:p>Words<text:s text:c="3"/>and<text:line-break/>lines</text:p></text:section>'
        '<text:list text:style-name="L1"><text:list-item><text:p>one</text:p><text:list><text:list-item>'
        "<text:p>inner</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>two</text:p>"
        "</text:list-item></text:list>"
        '<text:p text:style-name="P1">a = 1</text:p><text:p text:style-name="P1">b<text:s text:c="2"/>= 2</text:p>'
    )
    assert shown(body, styles=STYLES) == [
        ("heading", "A heading\n\n"),
        ("paragraph", "Words and\nlines\n\n"),
        ("list", "1. one\n  - inner\n2. two\n\n"),
        ("code", "a = 1\nb  = 2\n\n"),
    ]


def test_tables_with_merged_cells_and_with_cells_repeated_for_ever():
    body = (
        "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Name</text:p>"
        '</table:table-cell><table:table-cell table:number-columns-spanned="2"><text:p>Age</text:p></table:table-cell>'
        "<table:covered-table-cell/></table:table-row></table:table-header-rows><table:table-row>"
        '<table:table-cell table:number-rows-spanned="2"><text:p>Ann</text:p></table:table-cell>'
        "<table:table-cell><text:p>7</text:p></table:table-cell><table:table-cell><text:p>8</text:p></table:table-cell>"
        '</table:table-row><table:table-row table:number-rows-repeated="1048576"><table:covered-table-cell/>'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>'
    )
    assert shown(body) == [("table", "Name | Age | Age\nAnn | 7 | 8\nAnn\n\n")]


def test_notes_comments_and_boxes_follow_their_paragraph():
    body = (
        "<text:p>Claim<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Source</text:p>"
        "</text:note-body></text:note> here<draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box>"
        '</draw:frame><office:annotation><dc:creator xmlns:dc="http://purl.org/dc/elements/1.1/">Ann</dc:creator>'
        "<text:p>Why?</text:p></office:annotation></text:p>"
    )
    assert [text.strip() for _kind, text in shown(body)] == [
        "Claim[1] here",
        "[1] Source",
        "boxed",
        "Comment by Ann: Why?",
    ]


def test_pages_are_those_that_were_written_down():
    body = (
        "<text:p>one</text:p><text:p><text:soft-page-break/>two</text:p><text:p>be<text:soft-page-break/>fore</text:p>"
    )
    found = parse(odf("text", body + "<text:p>three</text:p>"))
    assert [item.page for item in found] == [1, 2, 2, 3]
    assert parse(odf("text", "<text:p>x</text:p>"))[0].page is None


def test_slides():
    def frame(kind: str, text: str) -> str:
        box = f"<draw:text-box><text:p>{text}</text:p></draw:text-box>"
        return f'<draw:frame presentation:class="{kind}">{box}</draw:frame>'

    notes = f"<presentation:notes>{frame('notes', 'say it')}{frame('page', '1')}</presentation:notes>"
    body = (
        f"<draw:page>{frame('footer', 'Imprint')}{frame('outline', 'body')}{frame('title', 'Hello')}{notes}</draw:page>"
        f"<draw:page>{frame('', 'untitled')}</draw:page>"
    )
    found = parse(odf("presentation", body, title="Talk on ducks"), parse_odp)
    assert found[0] == Title(text="Talk on ducks")
    assert [(item.text, item.page) for item in found[1:]] == [
        ("Hello\n\n", 1),
        ("body\n\n", 1),
        ("Notes: say it\n\n", 1),
        ("Slide 2\n\n", 2),
        ("untitled\n\n", 2),
    ]


def test_a_protected_document_is_refused():
    with pytest.raises(SourceEncrypted):
        parse(odf("text", "", manifest="<encryption-data/>"))


def test_formulas_stand_in_their_sentence_and_charts_are_tables():
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'

    def frame(name: str) -> str:
        held = f'<draw:object {xlink} xlink:href="./{name}"/><draw:image {xlink} xlink:href="./r/{name}"/>'
        return f"<draw:frame>{held}</draw:frame>"

    def row(*cells: str) -> str:
        held = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
        return f"<table:table-row>{held}</table:table-row>"

    names = f"<table:table-header-rows>{row('', 'Ducks')}</table:table-header-rows>"
    rows = row("2023", "1") + row("2024", "2.5")
    spaces = ODF + ' xmlns:chart="urn:oasis:names:tc:opendocument:xmlns:chart:1.0"'
    chart = (
        f"<office:document-content {spaces}><office:body><office:chart><chart:chart><chart:title><text:p>Ducks by year"
        "</text:p></chart:title><chart:plot-area><chart:axis><chart:title><text:p>Thousands</text:p></chart:title>"
        f"</chart:axis></chart:plot-area><table:table>{names}<table:table-rows>{rows}</table:table-rows></table:table>"
        "</chart:chart></office:chart></office:body></office:document-content>"
    )
    math = '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mi>E</mi>{}</semantics></math>'
    parts = {
        "Object 1/content.xml": math.format('<annotation encoding="StarMath 5.0">E = m c^2</annotation>'),
        "Object 2/content.xml": chart,
        "Object 3/content.xml": math.format("<mo>=</mo><mi>x</mi>"),
    }
    body = f"<text:p>where {frame('Object 1')} holds, {frame('Object 4')}and {frame('Object 3')}</text:p>"
    told = [
        ("caption", "Ducks by year\nThousands\n\n"),
        ("table", " | Ducks\n2023 | 1\n2024 | 2.5\n\n"),
    ]
    assert shown(body + f"<text:p>{frame('Object 2')}</text:p>", parts=parts) == [
        ("paragraph", "where E = m c^2 holds, and E = x\n\n"),
        *told,
    ]
    slide = odf("presentation", f"<draw:page>{frame('Object 2')}{frame('Object 1')}</draw:page>", parts=parts)
    found = [(item.kind.value, item.text) for item in parse(slide, parse_odp) if isinstance(item, Block)]
    assert found[1:] == [*told, ("paragraph", "E = m c^2\n\n")]
