import re

import pytest

from indexer.chunking.chunker import MAX_TOKENS, TARGET_TOKENS, chunk_blocks, clip_title
from indexer.chunking.lead_ins import leads_in
from indexer.parsers.blocks import Block, BlockKind
from rag.embedding.context import contextual_text
from rag.embedding.fake import HashingEmbedder

EMBEDDER = HashingEmbedder()


def heading(title: str, level: int = 1) -> Block:
    return Block(text=f"{'#' * level} {title}\n\n", kind=BlockKind.HEADING, level=level, heading=title)


def paragraph(words: int, start: int = 0, *, kind: BlockKind = BlockKind.PARAGRAPH, page: int | None = None) -> Block:
    """Sentences of nine words and a full stop: ten tokens each."""
    sentences = [
        " ".join([f"S{start + i}", *(f"w{start + i + j}" for j in range(8))]) + "." for i in range(0, words, 10)
    ]
    return Block(text=" ".join(sentences) + "\n\n", kind=kind, page=page)


def chunk(*blocks: Block, title: str = "Book", embedder: HashingEmbedder = EMBEDDER):
    chunks = list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens, title=title))
    source = "".join(block.text for block in blocks)
    for number, item in enumerate(chunks):
        assert item.ordinal == number
        assert item.text == source[item.span.start : item.span.end]
        assert item.text == item.text.strip()
        assert item.token_count == embedder.count_tokens([item.text])[0]
        context = contextual_text(title, item.heading_path, item.text)
        assert embedder.count_tokens([context])[0] <= embedder.max_tokens
    return chunks


def test_small_neighbours_under_a_heading_share_a_chunk():
    chunks = chunk(heading("One"), paragraph(50), paragraph(50), heading("Two"), paragraph(30))
    assert [item.heading_path for item in chunks] == [("One",), ("Two",)]
    assert chunks[0].text.count("\n\n") == 1


def test_a_chunk_never_crosses_a_heading_and_knows_its_path():
    chunks = chunk(
        heading("A"), paragraph(20), heading("A1", 2), paragraph(20), heading("A2", 2), paragraph(20), heading("B"),
        paragraph(20),
    )  # fmt: skip
    assert [item.heading_path for item in chunks] == [("A",), ("A", "A1"), ("A", "A2"), ("B",)]
    assert not any("#" in item.text for item in chunks)


def test_long_sections_are_cut_at_paragraphs_then_sentences():
    chunks = chunk(heading("A"), paragraph(100), paragraph(100), paragraph(400))
    assert chunks[0].text.endswith(".")
    assert all(item.text.endswith(".") and item.text[0] == "S" for item in chunks)
    assert all(item.token_count <= MAX_TOKENS + 2 for item in chunks)
    assert len(chunks) == 4


def test_a_section_just_above_the_target_is_not_cut_for_a_sentence():
    assert TARGET_TOKENS < 210 < MAX_TOKENS
    assert len(chunk(heading("A"), paragraph(170), paragraph(40))) == 1


def test_a_small_rest_is_evened_out():
    first, second = chunk(heading("A"), paragraph(180), paragraph(60))
    assert min(first.token_count, second.token_count) >= 60
    *_, before, last = chunk(heading("A"), paragraph(1000))
    assert last.token_count * 3 >= TARGET_TOKENS
    assert before.token_count >= 60


def test_a_heading_without_text_goes_with_what_follows():
    (item,) = chunk(heading("A", 2), heading("B", 2), paragraph(20))
    assert item.text.startswith("## A\n\n## B\n\nS0")
    assert item.heading_path == ("B",)


def test_a_heading_with_a_heading_below_it_needs_no_place_in_the_text():
    (item,) = chunk(heading("A"), heading("B", 2), heading("C", 3), paragraph(20))
    assert item.heading_path == ("A", "B", "C")
    assert item.text.startswith("S0")


