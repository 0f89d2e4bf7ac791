import io

import pytest

from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.pdf.parser import parse_pdf
from tests.unit.pdf_pages import drawn_pdf, make_pdf, text_lines

PROSE = [f"Sentence {i} of the paragraph is long enough to be one of running text." for i in range(6)]


def blocks_of(content: bytes):
    return [item for item in parse_pdf(io.BytesIO(content), "utf-8") if isinstance(item, Block)]


def headings(content: bytes):
    return [(block.level, block.heading) for block in blocks_of(content) if block.kind is BlockKind.HEADING]


def page_of(*drawn: tuple[str, str, float], x: float = 72):
    """A page with lines in a font and a size each, and prose below."""

    def draw(canvas):
        y = 700.0
        for text, font, size in drawn:
            canvas.setFont(font, size)
            canvas.drawString(x, y, text)
            y -= 30
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=y)

    return draw


def test_numbered_sections_are_below_their_chapters_in_whatever_font():
    bold = "Helvetica-Bold"
    content = drawn_pdf(
        page_of(("A Long Title", bold, 20)),
        page_of(("3 Passage Retriever", bold, 10)),
        page_of(("3.1 Overview", bold, 10)),
        page_of(("3.1.2 Of Details", bold, 10)),
        page_of(("4 Experiments", bold, 10)),
        page_of(("References", bold, 10)),
    )
    assert headings(content) == [
        (1, "A Long Title"),
        (2, "3 Passage Retriever"),
        (3, "3.1 Overview"),
        (4, "3.1.2 Of Details"),
        (2, "4 Experiments"),
        (2, "References"),
    ]


def test_formulas_in_large_letters_are_no_headings():
    formulas = ["ij *+zMij cosðÞ VT t z :", "ij DE< 1.", "ðt2", "xi{xj = yi{yj"]
    words = ["A* Search", "List<T>", "Vector<Item> and Iterator", "iOS", "E = mc and the speed of light"]
    content = drawn_pdf(*(page_of((text, "Helvetica", 16)) for text in formulas + words))
    assert [heading for _level, heading in headings(content)] == words


def test_a_large_line_that_is_alone_of_its_size_is_no_parent_of_sections():
    content = drawn_pdf(
        page_of(("A Long Title", "Helvetica", 20)),
        page_of(("A loud label", "Helvetica", 17), ("First Section", "Helvetica", 14)),
        page_of(("Second Section", "Helvetica", 14)),
    )
    assert headings(content) == [(1, "A Long Title"), (3, "A loud label"), (2, "First Section"), (2, "Second Section")]


@pytest.mark.parametrize("date", ["January 3, 2024", "3rd March 2024", "12th of September 2024"])
def test_a_date_below_the_title_is_no_heading_but_those_of_a_list_of_changes_are(date):
    title = ("A Long Title", "Helvetica", 20)
    section = ("Abstract", "Helvetica-Bold", 10)
    found = headings(drawn_pdf(page_of(title, (date, "Helvetica", 14), section)))
    assert [heading for _level, heading in found] == ["A Long Title", "Abstract"]
    found = headings(drawn_pdf(page_of(title, (date, "Helvetica-Bold", 14), section)))
    assert [heading for _level, heading in found] == ["A Long Title", date, "Abstract"]


def test_labels_of_a_drawing_are_no_headings():
    def draw(canvas):
        canvas.beginForm("chart")
        for i in range(5):
            canvas.line(300, 400 + 20 * i, 500, 400 + 20 * i)
        canvas.setFont("Helvetica", 16)
        canvas.drawString(330, 410, "Number of passages")
        canvas.endForm()
        page_of(("Results", "Helvetica", 16))(canvas)
        canvas.doForm("chart")

    content = drawn_pdf(draw)
    assert headings(content) == [(1, "Results")]
    assert any("Number of passages" in block.text for block in blocks_of(content))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("NLL 44.9 66.8 78.1 85.0", 10),
        ("S", 14),
        ("`1,186 crore", 18),
        (", Second Author", 10),
        ("k: # of retrieved passages", 12),
        ("= x + y (z)", 14),
    ],
)
def test_fragments_and_rows_of_figures_are_no_headings(text, size):
    content = drawn_pdf(page_of(("Title", "Helvetica-Bold", 20)), page_of((text, "Helvetica-Bold", size)))
    assert headings(content) == [(1, "Title")]
    assert any(text in block.text for block in blocks_of(content))


def test_a_bold_name_beside_its_paragraph_stays_with_it():
    def draw(canvas):
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(72, 700, "Positive and negative passages")
        canvas.setFont("Helvetica", 10)
        canvas.drawString(240, 700, "For retrieval problems it is")
        text_lines(canvas, ["often the case that there are positive examples."], y=688)

    (block,) = blocks_of(drawn_pdf(draw))
    assert block.kind is BlockKind.PARAGRAPH
    assert block.text.startswith("Positive and negative passages For retrieval problems it is often the case")


