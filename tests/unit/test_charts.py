"""Charts of office documents: what of their parts becomes text."""

from lxml import etree

from indexer.detection.office import DOCX, PPTX, XLSX
from indexer.parsers.office.charts import chart_blocks
from tests.unit.office_files import OFFICE, docx, pptx, rels, shape, xlsx
from tests.unit.parsing import parsed

C = (
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
)
CX = 'xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex"'
WATERFALL = (
    f"<cx:chartSpace {CX} {C}><cx:chartData><cx:data id='0'><cx:strDim type='cat'><cx:f>A1</cx:f>"
    "<cx:lvl ptCount='3'><cx:pt idx='0'>Start</cx:pt><cx:pt idx='1'>Nets</cx:pt><cx:pt idx='2'>End</cx:pt></cx:lvl>"
    "</cx:strDim><cx:numDim type='val'><cx:f>B1</cx:f><cx:lvl ptCount='3' formatCode='0%'><cx:pt idx='0'>0.5</cx:pt>"
    "<cx:pt idx='1'>-0.10000000000000001</cx:pt><cx:pt idx='2'>0.4</cx:pt></cx:lvl></cx:numDim></cx:data>"
    "</cx:chartData><cx:chart><cx:title><cx:tx><cx:rich><a:p><a:r><a:t>Cash bridge</a:t></a:r></a:p></cx:rich></cx:tx>"
    "</cx:title><cx:plotArea><cx:plotAreaRegion><cx:series layoutId='waterfall'><cx:tx><cx:txData><cx:f>B0</cx:f>"
    "<cx:v>Share of cash</cx:v></cx:txData></cx:tx><cx:dataId val='0'/></cx:series></cx:plotAreaRegion></cx:plotArea>"
    "</cx:chart></cx:chartSpace>"
)
WATERFALL_TEXTS = [
    ("caption", "Cash bridge\n\n"),
    ("table", " | Share of cash\nStart | 50%\nNets | -10%\nEnd | 40%\n\n"),
]


def blocks(content: str) -> list[tuple[str, str]]:
    return [(block.kind.value, block.text) for block in chart_blocks(etree.fromstring(content), 1)]


def points(kind: str, values: list[str], code: str = "") -> str:
    listed = "".join(f"<c:pt idx='{i}'><c:v>{value}</c:v></c:pt>" for i, value in enumerate(values))
    format_code = f"<c:formatCode>{code}</c:formatCode>" if code else ""
    return f"<c:{kind}Ref><c:{kind}Cache>{format_code}{listed}</c:{kind}Cache></c:{kind}Ref>"


def axis(kind: str, title: str) -> str:
    said = f"<c:title><c:tx><c:rich><a:p><a:r><a:t>{title}</a:t></a:r></a:p></c:rich></c:tx></c:title>"
    return f"<c:{kind}>{said}</c:{kind}>"


def test_titles_of_cells_names_of_axes_dates_and_percentages():
    series = (
        f"<c:ser><c:tx>{points('str', ['Margin'])}</c:tx><c:cat>{points('num', ['45292', '45323.5'], 'mmm yy')}</c:cat>"
        f"<c:val>{points('num', ['0.2', '0.215'], '0.0%')}</c:val></c:ser>"
    )
    content = (
        f"<c:chartSpace {C}><c:chart><c:title><c:tx>{points('str', ['Margin by month'])}</c:tx></c:title>"
        f"<c:plotArea><c:lineChart>{series}</c:lineChart>{axis('dateAx', 'Month')}{axis('valAx', 'Share of sales')}"
        "</c:plotArea></c:chart></c:chartSpace>"
    )
    assert blocks(content) == [
        ("caption", "Margin by month\nShare of sales\n\n"),
        ("table", "Month | Margin\n2024-01-01 | 20%\n2024-02-01 12:00 | 21.5%\n\n"),
    ]
    assert ("table", "Month | Margin\n2028-01-02 | 20%\n2028-02-02 12:00 | 21.5%\n\n") in blocks(
        content.replace("<c:chart>", "<c:date1904 val='1'/><c:chart>", 1)
    )


def test_days_after_the_last_year_stay_numbers():
    content = (
        f"<c:chartSpace {C}><c:chart><c:plotArea><c:lineChart><c:ser>"
        f"<c:cat>{points('num', ['2958465'], 'yyyy')}</c:cat><c:val>{points('num', ['1'])}</c:val>"
        "</c:ser></c:lineChart></c:plotArea></c:chart></c:chartSpace>"
    )
    assert blocks(content) == [("table", "9999-12-31 | 1\n\n")]
    since_1904 = content.replace("<c:chart>", "<c:date1904 val='1'/><c:chart>", 1)
    assert blocks(since_1904) == [("table", "2958465 | 1\n\n")]


