import io
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import PurePath

import pytest

from indexer.detection.office import ODS, XLS, XLSX, office_type
from indexer.parsers.blocks import Block, Title
from indexer.parsers.office.sheet_rows import sheet_blocks
from indexer.parsers.office.spreadsheet import parse_spreadsheet
from rag.errors import SourceDamaged, SourceEncrypted, SourceError
from tests.unit.office_files import CHART, OFFICE, X, odf, rels, styled_xls, xlsb, xlsx
from tests.unit.parsing import Result, parsed


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


def test_rows_of_other_widths_than_the_header_are_rows_of_its_table():
    cells = {"A1": "Name", "B1": "City", "C1": "Notes", "A2": "Ann", "B2": "Rome", "C2": "x", "A3": "Group A"}
    (_heading, found) = blocks(xlsx({"S": cells | {"A4": "Bob", "B4": "Paris", "C4": "y"}}, merged="A3:C3"))
    assert found.text == "Name | City | Notes\nAnn | Rome | x\nGroup A\nBob | Paris | y\n\n"
    (wider,) = texts([["Name", "City"], ["", "at birth", "Notes"], ["Ann", "Rome", "x"]])
    assert wider == ("Name | City\n | at birth | Notes\nAnn | Rome | x\n\n", "Name | City at birth | Notes")


def test_tables_side_by_side_are_read_from_left_to_right():
    both = [
        ["Sales of 2024", "", "", "Staff", ""],
        ["Region", "Total", "", "Name", "Age"],
        ["North", "10", "", "Ann", "7"],
        ["South", "20", "", "Ben", "8"],
        ["West", "30", "", "Cem", "9"],
    ]
    parted = [
        ("Sales of 2024\n\n", None),
        ("Region | Total\nNorth | 10\nSouth | 20\nWest | 30\n\n", None),
        ("Staff\n\n", None),
        ("Name | Age\nAnn | 7\nBen | 8\nCem | 9\n\n", None),
    ]
    assert texts(both) == parted
    assert texts([["All of it", "", "", "", ""], *both]) == [("All of it\n\n", None), *parted]
    assert texts([*both, [], ["Remark"]]) == [*parted, ("Remark\n\n", None)]
    longer = [*both[1:], ["East", "1", "", "", ""], ["Sea", "2", "", "", ""]]
    assert texts(longer) == [
        ("Region | Total\nNorth | 10\nSouth | 20\nWest | 30\nEast | 1\nSea | 2\n\n", None),
        ("Name | Age\nAnn | 7\nBen | 8\nCem | 9\n\n", None),
    ]
    merged = [["Sales", "Sales", "", "Staff", "Staff"], *longer]
    assert [text for text, _header in texts(merged)][::2] == ["Sales\n\n", "Staff\n\n"]
    snaking = [["Name", "Age", "", "Name", "Age"], *both[2:]]
    assert [text for text, _header in texts(snaking)][1:] == ["Name | Age\nAnn | 7\nBen | 8\nCem | 9\n\n"]
    lower = [["A", "B"], ["1", "2"], ["3", "4"], ["5", "6"], ["7", "8", "", "C", "D"], *[["1", "2", "", "3", "4"]] * 3]
    assert [text for text, _header in texts(lower)][1:] == ["C | D\n3 | 4\n3 | 4\n3 | 4\n\n"]


@pytest.mark.parametrize(
    "rows",
    [
        # Columns of one table on both sides of an empty one: as long, and none that rows could go by.
        [["Name", "Age", "", "City", "Land"], ["Ann", "7", "", "Rome", "Italy"], ["Ben", "8", "", "Bonn", "Germany"]],
        [["Plan", "Plan", "", "Fact", "Fact"], ["Q1", "Q2", "", "Q1", "Q2"], ["1", "2", "", "3", "4"]],
        [
            ["Task", "Owner", "", "State", "Note"],
            ["a", "Ann", "", "done", "fine"],
            *([t, "Ben", "", "", ""] for t in "bcd"),
        ],
        # Empty only where the first rows are.
        [["Name", "Age", "", "Name", "Age"], *[["Ann", "7", "", "Ben", "8"]] * 9, ["Cem", "9", "x", "Dan", "1"]],
    ],
)
def test_a_table_with_an_empty_column_stays_one(rows: list[list[str]]):
    (found,) = texts(rows)
    assert found[0].count("\n") == len(rows) + 1


