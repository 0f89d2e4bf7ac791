import io

from indexer.parsers.blocks import Block
from indexer.parsers.office.pptx import parse_pptx
from tests.unit.office_files import CHART, P, pptx, shape


def blocks(content: bytes) -> list[Block]:
    return [item for item in parse_pptx(io.BytesIO(content), "utf-8") if isinstance(item, Block)]


def shown(found: list[Block]) -> list[tuple[str, str, int | None]]:
    return [(block.kind.value, block.text, block.page) for block in found]


def test_a_slide_is_a_page_and_a_section_without_its_furniture():
    slides = [
        shape("text before the title") + shape("Welcome", kind="title") + shape("3", kind="sldNum")
        + shape("Imprint", kind="ftr") + shape("one\ntwo", bullet="buChar char='-'")
        + shape("a\nb", bullet="buAutoNum type='x'"),
        shape("no title here"),
    ]  # fmt: skip
    assert shown(blocks(pptx(slides))) == [
        ("heading", "Welcome\n\n", 1),
        ("paragraph", "text before the title\n\n", 1),
        ("list", "- one\n- two\n\n", 1),
        ("list", "1. a\n2. b\n\n", 1),
        ("heading", "Slide 2\n\n", 2),
        ("paragraph", "no title here\n\n", 2),
    ]


def test_tables_charts_notes_and_comments_of_a_slide():
    def cell(text: str, merge: str = "") -> str:
        return f"<a:tc {merge}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    table = (
        "<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tblPr firstRow='1'/>"
        "<a:tr>" + cell("Year") + cell("Ducks", "gridSpan='2'") + cell("", "hMerge='1'") + "</a:tr>"
        "<a:tr>" + cell("2019", "rowSpan='2'") + cell("1") + cell("2") + "</a:tr>"
        "<a:tr>" + cell("", "vMerge='1'") + cell("3") + cell("4") + "</a:tr>"
        "</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    )  # fmt: skip
    chart = (
        "<p:graphicFrame><a:graphic><a:graphicData><c:chart r:id='x0'/></a:graphicData></a:graphic></p:graphicFrame>"
    )
    notes = f"<p:notes {P}><p:cSld><p:spTree>{shape('Say this', kind='body')}</p:spTree></p:cSld></p:notes>"
    comments = f"<p:cmLst {P}><p:cm authorId='0' dt='2026-01-02T00:00:00'><p:text>Nice</p:text></p:cm></p:cmLst>"
    parts = {
        1: {
            "charts/chart1.xml": ("chart", CHART),
            "notesSlides/n1.xml": ("notesSlide", notes),
            "comments/c1.xml": ("comments", comments),
        }
    }
    found = blocks(pptx([shape("T", kind="title") + table + chart], parts=parts))
    assert [block.text for block in found] == [
        "T\n\n",
        "Year | Ducks | Ducks\n2019 | 1 | 2\n2019 | 3 | 4\n\n",
        "Ducks by year\n\n",
        " | Ducks\n2019 | 120\n2020 | 0.1\n\n",
        "Notes: Say this\n\n",
        "Comment: Nice\n\n",
    ]


def test_groups_are_read_in_place_and_pictures_by_what_was_said_of_them():
    picture = "<p:pic><p:nvPicPr><p:cNvPr descr='{}'/><p:nvPr/></p:nvPicPr></p:pic>"
    group = f"<p:grpSp>{shape('inside')}<p:grpSp>{shape('deeper')}</p:grpSp></p:grpSp>"
    slide = shape("first") + group + picture.format("A duck on a lake")
    slide += picture.format("A close up of a logo. Description automatically generated") + picture.format("a.png")
    assert [block.text for block in blocks(pptx([slide]))] == [
        "Slide 1\n\n",
        "first\n\n",
        "inside\n\n",
        "deeper\n\n",
        "A duck on a lake\n\n",
    ]


def test_the_number_of_a_first_slide_without_a_title_is_not_the_title_of_all():
    found = blocks(pptx([shape("no title here"), shape("nor here"), shape("Aims", kind="title")]))
    assert [(b.heading, b.level) for b in found if b.heading] == [("Slide 1", 2), ("Slide 2", 1), ("Aims", 1)]


def test_raised_numbers_of_a_slide_do_not_run_into_others():
    raised = shape("10").replace("</a:r>", '</a:r><a:r><a:rPr baseline="30000"/><a:t>21</a:t></a:r>')
    assert shown(blocks(pptx([shape("Atoms", kind="title") + raised])))[1:] == [("paragraph", "10^21\n\n", 1)]
