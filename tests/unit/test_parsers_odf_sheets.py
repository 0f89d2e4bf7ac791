"""Sheets of OpenDocument, and documents that are a single file of XML."""

import io
from pathlib import PurePath
from typing import Any

import pytest

from indexer.detection.office import ODP, ODS, ODT, office_type
from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.office import odf_package
from indexer.parsers.office.odf_sheets import parse_ods
from rag.errors import SourceDamaged
from tests.unit.office_files import ODF, odf
from tests.unit.parsing import parsed

TITLE = (
    '<office:meta><dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">Accounts of the mill</dc:title></office:meta>'
)


def sheets(body: str, **options: Any) -> list[Block]:
    found = parse_ods(io.BytesIO(odf("spreadsheet", body, **options)), "utf-8")
    return [item for item in found if isinstance(item, Block)]


def flat(kind: str, body: str, *, before: str = "") -> bytes:
    return (
        f"<?xml version='1.0'?>\n<office:document {ODF} office:mimetype='application/vnd.oasis.opendocument.{kind}'>"
        f"{before}<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document>"
    ).encode()


def row(*cells: str) -> str:
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def ods_cell(kind: str, value: str, text: str, extra: str = "") -> str:
    name = {"string": "string-value", "time": "time-value"}.get(kind, "value")
    return (
        f'<table:table-cell office:value-type="{kind}" office:{name}="{value}" {extra}><text:p>{text}</text:p>'
        "</table:table-cell>"
    )


def test_open_document_sheets_show_percentages_currencies_and_times():
    words = "".join(ods_cell("string", word, word) for word in ("Post", "Share", "Half", "Sum", "Debt", "Old", "Time"))
    numbers = (
        ods_cell("string", "Rent", "Rent")
        + ods_cell("percentage", "0.728754", "73 %", 'table:number-columns-repeated="2"')
        + ods_cell("currency", "1250", "1.250,00 €")
        + ods_cell("currency", "-19.9", "-€ 19.90")
        + ods_cell("currency", "1250", "CHF 1'250")
        + ods_cell("time", "PT26H30M00S", "26:30:00")
    )
    empty = '<table:table table:name="None"/>'
    first = (
        f'<table:table table:name="A"><table:table-row table:number-rows-repeated="2"/>'
        f"<table:table-header-rows><table:table-row>{words}</table:table-row></table:table-header-rows>"
        f'<table:table-row table:number-rows-repeated="2">{numbers}</table:table-row></table:table>'
    )
    second = (
        '<table:table table:name="B"><table:table-row><table:table-cell table:number-columns-repeated="3"/>'
        f"{ods_cell('percentage', '0.5', '50%')}{ods_cell('float', '0.5', '0.5')}</table:table-row></table:table>"
    )
    found = [b for b in sheets(empty + first + second) if b.kind is not BlockKind.HEADING]
    row = "Rent | 72.88 % | 72.88 % | 1250.00 € | -€ 19.90 | CHF 1250 | 26:30:00\n"
    assert [b.text for b in found] == [f"Post | Share | Half | Sum | Debt | Old | Time\n{row}{row}\n", "50% | 0.5\n\n"]


def table(*rows: str, name: str = "A") -> str:
    return f'<table:table table:name="{name}">{"".join(rows)}</table:table>'


def word(text: str, extra: str = "") -> str:
    return f'<table:table-cell office:value-type="string" {extra}><text:p>{text}</text:p></table:table-cell>'


def test_cells_of_all_kinds_are_read_with_white_space_between_their_elements():
    body = table(
        row(*map(word, ("Name", "When", "Code", "Paid", "Sum", "Day"))),
        row(
            word("Ann<text:line-break/>Lee</text:p><text:p>(new)"),
            '<table:table-cell office:value-type="date" office:date-value="2024-03-01"><text:p>01.03.24</text:p>'
            "</table:table-cell>",
            ods_cell("float", "1011", "01011"),
            '<table:table-cell office:value-type="boolean" office:boolean-value="true"><text:p>WAHR</text:p>'
            "</table:table-cell>",
            ods_cell("float", "0.30000000000000004", "0,3"),
            ods_cell("float", "45296", "1/5/24"),
        ),
        row(
            '<table:table-cell office:value-type="date" office:date-value="2024-03-01T00:00:00"/>',
            '<table:table-cell office:value-type="date" office:date-value="2024-03-01T09:30:00.5"/>',
        ),
    )
    (_heading, found) = sheets(body.replace("<table:table-cell", "\n  <table:table-cell"))
    assert found.text == (
        "Name | When | Code | Paid | Sum | Day\nAnn Lee (new) | 2024-03-01 | 01011 | TRUE | 0.3 | 2024-01-05\n"
        "2024-03-01 | 2024-03-01 09:30:00\n\n"
    )


def test_numbers_of_any_length_are_as_the_sheet_shows_them():
    digits = "0" + "7" * 5000
    values = [("float", "7" * 5000, digits), ("float", "1e999", "much"), ("percentage", "1e999", "")]
    longer = ods_cell("float", "1", "1", f'table:number-columns-repeated="{digits}"')
    number = ods_cell("float", "12345678901234567890", "0012345678901234567890")
    (_heading, found) = sheets(table(row(*(ods_cell(*each) for each in values), longer, number)))
    assert found.text == f"{digits} | much | 1e999 | 1 | 0012345678901234567890\n\n"
    (_heading, found) = sheets(table(row(word("a", 'table:number-columns-repeated="0"'), word("b"))))
    assert found.text == "a | b\n\n"
    (_heading, found) = sheets(table('<table:table-row table:number-rows-repeated="0">' + row(word("a"))[17:]))
    assert found.text == "a\n\n"