def test_tables_side_by_side_that_are_too_long_to_hold_are_written_as_they_come():
    rows = [["Name", "Text", "", "Name", "Text"], *([f"a{i}", "x" * 500, "", f"b{i}", "y" * 500] for i in range(1100))]
    source = iter(rows)
    next(sheet_blocks(source, page=1))
    assert next(source, None) is not None


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


def test_dates_are_of_iso_and_durations_in_hours():
    codes = ("hh:mm", "[h]:mm:ss", "dd.mm.yyyy", "mm:ss.0")
    formats = "".join(f'<numFmt numFmtId="{164 + i}" formatCode="{code}"/>' for i, code in enumerate(codes))
    looks = "".join(f'<xf numFmtId="{number}"/>' for number in (0, 164, 165, 166, 167, 22))
    styles = f"<styleSheet {X}><numFmts>{formats}</numFmts><cellXfs>{looks}</cellXfs></styleSheet>"
    cells = {"A1": 45352, "B1": 45352.5, "C1": 0.385416666666667, "D1": 1.10416666666667, "E1": -0.5, "F1": 0.0012}
    look = {"A1": 3, "B1": 5, "C1": 1, "D1": 2, "E1": 2, "F1": 4}
    (_heading, found) = blocks(xlsx({"S": cells}, styles=styles, look=look))
    assert found.text == "2024-03-01 | 2024-03-01 12:00:00 | 09:15:00 | 26:30:00 | -12:00:00 | 00:01:43.680\n\n"


@pytest.mark.parametrize("made", [styled_xls, partial(styled_xls, old=True), xlsb, partial(xlsb, short=True)])
def test_older_and_binary_workbooks_show_percentages_currencies_and_dates(made):
    codes = {164: '#,##0.00 "€"', 165: "dd.mm.yyyy", 166: "0.0%"}
    styles = [0, 164, 10, 165, 166, 14]
    rows = [[(1250.5, 1), (0.12675, 2), (45352, 3), (0.5, 0)], [(-20, 1), (0.5, 4), (45352.5, 5), (3, 0)]]
    (_heading, found) = blocks(made(codes, styles, rows))
    assert found.text == ("1250.50 € | 12.68% | 2024-03-01 | 0.5\n-20.00 € | 50% | 2024-03-01 12:00:00 | 3\n\n")


