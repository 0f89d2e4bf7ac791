"""Diagrams of Visio and draw.io, and printed pages of XPS."""

import base64
import io
import json
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from indexer.detection.media_types import detect
from indexer.detection.office import VSDX, XPS
from indexer.formats import CANVAS, DRAWIO, EXCALIDRAW, MIND_MAP
from indexer.sources import scan_file
from rag.errors import SourceDamaged, SourceHasNoText, SourceUnsupported
from tests.unit.mails import zipped
from tests.unit.office_files import glyphs, visio_shape, vsdx, xps
from tests.unit.parsing import parsed

CELLS = """\
<mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0"/>
<mxCell id="2" value="&lt;b&gt;Order&lt;/b&gt;&lt;br&gt;received" style="rounded=0;html=1;" vertex="1" parent="1"/>
<mxCell id="3" value="a &lt; b" style="rhombus" vertex="1" parent="1"/>
<object label="Ship it" owner="Kim" id="4"><mxCell style="html=1" vertex="1" parent="1"/></object>
<mxCell id="5" edge="1" parent="1" source="2" target="3"/>
<mxCell id="6" value="no" style="edgeLabel;html=1" vertex="1" parent="7"/>
<mxCell id="7" edge="1" parent="1" source="3" target="4"/>
<mxCell id="8" value="into the air" edge="1" parent="1" source="3"/>
</root></mxGraphModel>"""


def packed(text: str) -> str:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return base64.b64encode(packer.compress(quote(text).encode()) + packer.flush()).decode()


def test_shapes_of_visio_are_read_with_what_their_connectors_join():
    shapes = [
        visio_shape(1, "Order received"),
        "<Shape ID='2' Type='Group'><Shapes>" + visio_shape(3, "In <stock>?") + "</Shapes></Shape>",
        visio_shape(4, "yes"),
        visio_shape(5, "It is kept for as long as the law asks for. " * 3),
    ]
    joined = (
        "<Connects><Connect FromSheet='4' FromCell='EndX' ToSheet='3'/>"
        "<Connect FromSheet='4' FromCell='BeginX' ToSheet='1'/></Connects>"
    )
    result = parsed(VSDX, vsdx({"Orders": f"<Shapes>{''.join(shapes)}</Shapes>{joined}", "Empty": ""}, title="Process"))
    assert result.titles == ["Process"]
    assert [(kind, text, block.page) for (kind, text), block in zip(result.kinds(), result.blocks, strict=True)] == [
        ("heading", "Orders", 1),
        ("list", "Order received\nIn <stock>?", 1),
        ("paragraph", ("It is kept for as long as the law asks for. " * 3).strip(), 1),
        ("list", "Order received → In <stock>?: yes", 1),
    ]


@pytest.mark.parametrize("page", [CELLS, packed(CELLS)])
def test_labels_of_draw_io_are_read_with_what_its_arrows_join(page):
    assert parsed(DRAWIO, f'<mxfile><diagram name="Orders" id="x">{page}</diagram></mxfile>').kinds() == [
        ("heading", "Orders"),
        ("list", "Order received\na < b\nShip it\ninto the air"),
        ("list", "Order received → a < b\na < b → Ship it: no"),
    ]


@pytest.mark.parametrize("page", ["no base64!", base64.b64encode(b"nothing packed").decode(), packed("<a>")])
def test_a_page_of_draw_io_that_cannot_be_unpacked_is_damaged(page):
    with pytest.raises(SourceDamaged, match="A page of this diagram cannot be"):
        parsed(DRAWIO, f"<mxfile><diagram>{page}</diagram></mxfile>")


def detected(name: str, content: bytes) -> str:
    return detect(Path(name), scan_file(io.BytesIO(content))).media_type


@pytest.mark.parametrize("name", ["a.drawio", "a.xml", "a"])
def test_a_diagram_is_told_by_its_elements(name):
    for content in (f"<mxfile><diagram>{packed(CELLS)}</diagram></mxfile>", f"<?xml version='1.0'?>\n{CELLS}"):
        assert detected(name, content.encode()) == DRAWIO


