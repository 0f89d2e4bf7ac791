import io

import pytest
from reportlab.lib import pdfencrypt
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont

from indexer.parsers.blocks import Block, BlockKind, Notice, Title
from indexer.parsers.pdf.blocks import PageWriter
from indexer.parsers.pdf.columns import in_reading_order
from indexer.parsers.pdf.headings import Style
from indexer.parsers.pdf.lines import Line, rejoined
from indexer.parsers.pdf.parser import parse_pdf
from rag.errors import SourceDamaged, SourceEncrypted, SourceHasNoText
from tests.unit.pdf_pages import drawn_pdf, make_pdf, mapped_pdf, text_lines

LEFT = [f"left column, line {i}, with words enough" for i in range(8)] + ["and its end."]
RIGHT = [f"right column, line {i}, with words too" for i in range(8)] + ["and the page's end."]


def parse(content: bytes):
    return list(parse_pdf(io.BytesIO(content), "utf-8"))


def blocks_of(content: bytes):
    return [item for item in parse(content) if isinstance(item, Block)]


def body(page: int) -> list[str]:
    return ["", f"Paragraph {page} begins on this line", "and ends on the next one.", "", "A second paragraph, alone."]


def test_headings_paragraphs_and_pages():
    content = make_pdf(
        [[("The Title", 20), *body(1), "", ("A Section", 14), *body(7)], [("Another", 14), *body(2)]], title="Of rivers"
    )
    assert Title(text="Of rivers") in parse(content)
    blocks = blocks_of(content)
    assert [(b.level, b.heading, b.page) for b in blocks if b.kind is BlockKind.HEADING] == [
        (1, "The Title", 1),
        (2, "A Section", 1),
        (2, "Another", 2),
    ]
    texts = [block.text for block in blocks]
    assert "Paragraph 1 begins on this line and ends on the next one.\n\n" in texts
    assert "A second paragraph, alone.\n\n" in texts


def test_running_headers_footers_and_page_numbers_are_left_out():
    content = make_pdf([body(i) for i in range(1, 6)], header="The Handbook, page {page}", footer="{page}")
    text = "".join(block.text for block in blocks_of(content))
    assert "Handbook" not in text
    assert [line for line in text.split("\n") if line.strip().isdigit()] == []
    assert text.count("A second paragraph") == 5


def test_what_is_left_out_is_told():
    items = parse(make_pdf([body(i) for i in range(1, 6)], header="The Handbook, page {page}", footer="{page}"))
    assert Notice(message="Left out as running headers and footers: “the handbook, page #”") in items


def test_left_and_right_pages_have_headers_of_their_own():
    def page(number):
        def draw(canvas):
            canvas.drawString(72, 800, "A Book of Rivers" if number % 2 else "Chapter on Sources")
            canvas.drawString(500, 800, str(number))
            text_lines(canvas, [f"Only page {number} says this."])

        return draw

    text = "".join(block.text for block in blocks_of(drawn_pdf(*map(page, range(1, 9)))))
    assert text == "".join(f"Only page {number} says this.\n\n" for number in range(1, 9))


def test_repeated_text_below_a_heading_is_no_running_header():
    pages = [[(f"Section number {word}", 14), "the same words on every page."] for word in ("one", "two", "three")]
    assert "".join(block.text for block in blocks_of(make_pdf(pages))).count("the same words") == 3


def test_columns_are_read_one_after_the_other():
    def by_columns(canvas):
        text_lines(canvas, LEFT)
        text_lines(canvas, RIGHT, x=320)

    def row_by_row(canvas):
        canvas.drawString(72, 740, "A line that goes across both of the columns below it, from left to the very right.")
        for index, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
            canvas.drawString(72, 700 - 12 * index, left)
            canvas.drawString(320, 700 - 12 * index, right)

    for draw in (by_columns, row_by_row):
        texts = [block.text.strip() for block in blocks_of(drawn_pdf(draw))]
        assert " ".join(LEFT) in texts, draw
        assert " ".join(RIGHT) in texts, draw


