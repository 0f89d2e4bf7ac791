"""What documents are called that do not say it themselves."""

from pathlib import PurePath

import pytest

from indexer.parsers.blocks import Block, BlockKind
from indexer.parsing.wire import Pieces
from indexer.titles import opening_of, title_of


def heading(text: str, level: int = 1) -> Block:
    return Block(text=f"# {text}\n\n", kind=BlockKind.HEADING, level=level, heading=text)


def title(*pieces: Pieces) -> tuple[str, int]:
    """The title, and how many pieces were read for it."""
    steps = opening_of(pieces)
    read = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return title_of(end.value, PurePath("notes.md")), read
        read += 1


TEXT = Block(text="Some text.\n\n")


@pytest.mark.parametrize(
    ("headings", "expected"),
    [
        (["Handbook"], "Handbook"),
        (["Handbook", "1 Leave", "2 Expenses"], "Handbook"),
        (["1.5.7"], "1.5.7"),
        (["1.5.7", "1.5.6"], "notes"),
        (["[2.0.0] - 2024-05-01", "[1.9.0] - 2024-04-01"], "notes"),
        (["Unreleased", "2.0"], "notes"),
        (["[Unreleased]", "[2.0]"], "notes"),
        (["CHAPTER 1 - Whales", "Chapter 2 - Ducks"], "notes"),
        (["Part I", "Part II"], "notes"),
        (["2024-03-02 Standup", "2024-03-01 Review"], "notes"),
        (["Python 3", "Installation"], "Python 3"),
        (["Report 2024", "Report 2024, in short"], "Report 2024"),
    ],
)
def test_the_first_heading_is_the_title_unless_it_is_one_of_many(headings: list[str], expected: str):
    assert title(Pieces(blocks=[heading(text) for text in headings]))[0] == expected


def test_a_heading_below_text_is_the_title_only_where_it_is_alone():
    long = Block(text="Call me Ishmael. " * 20)
    assert title(Pieces(blocks=[TEXT, heading("A"), heading("B")]))[0] == "A"
    assert title(Pieces(blocks=[long, heading("A"), heading("B", 2)]))[0] == "A"
    assert title(Pieces(blocks=[long, heading("A"), heading("B")]))[0] == "notes"
    assert title(Pieces(blocks=[heading("A", 2), heading("B")]))[0] == "notes"


def test_no_more_is_read_than_it_takes():
    text, later = Pieces(blocks=[Block(text="x" * 100_000)]), Pieces(blocks=[heading("B")])
    assert title(Pieces(title="Own"), Pieces(blocks=[heading("A")]), later) == ("Own", 2)
    assert title(Pieces(), Pieces(blocks=[TEXT]), later) == ("notes", 2)
    assert title(Pieces(blocks=[heading("1.1")]), text, Pieces(blocks=[heading("1.0")]), later) == ("notes", 3)
    assert title(Pieces(blocks=[heading("1.1")]), *[text] * 9, Pieces(blocks=[heading("1.0")])) == ("1.1", 4)