def test_boards_are_read_by_what_stands_on_them_and_what_is_connected():
    elements = [
        {"id": "a", "type": "rectangle", "boundElements": [{"id": "ta", "type": "text"}]},
        {"id": "ta", "type": "text", "text": "Order\nservice", "originalText": "Order service", "containerId": "a"},
        {"id": "b", "type": "text", "text": "Database"},
        {"id": "ar", "type": "arrow", "startBinding": {"elementId": "a"}, "endBinding": {"elementId": "b"}},
        {"id": "t", "type": "text", "text": "writes", "containerId": "ar"},
        {"id": "gone", "type": "text", "text": "Deleted", "isDeleted": True},
    ]
    assert parsed(EXCALIDRAW, json.dumps({"type": "excalidraw", "elements": elements})).kinds() == [
        ("heading", "Board"),
        ("list", "Order service\nDatabase"),
        ("list", "Order service → Database: writes"),
    ]
    nodes = [
        {"id": "1", "type": "text", "text": "Ship the pump"},
        {"id": "2", "type": "file", "file": "notes/Pump.md"},
        {"id": "3", "type": "group", "label": "Autumn"},
    ]
    edges = [{"fromNode": "1", "toNode": "2", "label": "details"}, {"fromNode": "1", "toNode": "9"}]
    assert parsed(CANVAS, json.dumps({"nodes": nodes, "edges": edges})).kinds() == [
        ("heading", "Canvas"),
        ("list", "Ship the pump\nnotes/Pump.md\nAutumn"),
        ("list", "Ship the pump → notes/Pump.md: details"),
    ]


def test_branches_of_a_mind_map_are_sections_with_nested_lists():
    page = (
        '<map version="1.0.1"><!-- of 2024 --><node TEXT="Pump"><node TEXT="Goals"><node TEXT="Move water">'
        '<node TEXT="&#xfc;ber Land"/></node><node TEXT="No leaks"><richcontent TYPE="NOTE"><html><body>'
        "<p>Since May.</p>"
        '</body></html></richcontent></node></node><node TEXT="Risks"/></node></map>'
    )
    assert (
        detected("a.mm", page.encode())
        == detected("a.xml", b"<!-- To view this file -->\n" + page.encode())
        == MIND_MAP
    )
    result = parsed(MIND_MAP, page)
    assert result.kinds() == [
        ("heading", "Pump"),
        ("heading", "Goals"),
        ("list", "- Move water\n  - über Land\n- No leaks: Since May."),
        ("heading", "Risks"),
    ]
    assert [block.level for block in result.blocks] == [1, 2, 0, 2]


@pytest.mark.parametrize("media_type", [EXCALIDRAW, CANVAS])
@pytest.mark.parametrize("page", ["{", "[1]", '{"elements": 3, "nodes": 3}'])
def test_what_is_no_board_is_damaged(media_type, page):
    with pytest.raises(SourceDamaged):
        parsed(media_type, page)


def test_glyphs_of_xps_are_lines_where_they_stand():
    text = ["The pier stands in the river since the year of the flood, and it", "has been mended twice."]
    moved = "".join(glyphs(line, 0, 20 * n) for n, line in enumerate(["Below the pier the river is deep and", "cold."]))
    page = (
        glyphs("The pier", 96, 100, size=24)
        + "".join(glyphs(line, 96, 150 + 20 * n) for n, line in enumerate(text))
        + f'<Canvas RenderTransform="1,0,0,1,96,300">{moved}</Canvas>'
        + '<Canvas><Canvas.RenderTransform><MatrixTransform Matrix="0.5,0,0,0.5,48,200"/></Canvas.RenderTransform>'
        + glyphs("{}{Half} as large.", 96, 400, size=28)
        + "</Canvas>"
    )
    result = parsed(XPS, xps([page, glyphs("Another page.", 96, 100)]))
    assert [(*kind, block.page) for kind, block in zip(result.kinds(), result.blocks, strict=True)] == [
        ("heading", "The pier", 1),
        ("paragraph", " ".join(text), 1),
        ("paragraph", "Below the pier the river is deep and cold.", 1),
        ("paragraph", "{Half} as large.", 1),
        ("paragraph", "Another page.", 2),
    ]