def test_a_table_between_paragraphs_keeps_its_rows_and_empty_and_wrapped_cells():
    def draw(canvas):
        text_lines(canvas, ["Table 1: What was measured"], y=720)
        rows = [["Name", "Value", "Remark"], ["first", "1", "short"], ["second", "", "longer than the co-"]]
        for index, row in enumerate(rows):
            for cell, x in zip(row, (72, 200, 300), strict=True):
                canvas.drawString(x, 700 - 12 * index, cell)
        canvas.drawString(300, 700 - 36, "lumn is wide")
        for cell, x in (("third", 72), ("3", 200), ("again short", 300)):
            canvas.drawString(x, 700 - 48, cell)
        text_lines(canvas, ["A paragraph after the table runs across all of its columns, as usual."], y=620)

    caption, table, after = blocks_of(drawn_pdf(draw))
    assert caption.text == "Table 1: What was measured\n\n"
    assert (table.kind, after.kind) == (BlockKind.TABLE, BlockKind.PARAGRAPH)
    assert table.text.splitlines()[:4] == [
        "Name | Value | Remark",
        "first | 1 | short",
        "second |  | longer than the column is wide",
        "third | 3 | again short",
    ]


def test_names_of_columns_on_two_lines_are_one_header():
    rows = [
        "Inhibitor\tPolarization\tRate",
        "\tresistance\t(mm a year)",
        "0\t24.1\t2.8",
        "2\t121.4\t1.5",
        "4\t42.1\t0.9",
    ]
    (table,) = blocks_of(make_pdf([rows]))
    assert table.text.splitlines()[:2] == ["Inhibitor | Polarization resistance | Rate (mm a year)", "0 | 24.1 | 2.8"]


def rows_of_words(first: int, count: int) -> list[str]:
    return [f"Vessel {'abcdefghij'[i % 10]}\tDelft\tbrick{i}" for i in range(first, first + count)]


def test_a_table_that_goes_on_on_the_next_page_keeps_its_header():
    pages = [["Name\tHarbour\tCargo", *rows_of_words(0, 44)], rows_of_words(44, 45), rows_of_words(89, 10)]
    found = blocks_of(make_pdf([*pages]))
    assert [block.header for block in found] == [None, "Name | Harbour | Cargo", "Name | Harbour | Cargo"]


def test_a_table_below_text_or_with_numbers_below_its_names_is_another():
    numbers = ["Year\tShips\tTonnes", *(f"{1900 + i}\t{i}\t{i * 7}" for i in range(9))]
    first = ["Name\tHarbour\tCargo", *rows_of_words(0, 44)]
    assert blocks_of(make_pdf([first, numbers]))[-1].header is None
    below = ["Other ships than these were never seen here.", "", "", *rows_of_words(44, 9)]
    assert blocks_of(make_pdf([first, below]))[-1].header is None


def test_a_heading_of_two_lines_is_one():
    (heading, _) = blocks_of(make_pdf([[("A heading that needs more", 18), ("than a line", 18), "", *body(1)[:3]]]))
    assert (heading.heading, heading.level) == ("A heading that needs more than a line", 1)


def test_a_list_whose_marks_are_signs_of_a_symbol_font_is_a_list():
    def draw(canvas):
        for index, item in enumerate(("one thing", "another thing")):
            canvas.setFont("ZapfDingbats", 10)
            canvas.drawString(72, 700 - 14 * index, "\u25cf")
            canvas.setFont("Helvetica", 10)
            canvas.drawString(90, 700 - 14 * index, item)

    (block,) = blocks_of(drawn_pdf(draw))
    assert (block.kind, block.text) == (BlockKind.LIST, "● one thing\n● another thing\n\n")


def test_wide_spaces_of_justified_lines_are_no_columns():
    def draw(canvas):
        for y, words in (
            (700, ["One sentence ends.", "The next begins."]),
            (688, ["It goes on, too.", "So it does now."]),
        ):
            canvas.drawString(72, y, words[0])
            canvas.drawString(72 + canvas.stringWidth(words[0]) + 11, y, words[1])

    assert [block.kind for block in blocks_of(drawn_pdf(draw))] == [BlockKind.PARAGRAPH]


def test_justified_lines_of_single_words_are_no_table():
    def draw(canvas):
        for i, names in enumerate(("Anna, Emil, Dora, Hans,", "Jens, Vera, Nils, Otto,", "Rosa, Timo, Lena, Gerd,")):
            canvas.drawString(72, 700 - 24 * i, names, wordSpace=9)
            canvas.drawString(90, 688 - 24 * i, "and others wrote of it.")

    blocks = blocks_of(drawn_pdf(draw))
    assert {block.kind for block in blocks} == {BlockKind.PARAGRAPH}
    assert blocks[0].text.startswith("Anna, Emil, Dora, Hans, and others wrote of it.")