def test_a_heading_without_text_between_others_is_not_lost():
    (item,) = chunk(heading("A"), heading("B", 2), heading("C", 3), heading("D", 2), paragraph(20))
    assert "C" in item.text
    assert item.heading_path == ("A", "D")


def test_a_heading_at_the_end_joins_the_last_chunk():
    (item,) = chunk(heading("A"), paragraph(20), Block(text="\n\n \n"), heading("The end"))
    assert item.text.endswith("# The end")
    assert item.heading_path == ("A",)


def test_a_source_of_headings_alone_is_still_searchable():
    (item,) = chunk(heading("Only this"))
    assert item.text == "# Only this"


def table(rows: int) -> Block:
    lines = ["| Model | Size |", "|---|---|", *(f"| Model {i} | {i} million |" for i in range(rows))]
    return Block(text="\n".join(lines) + "\n\n", kind=BlockKind.TABLE)


def test_a_table_is_whole_where_it_fits():
    (item,) = chunk(heading("T"), table(10))
    assert item.text.startswith("| Model | Size |")


def test_a_long_table_is_cut_between_rows_and_later_parts_keep_its_header_as_context():
    chunks = chunk(heading("T"), table(100))
    assert len(chunks) > 3
    assert all(line.startswith("|") and line.endswith("|") for item in chunks for line in item.text.split("\n"))
    assert chunks[0].heading_path == ("T",)
    assert {item.heading_path for item in chunks[1:]} == {("T", "Model | Size")}


def test_code_is_cut_between_stanzas_only():
    stanza = "def f(x):\n    y = x + 1\n    return y * 2\n"
    code = Block(text="\n".join([stanza] * 30) + "\n", kind=BlockKind.CODE)
    chunks = chunk(heading("C"), code)
    assert len(chunks) > 1
    assert all(item.text.startswith("def f(x):") and item.text.endswith("return y * 2") for item in chunks)


def test_a_list_is_cut_between_items():
    items = "".join(f"- item {i} has some words\n  and a second line\n" for i in range(60))
    chunks = chunk(heading("L"), Block(text=items + "\n", kind=BlockKind.LIST))
    assert len(chunks) > 1
    assert all(item.text.startswith("- item") and item.text.endswith("second line") for item in chunks)


def test_a_sentence_without_end_is_cut_between_words():
    words = " ".join(f"word{i}" for i in range(1000))
    chunks = chunk(heading("W"), Block(text=words + "\n\n"))
    assert " ".join(item.text for item in chunks) == words


def test_a_blob_without_any_words_is_cut_too():
    chunks = chunk(Block(text="x" * 16_000))
    assert "".join(item.text for item in chunks) == "x" * 16_000
    assert max(len(item.text) for item in chunks) < 10 * (MAX_TOKENS + 1)


def test_white_space_that_sentence_splitting_chokes_on():
    text = ("e.\u2028A\u00a0sentence\u3000of words.\u2029Mr. X\u2028 said it. " * 80) + "\n\n"
    assert len(chunk(Block(text=text))) > 3


def test_chunks_carry_the_page_they_begin_on():
    chunks = chunk(heading("A"), paragraph(150, page=3), paragraph(150, page=4))
    assert [item.page for item in chunks] == [3, 4]


def test_context_never_crowds_out_the_text():
    long_heading = " ".join(f"heading{i}" for i in range(190))
    small = HashingEmbedder(max_tokens=64)
    title = clip_title(" ".join(f"title{i}" for i in range(300)), count_tokens=small.count_tokens, max_tokens=64)
    assert title.endswith("…")
    headings = (heading(long_heading), heading(long_heading, 2), heading("Inner", 3))
    chunks = chunk(*headings, paragraph(300), title=title, embedder=small)
    assert max(item.token_count for item in chunks) >= 20
    assert {item.heading_path[-1] for item in chunks} == {"Inner"}


