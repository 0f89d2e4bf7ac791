"""Whatever the blocks, chunks are slices of their joined text, in order, within the limit, and lose no word."""

from __future__ import annotations

from itertools import chain

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.chunking.chunker import chunk_blocks
from indexer.parsers.blocks import Block, BlockKind, short_caption
from rag.embedding.context import contextual_text
from rag.embedding.fake import HashingEmbedder
from rag.generation.sentences import sentence_cuts

_alphabet = st.sampled_from(list("aBé日.!? ,;|-#*1\n\t\u00a0\u2028\u3000😀()\"'`"))
_words = st.lists(
    st.sampled_from(["Alpha", "beta.", "gamma,", "3.5", "Dr.", "日本語", "|", "-", "\n", "\n\n", "x" * 120])
)
_texts = st.one_of(st.text(_alphabet, max_size=200), st.text(max_size=80), _words.map(" ".join))
_long_texts = st.tuples(_texts, st.integers(1, 30)).map(lambda pair: pair[0] * pair[1])
_body = st.builds(
    Block,
    text=_long_texts.map(lambda text: f"{text}\n\n"),
    kind=st.sampled_from([kind for kind in BlockKind if kind is not BlockKind.HEADING]),
    page=st.none() | st.integers(1, 9),
)
_rows = st.lists(st.lists(_words.map(" ".join), min_size=2, max_size=3).map(" | ".join), min_size=1, max_size=40)
# A table in one piece or two, below or above its caption, or next to one that is not its own.
_captioned = st.builds(
    lambda caption, rows, own, header, below: [
        *([] if below else [Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION)]),
        *(
            Block(
                text="\n".join(piece) + "\n", kind=BlockKind.TABLE, header=header, caption=short_caption(own or caption)
            )
            for piece in (rows[:20], rows[20:])
        ),
        *([Block(text=f"{caption}\n\n", kind=BlockKind.CAPTION)] if below else []),
    ],
    _long_texts,
    _rows,
    st.sampled_from(["", "", "Another"]),
    st.none() | st.just("a | b"),
    st.booleans(),
)
_title = st.text(_alphabet.filter(lambda c: not c.isspace()), min_size=1, max_size=60)
_heading = st.builds(
    lambda title, level: Block(text=f"{title}\n\n", kind=BlockKind.HEADING, level=level, heading=title),
    _title,
    st.integers(1, 6),
)

_short_heading = _heading.filter(lambda block: len(block.heading) < 12)


@settings(max_examples=120, deadline=None)
@given(
    blocks=st.lists(
        st.one_of(*[each.map(lambda block: [block]) for each in (_body, _body, _heading)], _captioned), max_size=10
    ).map(lambda groups: list(chain.from_iterable(groups))),
    max_tokens=st.sampled_from([32, 64, 256, 512]),
    title=st.sampled_from(["", "Title", "A title of some words"]),
)
def test_chunks_are_faithful(blocks: list[Block], max_tokens: int, title: str) -> None:
    embedder = HashingEmbedder(max_tokens=max_tokens)
    source = "".join(block.text for block in blocks)
    chunks = list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=max_tokens, title=title))

    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    position = 0
    covered = bytearray(len(source))
    for chunk in chunks:
        assert chunk.text == source[chunk.span.start : chunk.span.end]
        assert chunk.text.strip() == chunk.text != ""
        assert chunk.span.start >= position
        position = chunk.span.end
        covered[chunk.span.start : chunk.span.end] = b"\x01" * len(chunk.text)
        context = contextual_text(title, chunk.heading_path, chunk.text)
        assert embedder.count_tokens([context])[0] <= max_tokens
    _require_every_word(blocks, source, covered)


def _require_every_word(blocks: list[Block], source: str, covered: bytearray) -> None:
    """Body text is in chunks; a heading is, too, or stands in the path of the text below it."""
    offset = 0
    for block in blocks:
        end = offset + len(block.text)
        if block.kind is not BlockKind.HEADING:
            lost = [source[i] for i in range(offset, end) if not covered[i] and not source[i].isspace()]
            assert lost == []
        offset = end


_SIBLINGS = [Block(text=f"{title}\n\n", kind=BlockKind.HEADING, level=1, heading=title) for title in ("a", "a..a")]


@settings(max_examples=80, deadline=None)
@given(blocks=st.lists(st.one_of(_body, _short_heading), max_size=10))
# Of a header that is longer than a chunk two pieces fit one, but not beside the headings.
@example(blocks=[*_SIBLINGS, Block(text="0:\x080\x08\x080:0:0:" * 18 + "\n\n", kind=BlockKind.TABLE)])
def test_a_chunk_has_more_than_headings_wherever_the_source_has(blocks: list[Block]) -> None:
    embedder = HashingEmbedder(max_tokens=512)
    chunks = list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=512))
    body = bytearray()
    for block in blocks:
        written = block.kind is not BlockKind.HEADING
        body += bytes(written and not character.isspace() for character in block.text)
    if not any(body):
        return
    # A long row of headings without text fills chunks of its own: nothing else is near enough to join.
    alone = [chunk for chunk in chunks if not any(body[chunk.span.start : chunk.span.end])]
    assert sum(chunk.token_count for chunk in alone) == 0 or _longest_run_of_headings(blocks) > 3


def _longest_run_of_headings(blocks: list[Block]) -> int:
    longest = run = 0
    for block in blocks:
        if block.kind is BlockKind.HEADING:
            run += 1
        elif block.text.strip():
            run = 0
        longest = max(longest, run)
    return longest


@settings(max_examples=300, deadline=None)
@given(_texts)
def test_sentence_cuts_lie_within_the_text(text: str) -> None:
    cuts = list(sentence_cuts(text))
    assert cuts == sorted(cuts)
    assert not cuts or cuts[-1] == len(text)
