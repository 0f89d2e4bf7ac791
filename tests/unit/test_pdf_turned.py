"""Pages of a PDF that are turned, by their flag or by their text, are read as they are seen."""

import io
from itertools import product

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from indexer.parsers.blocks import Block
from indexer.parsers.pdf.parser import parse_pdf
from tests.unit.pdf_pages import text_lines

WIDTH, HEIGHT = A4
SENTENCE = "The pier stands in the river since the year of the flood, and it was mended twice; "


def seen_upright(draw, quarters: int, *, flagged: bool = True) -> bytes:
    """A page that is drawn upright, whose content lies on its side and whose flag turns it back, or not."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    if not flagged and quarters % 2:
        canvas.setPageSize((HEIGHT, WIDTH))
    canvas.transform(
        *{
            0: (1, 0, 0, 1, 0, 0),
            1: (0, 1, -1, 0, HEIGHT, 0),
            2: (-1, 0, 0, -1, WIDTH, HEIGHT),
            3: (0, -1, 1, 0, 0, WIDTH),
        }[quarters]
    )
    canvas.setFont("Helvetica", 10)
    draw(canvas)
    if flagged:
        canvas.setPageRotation(90 * quarters)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def blocks(content: bytes) -> list[tuple[str, str]]:
    return [(each.kind.value, each.text) for each in parse_pdf(io.BytesIO(content), "") if isinstance(each, Block)]


def one_column(canvas):
    canvas.drawString(72, 810, "Annals of the river")
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(72, 720, "The pier")
    canvas.setFont("Helvetica", 10)
    text_lines(canvas, [SENTENCE] * 8, y=690)
    text_lines(canvas, [f"- {SENTENCE}", f"- {SENTENCE}"], y=560)
    canvas.drawString(290, 30, "4")


def two_columns(canvas):
    for row in range(12):
        text_lines(canvas, [f"Left {row} {SENTENCE[:35]}"], y=690 - 12 * row)
        text_lines(canvas, [f"Right {row} {SENTENCE[:35]}"], x=320, y=690 - 12 * row)


def ruled_table(canvas):
    text_lines(canvas, [SENTENCE] * 3, y=720)
    rows = [("Name", "Depth"), ("Inn", ""), ("Isar", "2 m"), ("", "4 m")]
    for row, column in product(range(4), range(2)):
        canvas.rect(72 + 120 * column, 600 - 30 * row, 120, 30)
        canvas.drawString(76 + 120 * column, 610 - 30 * row, rows[row][column])
    text_lines(canvas, ["The broad"], x=76, y=590)
    text_lines(canvas, [SENTENCE] * 3, y=480)


def with_comments(canvas):
    text_lines(canvas, [SENTENCE] * 3, y=720)
    for row, (name, value) in enumerate({"given": "Ann", "surname": "Miller"}.items()):
        canvas.acroForm.textfield(
            name=name, value=value, x=300, y=600 - 40 * row, width=100, height=20, relative=True, forceBorder=True
        )


@pytest.mark.parametrize("draw", [one_column, two_columns, ruled_table, with_comments])
@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("flagged", [True, False])
def test_a_page_that_is_turned_is_read_as_the_upright_one(draw, quarters, flagged):
    upright = blocks(seen_upright(draw, 0))
    assert len(upright) > 1
    assert blocks(seen_upright(draw, quarters, flagged=flagged)) == upright


def test_columns_and_cells_of_turned_pages_are_what_they_are():
    left, right = blocks(seen_upright(two_columns, 1))
    assert left[1].startswith("Left 0")
    assert right[1].startswith("Right 0")
    assert ("table", "Name | Depth\nThe broad Inn |\nIsar | 2 m\n| 4 m\n\n") in blocks(seen_upright(ruled_table, 3))
