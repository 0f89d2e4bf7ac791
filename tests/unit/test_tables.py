import pytest

from indexer.chunking.chunker import chunk_blocks
from indexer.parsers.blocks import MAX_BLOCK_CHARS, Block, BlockKind, bounded
from indexer.parsers.tables import MAX_HEADER_CHARS, TableWriter, names_columns, table_blocks
from rag.embedding.fake import HashingEmbedder


def chunks(blocks: list[Block]):
    embedder = HashingEmbedder(max_tokens=256)
    return list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=256))


def test_every_chunk_of_a_long_table_has_the_header_as_context_and_never_as_text():
    rows = [["Name", "Remark"], *([f"n{i}", "some words here"] for i in range(2000))]
    found = list(table_blocks(rows))
    assert len(found) > 2
    first, *others = chunks(found)
    assert first.text.startswith("Name | Remark\n")
    assert first.heading_path == ()
    assert others
    for chunk in others:
        assert chunk.heading_path == ("Name | Remark",)
        assert "Remark" not in chunk.text


@pytest.mark.parametrize("rule", ["", "--- | ---\n"])
def test_pieces_of_one_long_block_keep_the_header_of_the_first(rule):
    text = "Name | Age\n" + rule + "".join(f"n{i} | {i}\n" for i in range(3000)) + "\n"
    pieces = list(bounded(Block(text=text, kind=BlockKind.TABLE)))
    assert "".join(piece.text for piece in pieces) == text
    assert len(pieces) > 1
    assert all(len(piece.text) <= MAX_BLOCK_CHARS for piece in pieces)
    assert [piece.header for piece in pieces] == [None, *["Name | Age"] * (len(pieces) - 1)]
    assert all(chunk.heading_path == ("Name | Age",) for chunk in chunks(pieces)[1:])


def test_cells_say_their_column_where_the_header_is_too_long_to_be_carried_along():
    names = [f"the name of column {i}" for i in range(12)]
    assert len(" | ".join(names)) > MAX_HEADER_CHARS
    (found,) = table_blocks([names, ["1", "", "3"], ["4", *[""] * 11, "beyond"]])
    assert found.text.splitlines()[1:3] == [
        "the name of column 0: 1; the name of column 2: 3",
        "the name of column 0: 4; beyond",
    ]
    assert all(chunk.heading_path == () for chunk in chunks([found]))


def test_a_row_that_copies_make_very_long_says_each_text_once():
    told = "long words " * 2000
    text = "".join(block.text for block in table_blocks([["a", "b"], [*[told] * 1000, "last"], ["c", "c"]]))
    assert text.count("words") == 2000
    assert text.endswith("last\nc | c\n\n")


def test_a_table_of_numbers_has_no_header():
    (found,) = table_blocks([["1.5", "2"], ["3", "4"]])
    assert (found.text, found.header) == ("1.5 | 2\n3 | 4\n\n", "")
    assert names_columns(["Year", "2019", "2020"])
    assert not names_columns(["Ann", "7", "8"])
    assert not names_columns(["alone"])


def test_a_new_page_is_a_new_block_under_the_same_header():
    writer = TableWriter(1)
    rows = [(["Name", "Age"], 1), (["Ann", "7"], 1), (["", ""], 1), (["Ben", "8"], 2)]
    found = [block for row, page in rows for block in writer.add(row, page)] + list(writer.finish())
    assert [(block.text, block.page, block.header) for block in found] == [
        ("Name | Age\nAnn | 7\n", 1, None),
        ("Ben | 8\n\n", 2, "Name | Age"),
    ]


def test_cells_are_one_line_each_and_empty_ends_are_left_out():
    (found,) = table_blocks([["a\n b", "c", ""], ["", "d", ""]])
    assert found.text == "a b | c\n | d\n\n"


def test_text_that_was_set_in_columns_is_not_repeated_in_every_row():
    prose = ["A sentence of some length that no column is called by. " * 3, "Another one, just as long as that. " * 4]
    for header_rows in (None, 1):
        (found,) = table_blocks([prose, ["short", "words"]], header_rows=header_rows)
        assert found.text.splitlines()[1:2] == ["short | words"]
        assert found.header == ""


SEASONS = [
    ["Length", "Summer", "Summer", "Winter", "Winter"],
    ["Length", "Day", "Week", "Day", "Week"],
]
NAMES = "Length | Summer Day | Summer Week | Winter Day | Winter Week"


@pytest.mark.parametrize("marked", [None, 1, 2])
@pytest.mark.parametrize("corners", [("Length", "Length"), ("Length", ""), ("", "Length")])
def test_names_below_merged_ones_are_names_of_columns(marked, corners):
    header = [[corners[0], *SEASONS[0][1:]], [corners[1], *SEASONS[1][1:]]]
    found = list(table_blocks([*header, *([f"{i} m", *"1234"] for i in range(3000))], header_rows=marked))
    assert len(found) > 2
    assert {block.header for block in found} == {NAMES}


@pytest.mark.parametrize(
    "row",
    [
        ["5 m", "Monday", "Tuesday", "Monday", "Tuesday"],  # something else where nothing is merged
        ["Length", "10", "50", "8", "40"],
        ["Length", "high", "low", "medium", "none"],  # words that nothing shows to be names
    ],
)
def test_a_row_of_data_below_merged_names_is_none_of_them(row):
    row = row if row[0] != "Length" or row[1] == "10" else ["", *row[1:]]
    found = list(table_blocks([SEASONS[0], row, *([f"{i} m", *"1234"] for i in range(3000))]))
    assert found[-1].header == "Length | Summer | Summer | Winter | Winter"


@pytest.mark.parametrize("marked", [None, 1])
def test_a_row_of_one_cell_above_the_names_is_the_title(marked):
    rows = [["Harbour dues"], ["Length", "Price"], *([f"{i} m", str(i)] for i in range(3000))]
    title, first, *others = table_blocks(rows, header_rows=marked)
    assert (title.kind, title.text) == (BlockKind.CAPTION, "Harbour dues\n\n")
    assert (first.header, first.caption) == (None, "Harbour dues")
    assert {(block.header, block.caption) for block in others} == {("Length | Price", "Harbour dues")}


def test_rows_of_one_cell_each_are_rows():
    (block,) = table_blocks([["one"], ["two"], ["three", "four"]])
    assert (block.kind, block.text) == (BlockKind.TABLE, "one\ntwo\nthree | four\n\n")
    (alone,) = table_blocks([["one"]])
    assert (alone.kind, alone.text) == (BlockKind.TABLE, "one\n\n")
