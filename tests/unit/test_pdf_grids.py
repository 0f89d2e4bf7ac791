"""Ruled tables of PDF pages: the cells are those that the rules make, wherever the text stands in them."""

import io
import itertools

import pytest

from indexer.parsers.blocks import Block, BlockKind
from indexer.parsers.pdf.parser import parse_pdf
from tests.unit.pdf_pages import drawn_pdf, text_lines

COLUMNS = (72, 172, 322, 472)
ROWS = (700, 670, 620, 570)
CELLS = [
    ["Kind", "Before", "After"],
    ["Criterion", "drunk or eaten by\nmany people at\nonce", "spread as a weapon"],
    ["Illness", "cholera, typhoid", "plague and\nebola"],
]


def ruled(canvas, *, columns=COLUMNS, rows=ROWS, sides=True, drawn="lines"):
    if drawn == "boxes":
        for left, right in itertools.pairwise(columns):
            for top, low in itertools.pairwise(rows):
                canvas.rect(left, low, right - left, top - low)
        return
    thick = 0.5
    for y in rows:
        if drawn == "lines":
            canvas.line(columns[0], y, columns[-1], y)
        else:
            canvas.rect(columns[0], y, columns[-1] - columns[0], thick, stroke=0, fill=1)
    for x in columns if sides else columns[1:-1]:
        if drawn == "lines":
            canvas.line(x, rows[0], x, rows[-1])
        else:
            canvas.rect(x, rows[-1], thick, rows[0] - rows[-1], stroke=0, fill=1)


def filled(canvas, cells, *, columns=COLUMNS, rows=ROWS):
    # Column by column, as some programs write them.
    for j, left in enumerate(columns[:-1]):
        for i, top in enumerate(rows[:-1]):
            if j < len(cells[i]):
                text_lines(canvas, cells[i][j].split("\n"), x=left + 4, y=top - 12)


def read(*draws) -> list[Block]:
    def page(canvas):
        text_lines(canvas, ["What stands above the table is text of a page.", "It goes on here."], y=760)
        for draw in draws:
            draw(canvas)
        text_lines(canvas, ["What follows the table is text of the page, too.", "It ends here."], y=500)

    return [each for each in parse_pdf(io.BytesIO(drawn_pdf(page)), "utf-8") if isinstance(each, Block)]


def rows_of(blocks: list[Block]) -> list[list[str]]:
    (table,) = [block.text for block in blocks if block.kind is BlockKind.TABLE]
    return [line.split(" | ") for line in table.strip().split("\n")]


@pytest.mark.parametrize("drawn", ["lines", "boxes", "bars"])
@pytest.mark.parametrize("sides", [True, False])
def test_wrapped_cells_are_whole_between_their_rules(drawn, sides):
    blocks = read(lambda canvas: ruled(canvas, drawn=drawn, sides=sides), lambda canvas: filled(canvas, CELLS))
    assert rows_of(blocks) == [[cell.replace("\n", " ") for cell in row] for row in CELLS]
    assert [block.kind for block in blocks] == [BlockKind.PARAGRAPH, BlockKind.TABLE, BlockKind.PARAGRAPH]
    assert blocks[1].header is None


def test_cells_across_several_places_say_their_text_in_each():
    def rules(canvas):
        for y in ROWS:
            canvas.line(172 if y == 620 else 72, y, 472, y)
        for x in COLUMNS:
            canvas.line(x, 670 if x == 322 else 700, x, 570)

    cells = [["Year", "Rivers"], ["2020", "Inn", "3 m"], ["", "Po", "4 m"]]
    assert rows_of(read(rules, lambda canvas: filled(canvas, cells))) == [
        ["Year", "Rivers", "Rivers"],
        ["2020", "Inn", "3 m"],
        ["2020", "Po", "4 m"],
    ]


def test_rows_without_rules_between_them_stay_apart_and_wrapped_ones_together():
    cells = [
        ["Name", "Depth", "Note"],
        ["Inn\nPo", "3\n4", "cold\nwarm"],
        ["Elbe", "5\n6", "in spring and in summer it is\nautumn, or so"],
    ]
    assert rows_of(read(ruled, lambda canvas: filled(canvas, cells))) == [
        ["Name", "Depth", "Note"],
        ["Inn", "3", "cold"],
        ["Po", "4", "warm"],
        ["Elbe", "5 6", "in spring and in summer it is autumn, or so"],
    ]


def test_backgrounds_of_cells_are_cells_and_those_of_their_lines_are_not():
    def rules(canvas):
        canvas.setFillGray(0.8)
        for left, right in itertools.pairwise(COLUMNS):
            canvas.rect(left, 670, right - left, 30, stroke=0, fill=1)
        canvas.setFillGray(0.9)
        for low in (620, 635, 650):  # of lines of text
            canvas.rect(72, low, 100, 15, stroke=0, fill=1)
        canvas.setFillGray(0)
        ruled(canvas, rows=ROWS[1:])

    cells = [CELLS[0], ["a criterion of\nthree lines of\ntext", "one", "two"], CELLS[2]]
    found = rows_of(read(rules, lambda canvas: filled(canvas, cells)))
    assert found == [[cell.replace("\n", " ") for cell in row] for row in cells]


@pytest.mark.parametrize(
    ("columns", "rows"),
    [((72, 272, 472), (700, 690, 530)), ((72, 472), ROWS)],
)
def test_frames_around_text_are_no_tables(columns, rows):
    prose = ["Words of a column that is framed, one after", "the other, as they are set in some papers,"] * 6

    def text(canvas):
        canvas.setFont("Helvetica", 8)
        for left in columns[:-1]:
            text_lines(canvas, prose, x=left + 4, y=680)

    blocks = read(lambda canvas: ruled(canvas, columns=columns, rows=rows), text)
    assert all(block.kind is not BlockKind.TABLE for block in blocks)


@pytest.mark.parametrize("starts", [[72] * 150, range(20, 220, 2)])
def test_drawings_of_many_lines_are_no_tables(starts):
    def grid(canvas):
        for i, left in enumerate(starts):
            canvas.line(left, 400 + i * 4, left + 300, 400 + i * 4)
            canvas.line(72 + i * 5.6, 400, 72 + i * 5.6, 850)

    assert all(block.kind is not BlockKind.TABLE for block in read(grid))