def test_cells_of_xps_are_a_table():
    rows = [("Name", "Depth", "Since"), ("Inn", "3 m", "1880"), ("Isar", "2 m", "1901"), ("Lech", "4 m", "1920")]
    cells = [glyphs(cell, 96 + 150 * c, 100 + 20 * r) for r, row in enumerate(rows) for c, cell in enumerate(row)]
    assert parsed(XPS, xps(["".join(cells)])).of("table") == ["\n".join(" | ".join(row) for row in rows)]


def test_numbers_of_xps_are_read_as_long_and_as_short_as_they_are_written():
    rows = [("Name", "Depth", "Since"), ("Inn", "3 m", "1880"), ("Isar", "2 m", "1901"), ("Lech", "4 m", "1920")]
    cells = "".join(
        glyphs(cell, x, f".{10 + 2 * r}E+3")
        for r, row in enumerate(rows)
        for cell, x in zip(row, (".96E+2", "2.46e2", "396.00000000000001"), strict=True)
    )
    page = f'<Canvas RenderTransform="1,.0,0,1 9.000000000000001 1E+2">{cells}</Canvas>'
    assert parsed(XPS, xps([page])).of("table") == ["\n".join(" | ".join(row) for row in rows)]


@pytest.mark.parametrize("number", ["1e99", "-1e308", "0.1", "nan", "inf", "1e-300", "", "x"])
def test_numbers_of_xps_beyond_measure_cost_no_text(number):
    around = f'<Canvas RenderTransform="{number},0,0,{number},{number},{number}">'
    page = around * 50 + glyphs("The pier.", number, number, size=number) + "</Canvas>" * 50
    assert parsed(XPS, xps([page])).text.strip() == "The pier."


def test_a_page_of_xps_that_is_listed_again_is_read_once():
    assert parsed(XPS, xps([glyphs("Once.", 96, 100)], times=3)).text.strip() == "Once."


@pytest.mark.timeout(20)
def test_long_runs_many_runs_and_many_arrows_cost_no_time():
    parsed(XPS, xps([glyphs("a " * 50_000, 96, 100)]))
    parsed(XPS, xps(["".join(glyphs("a", 96, n) for n in range(20_000))]))
    edges = [{"fromNode": "1", "toNode": "1", "label": str(n)} for n in range(30_000)]
    parsed(CANVAS, json.dumps({"nodes": [{"id": "1", "text": "a"}], "edges": edges}))


def test_labels_without_an_id_of_their_own_are_kept():
    nodes = [{"text": "a"}, {"text": "b"}, {"id": "1", "text": "c"}, {"id": "1", "text": "d"}]
    assert parsed(CANVAS, json.dumps({"nodes": nodes})).of("list") == ["a\nb\nc\nd"]


def test_xps_without_characters_has_no_text():
    with pytest.raises(SourceHasNoText):
        parsed(XPS, xps(['<Path Data="M 0,0 L 9,9"/><Glyphs OriginX="1" OriginY="1" Indices="3;4"/>']))


@pytest.mark.parametrize(
    ("name", "members", "said"),
    [
        ("tool.jar", {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0"}, "a Java program or library"),
        ("tool", {"META-INF/": b"", "META-INF/MANIFEST.MF": b""}, "a Java program or library"),
        ("app.apk", {"classes.dex": b"dex"}, "an Android app"),
        ("app", {"AndroidManifest.xml": b"\3\0\x08\0"}, "an Android app"),
        ("tool-1.0-py3-none-any.whl", {"tool/__init__.py": b"x = 1"}, "a Python package"),
        ("tool.nupkg", {"_rels/.rels": b"<a/>"}, "a NuGet package"),
    ],
)
def test_packed_programs_are_not_opened(name, members, said):
    with pytest.raises(SourceUnsupported, match=said) as caught:
        detected(name, zipped(members))
    assert "documentation" in caught.value.hint


def test_an_archive_that_holds_packed_programs_is_opened():
    inner = zipped({"META-INF/MANIFEST.MF": b""})
    assert detected("all.zip", zipped({"tool.jar": inner, "a.txt": b"x"}, method=0)) == "application/zip"
