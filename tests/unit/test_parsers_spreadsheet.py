import io

import pytest

from indexer.parsers.blocks import Block
from indexer.parsers.office.sheet_rows import sheet_blocks
from indexer.parsers.office.spreadsheet import parse_spreadsheet
from rag.errors import SourceDamaged
from tests.unit.office_files import CHART, OFFICE, X, rels, xlsx


def blocks(content: bytes) -> list[Block]:
    return [item for item in parse_spreadsheet(io.BytesIO(content), "utf-8") if isinstance(item, Block)]


def texts(rows: list[list[str]]) -> list[tuple[str, str | None]]:
    return [(block.text, block.header) for block in sheet_blocks(rows, page=1)]


def test_a_sheet_is_a_page_and_a_section_under_its_name():
    cells = {"A1": "Year", "B1": "Ducks", "A2": 2019, "B2": 120.5, "A3": 2020, "B3": 0.1}
    found = blocks(xlsx({"Ponds": cells, "Empty": {}, "Remarks": {"B7": "only a remark"}}))
    assert [(b.kind.value, b.level, b.page, b.text) for b in found] == [
        ("heading", 2, 1, "Ponds\n\n"),
        ("table", 0, 1, "Year | Ducks\n2019 | 120.5\n2020 | 0.1\n\n"),
        ("heading", 2, 3, "Remarks\n\n"),
        ("paragraph", 0, 3, "only a remark\n\n"),
    ]


def test_merged_cells_say_their_text_in_each_place_but_a_title_only_once():
    cells = {"B2": "Region", "C2": "Count", "D2": "Share", "B3": "North", "C3": 1, "D3": 2, "C4": 3, "D4": 4}
    (_heading, found) = blocks(xlsx({"S": cells}, merged="B3:B4"))
    assert found.text == "Region | Count | Share\nNorth | 1 | 2\nNorth | 3 | 4\n\n"
    wide = {"A1": "Ducks of the year", "A3": "Name", "B3": "Age", "A4": "Ann", "B4": 7, "C9": "end"}
    assert [b.text for b in blocks(xlsx({"S": wide}, merged="A1:B1"))[1:-1]] == [
        "Ducks of the year\n\n",
        "Name | Age\nAnn | 7\n\n",
    ]


def test_a_table_goes_on_after_a_gap_unless_a_new_header_follows():
    rows = [["Name", "Age"], ["Ann", "7"], ["", ""], ["Ben", "8"], ["", ""], ["Subtotal", ""], ["Cem", "9"]]
    assert texts(rows) == [
        ("Name | Age\nAnn | 7\nBen | 8\n\n", None),
        ("Subtotal\n\n", None),
        ("Cem | 9\n\n", "Name | Age"),
    ]
    assert texts([["Name", "Age"], ["Ann", "7"], [], ["City", "Land"], ["Rome", "Italy"]]) == [
        ("Name | Age\nAnn | 7\n\n", None),
        ("City | Land\nRome | Italy\n\n", None),
    ]


def test_a_gap_below_the_header_does_not_part_it_from_its_rows():
    rows = [["CHF", "Sales"], ["Region", "2023"], [""], ["North", "1"], ["South", "2"]]
    assert texts(rows) == [("CHF | Sales\nRegion | 2023\nNorth | 1\nSouth | 2\n\n", "CHF Region | Sales 2023")]


def test_several_rows_of_words_above_numbers_name_the_columns_together():
    rows = [["", "Sales", "Sales"], ["Region", "2022", "2023"], ["North", "1", "2"], *[["South", "3", "4"]] * 1500]
    found = texts(rows)
    assert {header for _text, header in found} == {"Region | Sales 2022 | Sales 2023"}


def test_charts_boxes_and_comments_follow_the_cells():
    drawing = (
        '<d xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        f'xmlns:r="{OFFICE}"><txBody><a:p><a:t>boxed</a:t></a:p></txBody><c:chart r:id="c"/></d>'
    )
    comments = (
        '<comments xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><authors><author>Ann</author>'
        '</authors><commentList><comment ref="A1" authorId="0"><text><r><t>Ann:</t></r><r><t> Why?</t></r></text>'
        "</comment></commentList></comments>"
    )
    parts = {
        "comments1.xml": ("comments", comments),
        "drawings/d.xml": ("drawing", drawing),
        "drawings/_rels/d.xml.rels": ("", rels({"c": ("chart", "../charts/c.xml")})),
        "charts/c.xml": ("", CHART),
    }
    found = blocks(xlsx({"S": {"A1": "text"}}, parts=parts))
    assert [b.text for b in found][1:] == [
        "text\n\n",
        "boxed\n\n",
        "Ducks by year\n\n",
        " | Ducks\n2019 | 120\n2020 | 0.1\n\n",
        "Comment by Ann: Why?\n\n",
    ]


def test_a_torn_workbook_is_damaged():
    content = xlsx({"S": {"A1": "text"}})
    for end in (200, len(content) // 2, len(content) - 30):
        with pytest.raises(SourceDamaged):
            blocks(content[:end])


def test_percentages_and_currencies_are_as_the_sheet_shows_them():
    styles = (
        f'<styleSheet {X}><numFmts><numFmt numFmtId="164" formatCode="#,##0.00\\ &quot;€&quot;"/></numFmts><cellXfs>'
        '<xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="10"/><xf numFmtId="14"/></cellXfs></styleSheet>'
    )
    cells = {
        "B3": "Centre",
        "C3": "Spent",
        "D3": "Share",
        "B4": "IT",
        "C4": 87450.5,
        "D4": 0.72875,
        "B5": "Q",
        "C5": 3,
    }
    look = {"C4": 1, "D4": 2, "C5": 1, "B3": 2}
    (_heading, found) = blocks(xlsx({"S": cells}, look=look, styles=styles))
    assert found.text == "Centre | Spent | Share\nIT | 87450.50 € | 72.88%\nQ | 3.00 €\n\n"
    assert found.header is None
