import io
import tracemalloc

import pytest

from indexer.parsers.blocks import MAX_BLOCK_CHARS, BlockKind
from indexer.parsers.text import parse_text


def parse(text: str | bytes, encoding: str = "utf-8"):
    return list(parse_text(io.BytesIO(text.encode(encoding) if isinstance(text, str) else text), encoding))


def headings(blocks):
    return [(block.level, block.heading) for block in blocks if block.kind is BlockKind.HEADING]


def test_paragraphs_end_at_blank_lines_and_nothing_is_lost():
    text = "\n\nOne line\nand another.\n \n\nSecond paragraph.\n\n\n\nThird, without an end"
    blocks = parse(text)
    assert "".join(block.text for block in blocks) == text
    assert [block.text.strip() for block in blocks] == [
        "One line\nand another.",
        "Second paragraph.",
        "Third, without an end",
    ]


def test_titles_in_capitals_underlined_and_numbered():
    text = (
        "THE TITLE\n\nIntroduction.\n\nA SECTION\n\nText.\n\nUnderlined\n==========\n\nText.\n\nLower\n-----\n"
        "Text at once.\n\n2.1 Numbered title\n\nText.\n\n3 Another\n\nText.\n"
    )
    expected = [
        (1, "THE TITLE"),
        (2, "A SECTION"),
        (1, "Underlined"),
        (2, "Lower"),
        (3, "2.1 Numbered title"),
        (2, "3 Another"),
    ]
    blocks = parse(text)
    assert headings(blocks) == expected
    assert "".join(block.text for block in blocks) == text


@pytest.mark.parametrize(
    "text",
    [
        "Not a title.\n\nText",
        "1. Buy bread, milk and cheese for the whole of the coming week and do not forget the eggs\n\nText",
        "A B\n\nText",
        "2020\n\nText",
        "THIS IS AN ENTIRE SENTENCE IN CAPITALS THAT GOES ON FOR FAR LONGER THAN ANY TITLE WOULD EVER GO ON.\n\nText",
        "Two lines\nNOT ALONE\n\nText",
        "--------\n\nText",
        "Name    Size\n------------\n",
    ],
)
def test_ordinary_lines_are_not_titles(text):
    assert headings(parse(text)) == []


def test_lists_and_tables_are_told_apart():
    text = (
        "- one\n- two\n\nName  |  Size\na     |  1\nb     |  2\n\nPlain text, here.\n\n"
        "Model      Tokens     Size\nA          12         3\nB          15         4\n"
    )
    kinds = [block.kind for block in parse(text)]
    assert kinds == [BlockKind.LIST, BlockKind.TABLE, BlockKind.PARAGRAPH, BlockKind.TABLE]


def test_line_ends_of_all_systems_become_one():
    assert "".join(block.text for block in parse("a\r\nb\rc\n\r\nd")) == "a\nb\nc\n\nd"


def test_stray_nul_and_torn_bytes_do_not_stop_the_reading_and_are_told():
    block, notice = parse(b"caf\xc3\xa9 \x00and \xff more")
    assert block.text == "café and \ufffd more"
    assert notice.message == "One place could not be read as utf-8 and holds a replacement character."


def test_a_paragraph_without_end_is_cut_between_sentences_or_words():
    sentence = "This is a sentence of some words. "
    text = sentence * 3000
    blocks = parse(text)
    assert "".join(block.text for block in blocks) == text
    assert max(len(block.text) for block in blocks) <= MAX_BLOCK_CHARS
    assert all(block.text.endswith(". ") for block in blocks)
    words = "word " * 20_000
    assert all(block.text.endswith(" ") for block in parse(words))
    assert "".join(block.text for block in parse("x" * 50_000)) == "x" * 50_000


def test_memory_does_not_grow_with_the_file():
    line = b"A line of an endless log without any blank line in it at all, on and on.\n"

    class Endless(io.RawIOBase):
        left = 8_000_000

        def readable(self):
            return True

        def readinto(self, buffer):
            size = min(len(buffer), self.left)
            buffer[:size] = (line * (size // len(line) + 1))[:size]
            self.left -= size
            return size

    tracemalloc.start()
    try:
        read = sum(len(block.text) for block in parse_text(io.BufferedReader(Endless()), "utf-8"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == 8_000_000
    assert peak < 2_000_000


def test_colours_of_a_terminal_are_no_text():
    blocks = parse("\x1b]0;build\x07\x1b[32m✔\x1b[0m Compiled in \x1b[1;31m4.2 s\x1b[K\n")
    assert [block.text for block in blocks] == ["✔ Compiled in 4.2 s\n"]