def test_merged_cells_of_a_sheet_say_their_text_in_each_place_and_empty_columns_are_none():
    gap = '<table:table-cell table:number-columns-repeated="2"/>'
    body = table(
        row(gap, word("Yield of the year", 'table:number-columns-spanned="2"'), "<table:covered-table-cell/>"),
        '<table:table-row table:number-rows-repeated="1048000"/>',
        row(gap, word("Region"), word("Tonnes")),
        row(gap, word("North", 'table:number-rows-spanned="2"'), ods_cell("float", "1", "1")),
        row(gap, "<table:covered-table-cell/>", ods_cell("float", "2", "2")),
        row(gap, '<table:table-cell table:number-columns-repeated="16380"/>'),
    )
    assert [block.text for block in sheets(body)] == [
        "A\n\n", "Yield of the year\n\n", "Region | Tonnes\nNorth | 1\nNorth | 2\n\n",
    ]  # fmt: skip


def test_long_texts_that_a_sheet_repeats_are_said_once_and_none_goes_beyond_its_last_column():
    told = "long words " * 2000
    many = 'table:number-columns-repeated="16384"'
    (_heading, *found) = sheets(table(row(word(told, many), word("last")), row(word("7", many) * 3)))
    text = "".join(block.text for block in found)
    assert text.count(told.strip()) == 1
    assert "last" in text
    assert text.count("7") == 16384 + 2


def test_comments_and_what_is_drawn_on_a_sheet_follow_its_tables():
    chart = (
        "<draw:frame><draw:object><office:document><office:body><office:chart><chart:chart xmlns:chart='c'>"
        "<chart:title><text:p>Tides</text:p></chart:title>"
        f"{table(row(word('Day'), word('High')), row(word('1'), word('7')))}"
        "</chart:chart></office:chart></office:body></office:document></draw:object></draw:frame>"
    )
    note = "<office:annotation><dc:creator xmlns:dc='http://purl.org/dc/elements/1.1/'>Ann</dc:creator><text:p>Ask Ben"
    body = table(
        f"<table:shapes>{chart}<draw:frame><draw:text-box><text:p>A box</text:p></draw:text-box></draw:frame>"
        "</table:shapes>",
        row(
            f"<table:table-cell>{note}</text:p></office:annotation><text:p>Gate</text:p></table:table-cell>",
            word("Level"),
        ),
        row(word("west"), ods_cell("float", "3", "3")),
    )
    for found in (sheets(body), parsed(ODS, flat("spreadsheet", body)).blocks):
        assert [block.text for block in found] == [
            "A\n\n", "Gate | Level\nwest | 3\n\n", "Tides\n\n", "Day | High\n1 | 7\n\n", "A box\n\n",
            "Comment by Ann: Ask Ben\n\n",
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["spreadsheet", "text", "presentation"])
def test_documents_of_a_single_file_are_read_as_packages_are(kind):
    bold = '<style:style style:name="P1" style:parent-style-name="Preformatted_20_Text"/>'
    bodies = {
        "spreadsheet": table(row(word("Name"), word("Age")), row(word("Ann"), ods_cell("float", "7", "7"))),
        "text": '<text:h text:outline-level="1">Mills</text:h><text:p text:style-name="P1">a = 1</text:p>',
        "presentation": '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Mills</text:p>'
        "</draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>They turn.</text:p>"
        "</draw:text-box></draw:frame></draw:page>",
    }
    media_type = {"spreadsheet": ODS, "text": ODT, "presentation": ODP}[kind]
    content = flat(kind, bodies[kind], before=f"{TITLE}<office:styles>{bold}</office:styles>")
    assert office_type(PurePath("a.xml"), content) == media_type
    found = parsed(media_type, content)
    package = parsed(media_type, odf(kind, bodies[kind], styles=bold))
    assert found.titles == ["Accounts of the mill"]
    assert [(block.kind, block.text, block.page) for block in found.blocks] == [
        (block.kind, block.text, block.page) for block in package.blocks
    ]
    assert len(found.blocks) == 2


def test_pictures_of_any_size_within_a_single_file_cost_it_nothing():
    data = ("iVBORw0KGgo" * 6 + "\n") * 160_000
    frame = f"<draw:frame><draw:image><office:binary-data>{data}</office:binary-data></draw:image></draw:frame>"
    found = parsed(ODT, flat("text", f"<text:p>{frame}A mill</text:p>{frame}<text:p>It turns.</text:p>"))
    assert found.text == "A mill\n\nIt turns.\n\n"
    with pytest.raises(SourceDamaged):
        parsed(ODT, flat("text", f"<text:p>{data}</text:p>"))


@pytest.mark.parametrize("read", range(1, 30))
def test_pictures_are_left_out_of_a_single_file_wherever_it_is_parted(read, monkeypatch):
    monkeypatch.setattr(odf_package, "_READ_BYTES", read)
    picture = "<office:binary-data>{}</office:binary-data>"
    content = f"<office:document>{picture.format('iV BO')}<<office:binary{picture.format('')}x{picture}<office:binary-d"
    found = odf_package.odf_package(io.BytesIO(content.format("iV" * 40).encode())).read("content.xml")
    assert found.decode() == content.replace("iV BO", "").format("")
