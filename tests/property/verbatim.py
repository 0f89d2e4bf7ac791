"""What holds of the chunks of any blocks: they are slices of the text, and say where in it they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.chunking.chunker import chunk_blocks
from indexer.parsers.blocks import MAX_BLOCK_CHARS, BlockKind, one_line
from rag.embedding.context import contextual_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.parsers.blocks import Block
    from rag.protocols import Embedder
    from rag.types import ChunkDraft

# What a table adds to the path of its rows: its caption and its header.
_TABLE_CONTEXTS = 2


def require_verbatim(blocks: Sequence[Block], embedder: Embedder, *, title: str = "t") -> list[ChunkDraft]:
    """Chunk the blocks and check every chunk against them; returns the chunks."""
    text = "".join(block.text for block in blocks)
    text.encode()  # it can be stored
    assert "\x00" not in text
    assert all(len(block.text) <= MAX_BLOCK_CHARS for block in blocks)
    chunks = list(chunk_blocks(blocks, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens, title=title))
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert bool(chunks) == bool(text.strip())
    places = _places(blocks)
    end = 0
    for chunk in chunks:
        assert chunk.text == text[chunk.span.start : chunk.span.end]
        assert chunk.text == chunk.text.strip() != ""
        assert end <= chunk.span.start < chunk.span.end <= len(text)
        end = chunk.span.end
        _require_place(chunk, [place for place in places if place.overlaps(chunk)])
        in_context = contextual_text(title, chunk.heading_path, chunk.text)
        counts = embedder.count_tokens([chunk.text, in_context])
        assert counts[0] == chunk.token_count
        assert counts[1] <= embedder.max_tokens
    return chunks


class _Place:
    """A block, where it stands in the text, and the headings above it, the outermost first."""

    def __init__(self, block: Block, start: int, headings: tuple[str, ...]) -> None:
        self.block = block
        self.start = start
        self.headings = headings

    def overlaps(self, chunk: ChunkDraft) -> bool:
        start, end = max(self.start, chunk.span.start), min(self.start + len(self.block.text), chunk.span.end)
        return bool(chunk.text[start - chunk.span.start : end - chunk.span.start].strip()) if start < end else False


def _places(blocks: Sequence[Block]) -> list[_Place]:
    places: list[_Place] = []
    start, above = 0, []
    for block in blocks:
        if block.kind is BlockKind.HEADING:
            above = [(level, heading) for level, heading in above if level < block.level]
            above += [(block.level, block.heading)] if block.heading else []
        places.append(_Place(block, start, tuple(heading for _level, heading in above)))
        start += len(block.text)
    return places


def _require_place(chunk: ChunkDraft, places: list[_Place]) -> None:
    assert chunk.page == places[0].block.page
    assert all(chunk.heading_path)
    body = [place for place in places if place.block.kind is not BlockKind.HEADING]
    if not body:
        return
    assert len({place.headings for place in body}) == 1
    headings = body[0].headings
    code = [place.block for place in body if place.block.kind is BlockKind.CODE]
    names = ", ".join(dict.fromkeys(block.heading for block in code if block.heading))
    if names and chunk.heading_path[-1:] == (names,) and _is_end_of(chunk.heading_path[:-1], headings):
        return  # what the code defines stands below its headings
    more = _TABLE_CONTEXTS if any(place.block.kind is BlockKind.TABLE for place in body) else 0
    bases = (chunk.heading_path[: len(chunk.heading_path) - count] for count in range(more + 1))
    assert any(_is_end_of(base, headings) for base in bases), (chunk.heading_path, headings)


def _is_end_of(path: tuple[str, ...], headings: tuple[str, ...]) -> bool:
    """Whether a path is the innermost headings, each whole or cut short."""
    if len(path) > len(headings) or bool(path) != bool(headings):
        return False
    pairs = zip(path, headings[len(headings) - len(path) :], strict=True)
    return all(said == own or one_line(own).startswith(said.removesuffix("…").strip()) for said, own in pairs)