def test_lines_of_two_columns_on_nearly_one_height_stay_apart():
    lines = [
        Line(left=320, right=500, base=700.0, size=10, text="Figure 1: Accuracy with different num", hyphenated=True),
        Line(left=320, right=500, base=688.0, size=10, text="bers of examples, measured on all."),
        Line(left=72, right=250, base=685.6, size=10, text="dataset encoder by combining data"),
        Line(left=72, right=250, base=673.6, size=10, text="of all sets. It is the best of them."),
    ]
    for line in lines:
        line.words = [(line.left, line.right, line.text)]
    assert [block.text for block in PageWriter(Style.of([lines])).blocks(lines, page=1)] == [
        "Figure 1: Accuracy with different numbers of examples, measured on all.\n\n",
        "dataset encoder by combining data of all sets. It is the best of them.\n\n",
    ]


def test_a_line_that_stands_out_of_its_column_a_little_is_one_of_it():
    def line(side, i):
        left, right = (72.0, 296.0) if side == "left" else (299.5 if i == 7 else 300.4, 528.0)
        return Line(left=left, right=right, base=700.0 - 12 * i, size=10.0, text=f"line {i:2} of the {side} column")

    ordered = in_reading_order([line(side, i) for i in range(16) for side in ("left", "right")])
    assert [each.text for each in ordered] == [line(side, i).text for side in ("left", "right") for i in range(16)]


def test_code_keeps_its_lines_and_indentation():
    def draw(canvas):
        text_lines(canvas, ["Some text before the program."], y=730)
        canvas.setFont("Courier", 10)
        text_lines(canvas, ["def area(side):"])
        text_lines(canvas, ["return side * side"], x=72 + 4 * 6, y=688)

    assert blocks_of(drawn_pdf(draw))[1] == Block(
        text="def area(side):\n    return side * side\n\n", kind=BlockKind.CODE, page=1
    )


def test_raised_and_lowered_characters_stay_in_their_words():
    def draw(canvas):
        text = canvas.beginText(72, 700)
        for place, piece in enumerate(("an area of 12 km", "2", " and 10", "21", " more")):
            text.setFont("Helvetica", 6 if place % 2 else 10)
            text.setRise(4 if place % 2 else 0)
            text.textOut(piece)
        canvas.drawText(text)

    assert blocks_of(drawn_pdf(draw))[0].text == "an area of 12 km2 and 10^21 more\n\n"


def test_the_number_of_a_note_does_not_run_into_a_figure_where_the_line_was_broken_before_it():
    number = Line(left=72, right=122, base=700, size=10, text="8,935,112", words=[(72, 122, "8,935,112")])
    note = Line(left=122.2, right=126, base=704, size=6, text="3", words=[(122.2, 126, "3")])
    (joined,) = rejoined([number, note])
    assert joined.text == "8,935,112^3"
    assert joined.words == [(72, 126, "8,935,112^3")]


def test_text_that_runs_upwards_comes_after_the_page():
    def draw(canvas):
        canvas.saveState()
        canvas.rotate(90)
        canvas.drawString(200, -30, "printed along the edge")
        canvas.restoreState()
        text_lines(canvas, ["The page itself says this."])

    assert [block.text for block in blocks_of(drawn_pdf(draw))] == [
        "The page itself says this.\n\n",
        "printed along the edge\n\n",
    ]


def test_a_page_that_lies_on_its_side_is_read_upright():
    def draw(canvas):
        canvas.rotate(90)
        text_lines(canvas, ["The first line of it", "and the second one."], y=-300)

    (block,) = blocks_of(drawn_pdf(draw))
    assert block.text == "The first line of it and the second one.\n\n"


def test_headings_that_look_like_text_are_known_by_the_outline():
    def draw(canvas):
        for level, (key, y) in enumerate((("Chapter of rivers", 700), ("2.1 Their sources", 640))):
            canvas.bookmarkPage(key)
            canvas.addOutlineEntry(key.removeprefix("2.1 "), key, level=level)
            text_lines(canvas, [key, "", "Text of the section in the same font and size."], y=y)

    blocks = blocks_of(drawn_pdf(draw))
    assert [(b.level, b.heading) for b in blocks if b.kind is BlockKind.HEADING] == [
        (1, "Chapter of rivers"),
        (2, "2.1 Their sources"),
    ]


def test_a_password_of_the_owner_does_not_keep_anyone_from_reading():
    encrypt = pdfencrypt.StandardEncryption("", ownerPassword="of the owner", canCopy=0, strength=128)
    assert blocks_of(drawn_pdf(lambda canvas: text_lines(canvas, ["open to read"]), encrypt=encrypt))[
        0
    ].text.startswith("open")


def test_a_number_in_the_text_is_no_page_number():
    content = make_pdf([["The answer was", "42", "in all cases."]])
    assert "42" in blocks_of(content)[0].text