def test_moments_of_a_chart_are_rounded_to_seconds():
    before_eight = 8 / 24 - 1e-9
    moments = [str(value) for value in (before_eight, 45_352 + before_eight, 45_352 + 30 / 86_400, 45_353 - 1e-9)]
    content = (
        f"<c:chartSpace {C}><c:chart><c:plotArea><c:lineChart><c:ser>"
        f"<c:cat>{points('num', moments, 'd.m.yy h:mm')}</c:cat><c:val>{points('num', ['1', '2', '3', '4'])}</c:val>"
        "</c:ser></c:lineChart></c:plotArea></c:chart></c:chartSpace>"
    )
    told = "08:00 | 1\n2024-03-01 08:00 | 2\n2024-03-01 00:00:30 | 3\n2024-03-02 | 4\n\n"
    assert blocks(content) == [("table", told)]


def test_categories_of_several_levels_are_named_from_outside_in():
    levels = (
        "<c:multiLvlStrRef><c:multiLvlStrCache><c:lvl><c:pt idx='0'><c:v>Q1</c:v></c:pt><c:pt idx='1'>"
        "<c:v>Q2</c:v></c:pt><c:pt idx='2'><c:v>Q1</c:v></c:pt></c:lvl><c:lvl><c:pt idx='0'>"
        "<c:v>2023</c:v></c:pt><c:pt idx='2'><c:v>2024</c:v></c:pt></c:lvl></c:multiLvlStrCache></c:multiLvlStrRef>"
    )
    content = (
        f"<c:chartSpace {C}><c:chart><c:plotArea><c:barChart><c:ser><c:tx>{points('str', ['Ducks'])}</c:tx>"
        f"<c:cat>{levels}</c:cat><c:val>{points('num', ['1', '2', '3'])}</c:val></c:ser></c:barChart></c:plotArea>"
        "</c:chart></c:chartSpace>"
    )
    assert blocks(content) == [("table", " | Ducks\n2023 Q1 | 1\n2023 Q2 | 2\n2024 Q1 | 3\n\n")]


def test_both_axes_of_a_scatter_chart_are_named():
    content = (
        f"<c:chartSpace {C}><c:chart><c:plotArea><c:scatterChart><c:ser><c:tx>{points('str', ['Fit'])}</c:tx>"
        f"<c:xVal>{points('num', ['1', '2'])}</c:xVal><c:yVal>{points('num', ['3', '4'])}</c:yVal></c:ser>"
        f"</c:scatterChart>{axis('valAx', 'Depth')}{axis('valAx', 'Fish')}</c:plotArea></c:chart></c:chartSpace>"
    )
    assert blocks(content) == [("caption", "Fish\n\n"), ("table", "Depth | Fit\n1 | 3\n2 | 4\n\n")]


def test_charts_of_newer_kinds_are_read_and_what_stands_in_for_them_is_not():
    assert blocks(WATERFALL) == WATERFALL_TEXTS
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    told = "<a:p><a:r><a:t>This chart isn't available in your version of Excel.</a:t></a:r></a:p>"
    drawing = (
        f'<d {C} {CX} {mc} xmlns:r="{OFFICE}"><mc:AlternateContent><mc:Choice Requires="cx1"><cx:chart r:id="c"/>'
        f"</mc:Choice><mc:Fallback><txBody>{told}</txBody></mc:Fallback></mc:AlternateContent></d>"
    )
    parts = {
        "drawings/d.xml": ("drawing", drawing),
        "drawings/_rels/d.xml.rels": ("", rels({"c": ("chartEx", "../charts/c.xml")})),
        "charts/c.xml": ("", WATERFALL),
    }
    texts = [text for _kind, text in WATERFALL_TEXTS]
    assert [block.text for block in parsed(XLSX, xlsx({"S": {"A1": "text"}}, parts=parts)).blocks][2:] == texts
    frame = (
        f"<mc:AlternateContent {mc} {CX}><mc:Choice><p:graphicFrame><a:graphic><a:graphicData><cx:chart r:id='x0'/>"
        "</a:graphicData></a:graphic></p:graphicFrame></mc:Choice><mc:Fallback><p:pic/></mc:Fallback></mc:AlternateContent>"
    )
    slides = pptx([shape("T", kind="title") + frame], parts={1: {"charts/c.xml": ("chartEx", WATERFALL)}})
    assert [block.text for block in parsed(PPTX, slides).blocks][1:] == texts
    choice = f"<mc:Choice><w:drawing><cx:chart {CX} r:id='r0'/></w:drawing></mc:Choice>"
    run = f"<w:r><mc:AlternateContent>{choice}</mc:AlternateContent></w:r>"
    document = docx(f"<w:p>{run}</w:p>", parts={"chartEx.xml": WATERFALL})
    assert [block.text for block in parsed(DOCX, document).blocks] == texts


def test_what_is_no_number_or_no_day_is_left_as_it_is():
    for value in ("nan", "inf", "1e400", "x", "", "-5", "9999999999"):
        series = f"<c:ser><c:val>{points('num', [value, '1'], 'yyyy')}</c:val></c:ser>"
        content = f"<c:chartSpace {C}><c:chart><c:plotArea>{series}</c:plotArea></c:chart></c:chartSpace>"
        ((_kind, text),) = blocks(content)
        assert text.strip().endswith("1899-12-31")