def test_a_bold_line_that_goes_on_below_it_is_no_heading():
    def draw(canvas):
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(72, 700, "Unlocking of all doors without a key when coming near")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, ["the vehicle is possible with a transmitter alone."], y=688)

    (block,) = blocks_of(drawn_pdf(draw))
    assert block.kind is BlockKind.PARAGRAPH


def test_a_line_that_begins_and_ends_with_bold_words_is_no_heading():
    def draw(canvas):
        text_lines(canvas, ["The settings are told to everybody. There are two of them."], y=712)
        text = canvas.beginText(72, 680)
        for piece, font in (("Address", "Helvetica-Bold"), (" of the server, and its ", "Helvetica")):
            text.setFont(font, 10)
            text.textOut(piece)
        text.setFont("Helvetica-Bold", 10)
        text.textOut("port")
        canvas.drawText(text)

    assert headings(drawn_pdf(draw)) == []


def test_the_names_of_columns_beside_each_other_are_no_heading():
    def draw(canvas):
        canvas.setFont("Helvetica-Bold", 10)
        canvas.drawString(72, 720, "Similarity")
        canvas.drawString(200, 720, "Loss")
        canvas.drawString(330, 720, "Accuracy")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE)

    assert headings(drawn_pdf(draw)) == []


def test_what_an_outline_leaves_out_is_below_what_it_has():
    def page(title, size, *, marked=False):
        def draw(canvas):
            if marked:
                canvas.bookmarkPage(title)
                canvas.addOutlineEntry(title, title, 0)
            page_of((title, "Helvetica-Bold", size))(canvas)

        return draw

    content = drawn_pdf(
        page("Rivers", 10, marked=True), page("Of Banks", 14), page("Lakes", 10, marked=True), page("Sources", 10)
    )
    assert headings(content) == [(1, "Rivers"), (2, "Of Banks"), (1, "Lakes"), (1, "Sources")]


def test_sizes_are_levels():
    content = make_pdf([[("The Title", 20), "", *PROSE], [("A Section", 14), "", *PROSE, ("Another", 14), "", *PROSE]])
    assert headings(content) == [(1, "The Title"), (2, "A Section"), (2, "Another")]


def test_a_year_at_the_end_of_a_numbered_heading_is_no_page_of_a_table_of_contents():
    bold = "Helvetica-Bold"
    content = drawn_pdf(
        page_of(("1 Results of 2024", bold, 14)), page_of(("2 Plans for 2025", bold, 14), ("3 Appendix 17", bold, 14))
    )
    assert headings(content) == [(1, "1 Results of 2024"), (1, "2 Plans for 2025")]


def test_a_heading_with_space_between_its_letters_is_one():
    def draw(canvas):
        text = canvas.beginText(72, 720)
        text.setFont("Helvetica-Bold", 16)
        text.setCharSpace(6)
        text.textLine("HARBOUR RULES")
        text.setCharSpace(0)
        canvas.drawText(text)
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=680)

    assert headings(drawn_pdf(draw)) == [(1, "HARBOUR RULES")]


def test_a_title_in_the_middle_and_a_heading_at_the_margin_are_two():
    def draw(canvas):
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawCentredString(300, 720, "Manual of the pump")
        canvas.drawString(72, 696, "Safety")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=660)

    def long_title(canvas):
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawCentredString(300, 720, "A long title that goes on below")
        canvas.drawCentredString(300, 696, "in the middle")
        canvas.drawString(72, 600, "8 A long heading that goes on")
        canvas.drawString(90, 576, "below")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=500)

    assert headings(drawn_pdf(draw, long_title)) == [
        (1, "Manual of the pump"),
        (1, "Safety"),
        (1, "A long title that goes on below in the middle"),
        (1, "8 A long heading that goes on below"),
    ]


def test_a_number_begins_a_heading_of_its_own():
    def draw(canvas):
        bold = "Helvetica-Bold"
        y = 740.0
        for text, size, step in (
            ("Manual of the pump", 18, 28),
            ("1 Safety", 18, 40),
            ("2 Use", 14, 18),
            ("2.1 First start of phase", 14, 18),
            ("2 Tests", 14, 40),
            ("Trials of phase", 14, 18),
            ("3 Valves", 14, 40),
        ):
            canvas.setFont(bold, size)
            canvas.drawString(72, y, text)
            y -= step
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=y)

    assert [heading for _level, heading in headings(drawn_pdf(draw))] == [
        "Manual of the pump",
        "1 Safety",
        "2 Use",
        "2.1 First start of phase 2 Tests",
        "Trials of phase 3 Valves",
    ]