def test_tables_become_rows_of_cells():
    rows = ["Model\tLayers\tSize", "Small\t12\t110 million", "Large\t24\t340 million"]
    (table,) = [b for b in blocks_of(make_pdf([["Some text before it.", "", *rows]])) if b.kind is BlockKind.TABLE]
    assert table.text == "Model | Layers | Size\nSmall | 12 | 110 million\nLarge | 24 | 340 million\n\n"


def test_words_cut_at_the_end_of_a_line_are_whole_again():
    def text_of(*lines):
        return blocks_of(make_pdf([list(lines)]))[0].text.strip()

    assert text_of("This line ends inside of a hyphen-", "ated word.") == "This line ends inside of a hyphenated word."
    assert text_of("Each of the lines is an ex-", "ample of it.") == "Each of the lines is an example of it."
    assert text_of("Their own hyphen is kept by self-", "made words.") == "Their own hyphen is kept by self-made words."
    assert text_of("A blue-green one, and then a blue-", "green one.") == "A blue-green one, and then a blue-green one."
    assert text_of("They went low-", "er, and lower.") == "They went lower, and lower."


def test_words_of_later_pages_tell_whose_hyphen_it_is():
    pages = [
        ["A plan that is user-", "centric is what everybody has in the high-", "est esteem."],
        ["It is user-centric, the highest."],
    ]
    (first, *_rest) = blocks_of(make_pdf(pages))
    assert first.text.strip() == "A plan that is user-centric is what everybody has in the highest esteem."


def test_code_within_sentences_tears_no_paragraph():
    def draw(canvas):
        for y, (before, code, after) in enumerate(
            [
                ("The program writes what it has found to ", "database_directory", " unless it is told"),
                ("another place and then begins with the next of all the files that wait, which", "", ""),
                ("are read from ", "incoming_directory_of_everybody", " or from"),
                ("", "/usr/share/incoming:/usr/local/share/incoming", ","),
                ("in this order. They stay as they were.", "", ""),
            ]
        ):
            text = canvas.beginText(72, 700 - 12 * y)
            for piece, font in ((before, "Helvetica"), (code, "Courier"), (after, "Helvetica")):
                text.setFont(font, 10 if font == "Helvetica" else 8)
                text.textOut(piece)
            canvas.drawText(text)

    (block,) = blocks_of(drawn_pdf(draw))
    assert block.text.count("\n") == 2
    assert "in this order" in block.text


def test_a_short_line_above_more_space_than_usual_ends_a_paragraph():
    def draw(canvas):
        for y in (700, 650, 600):
            text_lines(canvas, ["Each of these is a paragraph that goes on for two lines of", "its page."], y=y)
        text_lines(canvas, ["This is the one after the last of them, which stands near it."], y=573.5)

    assert len(blocks_of(drawn_pdf(draw))) == 4


def test_a_ligature_without_a_meaning_is_known_by_its_width():
    content = mapped_pdf("<0E> <0E> <0000>", "<20> <7E> <0020>", shown=r"It is di\016cult for ba\016ed o\016ces.")
    assert blocks_of(content)[0].text == "It is difficult for baffled offices.\n\n"


def test_codes_that_a_font_says_nothing_of_are_those_of_windows_and_of_tex():
    content = mapped_pdf(
        "<41> <41> <0092>", "<42> <42> <0088>", "<43> <7E> <0043>", "<20> <40> <0020>", shown="B We donAt."
    )
    assert [(block.kind, block.text) for block in blocks_of(content)] == [(BlockKind.LIST, "• We don’t.\n\n")]


def test_the_bar_of_a_root_is_its_sign():
    bars = mapped_pdf("<41> <41> <FB03>", "<20> <40> <0020>", "<42> <7E> <0042>", shown=f"below {'A' * 12} h=2mv")
    assert blocks_of(bars)[0].text == "below √ h=2mv\n\n"
    letters = make_pdf([[f"below {'ffi' * 12} h=2mv in coffins of an office"]])
    assert blocks_of(letters)[0].text == f"below {'ffi' * 12} h=2mv in coffins of an office\n\n"


def test_entries_of_a_table_of_contents_are_lines_without_their_dots():
    entries = ["2.1 Syntax . . . . . . . . . . . 12", "2.2 Names.................... 14", "Preface ........ iv"]
    (block,) = blocks_of(make_pdf([entries]))
    assert block.text == "2.1 Syntax … 12\n2.2 Names … 14\nPreface … iv\n\n"


def test_list_items_keep_their_lines():
    (block,) = blocks_of(make_pdf([["• one thing", "• another thing", "• a third"]]))
    assert block.kind is BlockKind.LIST
    assert block.text == "• one thing\n• another thing\n• a third\n\n"