def test_headings_nested_without_end_cost_no_more_than_what_fits_of_them():
    class Counting(HashingEmbedder):
        counted = 0

        def count_tokens(self, texts):
            self.counted += len(texts)
            return super().count_tokens(texts)

    embedder = Counting()
    blocks = [piece for level in range(1, 401) for piece in (heading(f"Level {level}", level), paragraph(5))]
    chunks = chunk(*blocks, embedder=embedder)
    assert chunks[-1].heading_path[-1] == "Level 400"
    assert len(chunks[-1].heading_path) < 60
    assert embedder.counted < 400 * 110


def test_chunks_come_before_the_source_has_ended():
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield paragraph(100, drawn)

    chunks = chunk_blocks(endless(), count_tokens=EMBEDDER.count_tokens, max_tokens=256)
    for _ in range(5):
        next(chunks)
    assert drawn < 1000


@pytest.mark.parametrize("words", [1, 9, 10, 170, 180, 190, 215, 225, 365, 3000])
def test_every_word_is_in_exactly_one_chunk(words):
    block = paragraph(words)
    chunks = chunk(heading("A"), block)
    assert re.findall(r"\S+", " ".join(item.text for item in chunks)) == re.findall(r"\S+", block.text)


@pytest.mark.parametrize("text", ["\n\n 0:" * 16 + "\n\n", " \n\n 0:" * 16])
def test_a_chunk_may_begin_after_a_unit_of_white_space_alone(text):
    chunks = chunk(Block(text=text, kind=BlockKind.LIST), title="", embedder=HashingEmbedder(max_tokens=32))
    assert len(chunks) > 1


def say(text: str, kind: BlockKind = BlockKind.PARAGRAPH) -> Block:
    return Block(text=f"{text}\n\n", kind=kind)


def rows(count: int) -> str:
    return "| name | depth |\n|---|---|\n" + "\n".join(f"| r{n} | {n} |" for n in range(count))


def items(count: int) -> str:
    return "\n".join(f"- item {n} and words" for n in range(count))


def stanzas(count: int) -> str:
    return "\n\n".join(f"do_this({n})\nand_that({n}, {n})" for n in range(count))


@pytest.mark.parametrize("count", [9, 80])
@pytest.mark.parametrize(
    ("lead", "kind", "write"),
    [
        ("The rivers are:", BlockKind.LIST, items),
        ("**Prefetch the models:**", BlockKind.CODE, stanzas),
        ("以下の通りです：", BlockKind.TABLE, rows),
        ("A non-uniform table with spans", BlockKind.TABLE, rows),
    ],
)
def test_a_lead_in_stays_with_what_it_announces(lead, kind, write, count):
    begins = write(1)
    for words in range(100, 180, 10):
        chunks = chunk(heading("A"), paragraph(words), say(lead), say(write(count), kind), paragraph(30))
        assert [lead in item.text for item in chunks if begins in item.text] == [True]
        assert sum(lead in "\n".join((*item.heading_path, item.text)) for item in chunks) == 1


def test_a_header_is_never_all_that_a_chunk_has_of_its_table():
    for words in range(100, 180, 10):
        chunks = chunk(heading("A"), paragraph(words), say(rows(80), BlockKind.TABLE))
        headed = [item.text for item in chunks if "| name |" in item.text]
        assert headed
        assert all("| r" in text for text in headed)


@pytest.mark.parametrize(
    ("lead", "kind"),
    [("A sentence.", BlockKind.TABLE), ("A sentence", BlockKind.LIST), ("Why? (So.)", BlockKind.TABLE)]
    + [("word " * 70 + "ends:", kind) for kind in (BlockKind.LIST, BlockKind.TABLE)],
)
def test_other_paragraphs_are_no_lead_ins(lead, kind):
    assert not leads_in(f"{lead}\n\n", BlockKind.PARAGRAPH, kind)
    assert not leads_in("So:", BlockKind.PARAGRAPH, BlockKind.PARAGRAPH)
    assert not leads_in("- so:", BlockKind.LIST, BlockKind.LIST)