def with_macros(content: bytes, *, typed: bool = True) -> bytes:
    """The first sheet of a workbook as one of Excel 4's macros, or in a folder of its own."""
    package = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(package, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name.endswith("workbook.xml.rels" if typed else ".bin.rels"):
                data = data.replace(b"relationships/worksheet", b"relationships/xlMacrosheet", 1) if typed else data
                data = data.replace(b"worksheets/sheet1.", b"macrosheets/sheet1.")
            after.writestr(name.replace("worksheets/sheet1.", "macrosheets/sheet1."), data)
    return package.getvalue()


def test_sheets_of_macros_are_sheets_and_cost_the_others_nothing():
    content = with_macros(xlsx({"Macro1": {"A1": "done"}, "Ponds": {"A1": "Ducks of the year"}}))
    assert [block.text for block in blocks(content)] == [
        "Macro1\n\n",
        "done\n\n",
        "Ponds\n\n",
        "Ducks of the year\n\n",
    ]
    (_heading, found) = blocks(with_macros(xlsb({}, [0], [[(0.5, 0), (7, 0)]]), typed=False))
    assert found.text == "0.5 | 7\n\n"


@pytest.mark.parametrize("old", [False, True])
def test_a_workbook_of_excel_97_with_a_password_is_told_as_that(old):
    with pytest.raises(SourceEncrypted, match="protected by a password"):
        blocks(styled_xls({164: "0%"}, [164], [[(0.5, 0)]], old=old, encrypted=True))


def test_damaged_formats_of_a_workbook_are_refused_or_left_out():
    for content in (styled_xls({164: "0%"}, [164], [[(0.5, 0)]] * 3), xlsb({164: "0%"}, [164], [[(0.5, 0)]] * 3)):
        for at in range(0, len(content), 7):
            with suppress(SourceError):
                blocks(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["Item", "Price"], ["Apples", "on request"], ["Pears", "3"], ["Plums", "4"]], "Item | Price"),
        ([["1.1", "Voltage", "kV", "130 nominal"], ["1.2", "Rate", "Hz", "50"], ["1.3", "Phases", "", "3"]], ""),
        ([["Name:", "Ann"], ["Unit:", "IT"], ["Hours:", "160"]], ""),
        ([["Part", "Length", "Weight"], ["", "mm", "kg"], ["Pipe", "3", "5"]], "Part | Length mm | Weight kg"),
        ([["Length", "Weight"], ["mm", "kg"], ["3", "5"]], "Length mm | Weight kg"),
        (
            [["Land", "2023", "", "2024", ""], ["", "Q1", "Q2", "Q1", "Q2"], ["North", "1", "2", "3", "4"]],
            "Land | 2023 Q1 | 2023 Q2 | 2024 Q1 | 2024 Q2",
        ),
        ([["in CHF", "", "2023"], ["", "Sales", "Cost"], ["Tea", "1", "2"]], "in CHF | Sales | 2023 Cost"),
        (
            [["Sum", "Years", "", ""], ["Row", "2022", "2023", "Total"], ["North", "10", "20", "30"]],
            "Sum Row | Years 2022 | Years 2023 | Years Total",
        ),
        ([["Cash", "2024-01-01", "2024-02-01"], ["In", "1", "2"], ["Out", "3", "4"]], "Cash | 2024-01-01 | 2024-02-01"),
        ([["In", "2024-01-01"], ["Out", "2024-02-01"], ["Back", "2024-03-01"]], ""),
    ],
)
def test_what_names_the_columns_is_told_from_data(rows, header):
    (block,) = sheet_blocks(rows, page=1)
    assert block.text.count("\n") == len(rows) + 1
    assert (block.text.partition("\n")[0] if block.header is None else block.header) == header


def test_names_with_values_above_a_table_are_lines_and_its_title_goes_along():
    rows = [["Firm:", "Acme"], ["Day:", "2024-03-01"], ["Pos", "Thing", "Price"], ["1", "Nut", "2"], ["2", "Bolt", "3"]]
    assert texts(rows) == [
        ("Firm: Acme\nDay: 2024-03-01\n\n", None),
        ("Pos | Thing | Price\n1 | Nut | 2\n2 | Bolt | 3\n\n", None),
    ]
    years = [[["Costs 2023"], ["in EUR"], [], ["Name", "Sum"], ["Rent", "1"], ["Power", "2"]], [[], ["net"], []]]
    found = list(sheet_blocks([*years[0], *years[1], ["Costs 2024"], ["Name", "Sum"], ["Rent", "3"]], page=1))
    assert [(block.kind.value, block.text, block.caption) for block in found] == [
        ("caption", "Costs 2023\nin EUR\n\n", ""),
        ("table", "Name | Sum\nRent | 1\nPower | 2\n\n", "Costs 2023 in EUR"),
        ("paragraph", "net\n\n", ""),
        ("caption", "Costs 2024\n\n", ""),
        ("table", "Name | Sum\nRent | 3\n\n", "Costs 2024"),
    ]


XML_WORKBOOK = """<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>
<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">
<DocumentProperties xmlns="urn:schemas-microsoft-com:office:office"><Title>Accounts of the mill</Title>
</DocumentProperties>
<Styles><Style ss:ID="p"><NumberFormat ss:Format="Percent"/></Style>
<Style ss:ID="d"><NumberFormat ss:Format="dd.mm.yyyy"/></Style></Styles>
<Worksheet ss:Name="None"><Table/></Worksheet>
<Worksheet ss:Name="Sales"><Table><Column/>
<Row><Cell ss:MergeAcross="4"><Data ss:Type="String">Sales of the year</Data></Cell></Row>
<Row ss:Index="4"><Cell><Data ss:Type="String">Land</Data></Cell><Cell><Data ss:Type="String">Day</Data></Cell>
<Cell ss:Index="4"><Data ss:Type="String">Share</Data></Cell><Cell><Data ss:Type="String">Ok</Data></Cell>
<Cell><Data ss:Type="String">At</Data></Cell></Row>
<Row><Cell ss:MergeDown="1"><Data ss:Type="String">N</Data><Comment ss:Author="Ann"><Data>Ask Ben</Data></Comment>
</Cell><Cell><Data ss:Type="DateTime">2024-03-01T00:00:00.000</Data></Cell><Cell ss:Index="4" ss:StyleID="p">
<Data ss:Type="Number">0.25</Data></Cell><Cell><Data ss:Type="Boolean">1</Data></Cell>
<Cell><Data ss:Type="DateTime">1899-12-31T08:30:00.000</Data></Cell></Row>
<Row><Cell ss:StyleID="d"><Data ss:Type="Number">45353</Data></Cell><Cell ss:Index="4"><Data ss:Type="Number">5</Data>
</Cell></Row></Table></Worksheet></Workbook>"""