def test_a_password_is_an_error_of_its_own():
    with pytest.raises(SourceEncrypted, match="password"):
        parse(make_pdf([["secret"]], encrypted=True))


def test_damage_is_an_error_of_its_own():
    good = make_pdf([["text"]])
    for damaged in (b"%PDF-1.7\nnothing more", good[:200], b"%PDF-" + bytes(1000)):
        with pytest.raises(SourceDamaged):
            parse(damaged)


def test_pages_without_text_are_told():
    items = parse(make_pdf([["text"], [], ["text"], [], [], ["text"]]))
    assert [item.message for item in items if isinstance(item, Notice)] == ["3 of 6 pages without text: 2, 4-5"]


def test_halves_of_characters_are_left_out():
    items = parse(mapped_pdf("<61> <61> <D83D>", title="<FEFFD83D0041>"))
    assert [item.text for item in items if isinstance(item, Block)] == ["wht nobody cn know\n\n"]


def test_blank_pages_alone_are_no_text():
    with pytest.raises(SourceHasNoText, match="This PDF of 2 pages holds"):
        parse(make_pdf([[], []]))


def test_long_documents_give_signs_of_life():
    assert parse(make_pdf([body(i) for i in range(30)])).count(None) >= 30


def test_a_list_may_be_numbered_without_dots():
    steps = ["1 Switch off the mains", "2 Remove the plug and wait", "until it is cold", "3 Open the lid"]
    others = ["1 Ann came late to the meeting and", "2 others left it early", "3 Years passed before they met again"]

    def draw(canvas):
        canvas.setFont("Helvetica", 10)
        text_lines(canvas, steps, y=700)
        text_lines(canvas, others, y=500)

    listed, paragraph = blocks_of(drawn_pdf(draw))
    assert (listed.kind, listed.text) == (
        BlockKind.LIST,
        "1 Switch off the mains\n2 Remove the plug and wait until it is cold\n3 Open the lid\n\n",
    )
    assert paragraph.kind is BlockKind.PARAGRAPH


def test_paragraphs_of_a_letter_are_apart_where_most_lines_have_an_empty_one_above():
    lines = ["Ann Miller, Main street 1", "", "Bob Low", "Side street 2", "", "Town, 4 March 2024", ""]
    lines += ["Dear Mr Low,", "", "thank you for your letter. We have looked into the matter", "of the nets and ask"]
    lines += ["you to refund them.", "", "Kind regards,", "", "Ann Miller", "", "Enclosure: photographs"]

    def letter(canvas):
        canvas.setFont("Times-Roman", 11)
        text_lines(canvas, lines, step=14)

    def wide(canvas):
        canvas.setFont("Times-Roman", 11)
        text_lines(canvas, [f"word{i} goes on in this text, which is set wide" for i in range(12)], step=28)
        text_lines(canvas, [f"Item {i}" for i in range(6)], y=300, step=14)

    assert [block.text.strip() for block in blocks_of(drawn_pdf(letter))] == [
        "Ann Miller, Main street 1",
        "Bob Low Side street 2",
        "Town, 4 March 2024",
        "Dear Mr Low,",
        "thank you for your letter. We have looked into the matter of the nets and ask you to refund them.",
        "Kind regards,",
        "Ann Miller",
        "Enclosure: photographs",
    ]
    assert blocks_of(drawn_pdf(wide))[0].text.count("word") == 12


def test_sums_below_each_other_are_rows_of_their_own():
    rows = [
        ("Pos", "Description", "Unit price", "Total"),
        ("1", "Carbon mast", "2,900.00", "2,900.00"),
        ("2", "Rope 8 mm", "1.50", "45.00"),
        ("", "", "VAT 25%", "736.25"),
        ("", "", "Total EUR", "3,681.25"),
    ]

    def page(canvas):
        for number, row in enumerate(rows):
            for x, cell in zip((72, 110, 330, 430), row, strict=True):
                canvas.drawString(x, 660 - number * 15, cell)

    (table,) = (item for item in parse(drawn_pdf(page)) if isinstance(item, Block))
    assert table.text.splitlines()[3:] == ["|  | VAT 25% | 736.25", "|  | Total EUR | 3,681.25", ""]


def test_lines_of_chinese_and_japanese_are_joined_without_a_space():
    def page(canvas):
        canvas.setFont("HeiseiMin-W3", 12)
        text_lines(canvas, ["契約期間は二〇二四年四月一日から二年間とし更新", "することができる。"], step=14)

    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    (block,) = (item for item in parse(drawn_pdf(page)) if isinstance(item, Block))
    assert "更新することができる" in block.text
