import io

import pytest

from indexer.parsers.blocks import Block, Title
from indexer.parsers.pdf.parser import parse_pdf
from tests.unit.pdf_pages import drawn_pdf, make_pdf, text_lines

PROSE = [f"Sentence {i} of the paragraph is long enough to be one of running text." for i in range(6)]


def text_of(content: bytes) -> str:
    return "".join(item.text for item in parse_pdf(io.BytesIO(content), "utf-8") if isinstance(item, Block))


def test_the_number_of_a_single_page_is_left_out_whichever_it_is():
    assert text_of(make_pdf([PROSE], footer="347")).endswith("running text.\n\n")


def test_a_number_near_the_text_stays():
    def draw(canvas):
        text_lines(canvas, PROSE, y=100)
        canvas.drawString(72, 28, "347")

    assert "347" in text_of(drawn_pdf(draw))


def test_a_header_of_two_pages_that_counts_them_is_left_out():
    assert "Handbook" not in text_of(make_pdf([PROSE, PROSE], header="The Handbook, page {page}"))


def test_endless_numbers_at_the_edges_of_two_pages_are_compared():
    def page(number):
        def draw(canvas):
            text_lines(canvas, PROSE)
            canvas.setFont("Helvetica", 0.1)
            canvas.drawString(72, 40, f"No. {number}")

        return draw

    assert "Sentence 5" in text_of(drawn_pdf(page("1" * 5000), page("1" * 4999 + "2")))


def test_what_is_the_same_on_both_of_two_pages_is_kept_once():
    assert text_of(make_pdf([PROSE, PROSE], header="The Handbook of 1889")).count("The Handbook of 1889") == 1


def test_what_differs_in_more_than_the_number_of_the_page_stays():
    def page(total):
        def draw(canvas):
            text_lines(canvas, PROSE)
            canvas.drawString(72, 40, f"Total of all accounts: {total}")

        return draw

    text = text_of(drawn_pdf(page(45), page(90)))
    assert "accounts: 45" in text
    assert "accounts: 90" in text


def test_a_header_with_the_number_of_its_page_is_known_on_a_single_one():
    def second(canvas):
        canvas.setFont("Helvetica", 8)
        canvas.drawString(72, 690, "2")
        canvas.drawString(100, 690, "A. Writer et al.")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=660)

    text = text_of(drawn_pdf(lambda canvas: text_lines(canvas, PROSE), second))
    assert "Writer" not in text
    assert text.count("Sentence 0") == 2


def test_names_of_chapters_beside_the_numbers_of_pages_are_headers():
    def name(number):
        return "abcdefgh"[number] * 5

    def named(number):
        return lambda canvas: (
            canvas.drawString(72, 790, f"Of {name(number)}"),
            canvas.drawRightString(520, 790, f"{number + 16}"),
            text_lines(canvas, PROSE, y=760),
        )

    text = text_of(drawn_pdf(*(named(number) for number in range(6))))
    assert [name(number) for number in range(6) if name(number) in text] == [name(0)]
    assert text.count("Sentence 0") == 6


def test_the_number_of_a_section_is_no_page_number():
    def draw(canvas):
        canvas.setFont("Helvetica-Bold", 9)
        canvas.drawString(72, 800, "1")
        canvas.drawString(90, 800, "Introduction")
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, PROSE, y=760)

    assert "1 Introduction" in text_of(drawn_pdf(draw))


def test_the_stamp_of_an_archive_along_the_edge_is_left_out():
    def draw(canvas):
        text_lines(canvas, PROSE)
        canvas.rotate(90)
        canvas.setFont("Helvetica", 20)
        canvas.drawString(230, -40, "arXiv:2103.15348v2 [cs.CV] 21 Jun 2021")

    assert "arXiv" not in text_of(drawn_pdf(draw))


@pytest.mark.parametrize("title", ["(anonymous)", "untitled", "(unspecified)"])
def test_what_libraries_write_for_no_title_is_none(title):
    assert not any(isinstance(item, Title) for item in parse_pdf(io.BytesIO(make_pdf([PROSE], title=title)), "utf-8"))


def cells_of_vessels(canvas, first, count, *, x=(72, 200, 300), y=800, step=12):
    for number in range(first, first + count):
        for column, cell in zip(x, (f"Vessel {number}", ("NL", "DE", "FR")[number % 3], str(number * 7)), strict=True):
            canvas.drawString(column, y, cell)
        y -= step


def test_rows_of_a_table_that_fills_pages_stay():
    pages = [lambda canvas, first=first: cells_of_vessels(canvas, first, 63) for first in (0, 63, 126, 189)]
    text = text_of(drawn_pdf(*pages))
    assert [f"Vessel {number} |" in text for number in range(252)] == [True] * 252


def test_the_repeated_header_of_such_a_table_stays_without_the_header_of_the_page():
    def page(number):
        def draw(canvas):
            canvas.drawString(72, 822, "Register of vessels")
            canvas.drawString(450, 822, f"Revision {number}")
            for column, cell in zip((72, 200, 300), ("Name", "Flag", "Tonnes"), strict=True):
                canvas.drawString(column, 790, cell)
            cells_of_vessels(canvas, 60 * number, 55, y=778)

        return draw

    text = text_of(drawn_pdf(*map(page, range(4))))
    assert text.count("Name | Flag | Tonnes") == 4
    assert "Register" not in text
    assert "Revision" not in text


def test_rows_and_header_of_a_ruled_table_that_fills_pages_stay():
    def page(first):
        def draw(canvas):
            top = 812
            canvas.grid((72, 172, 272, 372), [top - 12 * i for i in range(64)])
            canvas.rect(72, top, 300, 14)  # one cell across, above the columns
            canvas.drawCentredString(222, top + 3, "Vessels and what they carry")
            cells_of_vessels(canvas, first, 63, x=(75, 175, 275), y=top - 9)

        return draw

    text = text_of(drawn_pdf(*map(page, (0, 63, 126))))
    assert [f"Vessel {number} |" in text for number in range(189)] == [True] * 189


def test_what_the_text_says_between_the_edges_as_well_is_no_header():
    def page(number):
        said = [f"Speaker {i % 4}: sentence {number} about {'abcdefgh'[i % 8] * 5}" for i in range(31)]
        lines = [part for line in said for part in line.split(": ")]
        return lambda canvas: text_lines(canvas, lines, y=800)

    text = text_of(drawn_pdf(*map(page, range(4))))
    assert text.count("Speaker") == 124


def test_a_page_number_is_left_out_above_tables_of_numbers():
    def page(number):
        def draw(canvas):
            canvas.drawString(72, 822, "Register of vessels")
            canvas.drawString(450, 822, str(number + 17))
            cells_of_vessels(canvas, 60 * number, 40, y=700)

        return draw

    text = text_of(drawn_pdf(*map(page, range(4))))
    assert "Register" not in text
    assert not any(line in ("17", "18", "19", "20") for line in text.splitlines())