def test_workbooks_of_excel_2003_in_xml_are_read_as_sheets():
    wide = "\ufeff" + XML_WORKBOOK.replace("?>", ' encoding="UTF-16"?>', 1)
    encoded = [wide.encode("utf-16-le"), wide.encode("utf-16-be")]
    for content in (XML_WORKBOOK.encode(), f"\ufeff{XML_WORKBOOK}".encode(), *encoded):
        assert office_type(PurePath("a.txt"), content) == XLS
        found = list(parse_spreadsheet(io.BytesIO(content), "utf-8"))
        assert [item for item in found if isinstance(item, Title)] == [Title(text="Accounts of the mill")]
        assert [(b.kind.value, b.page, b.text, b.caption) for b in found if isinstance(b, Block)] == [
            ("heading", 2, "Sales\n\n", ""),
            ("caption", 2, "Sales of the year\n\n", ""),
            (
                "table",
                2,
                "Land | Day |  | Share | Ok | At\nN | 2024-03-01 |  | 25% | TRUE | 08:30:00\nN | 2024-03-02 |  | 5\n\n",
                "Sales of the year",
            ),
            ("paragraph", 2, "Comment by Ann: Ask Ben\n\n", ""),
        ]


def xml_row(*cells: tuple[str, str, str]) -> str:
    """Cells as their attributes, their type and their content."""
    written = (f'<Cell {look}><Data ss:Type="{kind}">{text}</Data></Cell>' for look, kind, text in cells)
    return f"<Row>{''.join(written)}</Row>"


def xml_rows(*rows: str) -> str:
    start, end = XML_WORKBOOK.index('<Worksheet ss:Name="None">'), XML_WORKBOOK.index("</Workbook>")
    sheet = f'<Worksheet ss:Name="S"><Table>{"".join(rows)}</Table></Worksheet>'
    (_heading, *found) = blocks((XML_WORKBOOK[:start] + sheet + XML_WORKBOOK[end:]).encode())
    return "".join(block.text for block in found)


def test_moments_of_a_workbook_in_xml_are_rounded_to_seconds_and_numbers_without_end_are_as_written():
    look, percent = 'ss:StyleID="d"', 'ss:StyleID="p"'
    times = [str((day * 86_400 + 7 * 3600 + 59 * 60 + 59 - 1e-5) / 86_400) for day in (0, 45_352)]
    assert xml_rows(xml_row(*((look, "Number", each) for each in (*times, "2958465.9999999", "0", "1e400")))) == (
        "07:59:59 | 2024-03-01 07:59:59 | 2958465.9999999 | 00:00:00 | 1e400\n\n"
    )
    assert xml_rows(xml_row((percent, "Number", "1e999"), (percent, "Number", "-1e307"), ("", "Boolean", "yes"))) == (
        "1e999 | -1e+307 | yes\n\n"
    )


def test_cells_of_a_workbook_in_xml_whose_places_make_no_sense_are_kept():
    word = [(f'ss:Index="{place}"', "String", f"w{place}") for place in (0, 2, 2, 1, 99_999_999, -1)]
    assert xml_rows(xml_row(*word)) == "w0 | w2 | w2 | w1 | w99999999 | w-1\n\n"
    assert xml_rows("<Row ss:Index='0'><Cell/></Row>", xml_row(("ss:MergeDown='1'", "String", "a"), word[1])) == (
        "a | w2\n\n"
    )


@pytest.mark.parametrize("places", ["ss:MergeAcross='16383' ss:MergeDown='99999'", "ss:MergeAcross='16383'"])
def test_places_of_a_workbook_in_xml_that_claim_more_than_there_is_are_none_in_the_end(places):
    wide = xml_row(("", "Number", "7"), (places, "Number", "5"))
    rows = xml_rows(*[wide, "<Row/>"] * 500)
    assert rows.count("7") >= 500
    assert 500 <= rows.count("5") < 300_000
    assert len(rows) < 1_000_000


def test_a_cell_of_a_workbook_in_xml_that_says_its_column_stands_there_in_every_row():
    header = xml_row(*(("", "String", f"D{column}") for column in range(1, 368)))
    row = xml_row(("", "Number", "7"), ("ss:Index='299'", "Number", "5"))
    assert xml_rows(header, *[row] * 700).count("D1: 7; D299: 5\n") == 700


def far_xml(rows: list[dict[int, str]]) -> Result:
    written = (xml_row(*((f'ss:Index="{at}"', "String", text) for at, text in row.items())) for row in rows)
    start, end = XML_WORKBOOK.index("<Table>"), XML_WORKBOOK.index("</Table>")
    return parsed(XLS, XML_WORKBOOK[:start] + f"<Table>{''.join(written)}" + XML_WORKBOOK[end:])


def far_xlsx(rows: list[dict[int, str]]) -> Result:
    names = {1: "A", 2: "B", 300: "KN", 16_384: "XFD"}
    return parsed(
        XLSX, xlsx({"S": {f"{names[at]}{n}": text for n, row in enumerate(rows, 1) for at, text in row.items()}})
    )


def far_ods(rows: list[dict[int, str]]) -> Result:
    body = ""
    for row in rows:
        body += "<table:table-row>"
        for before, (at, text) in zip([0, *row], row.items(), strict=False):
            if at > before + 1:
                body += f'<table:table-cell table:number-columns-repeated="{at - before - 1}"/>'
            body += f"<table:table-cell><text:p>{text}</text:p></table:table-cell>"
        body += "</table:table-row>"
    return parsed(ODS, odf("spreadsheet", f"<table:table>{body}</table:table>"))


@pytest.mark.parametrize("read", [far_xml, far_xlsx, far_ods])
def test_a_value_far_to_the_right_of_its_row_says_its_column_and_not_the_empty_cells_before_it(read):
    rows = [{1: f"name {number}", 2: "here", 16_384: f"far {number}"} for number in range(500)]
    rows[7] = {1: "name 7", 2: "near"}
    rows[8] = {1: "name 8", 2: "here", 300: "nearer", 16_384: "far 8"}
    unnamed = read([{1: "Name", 2: "Place"}, *rows])
    assert "Name | Place\nName: name 0; Place: here; far 0\nName: name 1" in unnamed.text
    assert "\nname 7 | near\nName: name 8; Place: here; far 8; nearer\n" in unnamed.text
    named = read([{1: "Name", 2: "Place", 16_384: "Remark"}, *rows])
    assert "Name | Place | Remark\nName: name 0; Place: here; Remark: far 0\n" in named.text
    assert "\nname 7 | near\nName: name 8; Place: here; Remark: far 8; nearer\n" in named.text
    for result, header in ((unnamed, "Name | Place"), (named, "Name | Place | Remark")):
        tables = [block for block in result.blocks if block.kind == "table"]
        assert len(tables) > 1
        assert [block.header for block in tables] == [None, *[header] * (len(tables) - 1)]
        assert len(result.text) < 30_000


def test_a_merge_of_a_workbook_in_xml_ends_where_it_says():
    merged = xml_row(("ss:MergeDown='2'", "String", "a"), ("", "String", "x"))
    others = [xml_row(("", "String", f"b{number}")) for number in range(4)]
    assert xml_rows(merged, *others) == "a | x\na | b0\na | b1\nb2\nb3\n\n"


def test_long_texts_of_cells_that_a_workbook_in_xml_merges_are_said_once():
    told = "long words " * 2000
    wide = xml_row(("ss:MergeAcross='16000'", "String", told), ("", "String", "last"))
    text = xml_rows(wide, xml_row(("", "String", "b")))
    assert text.count(told.strip()) == 1
    assert "last" in text
