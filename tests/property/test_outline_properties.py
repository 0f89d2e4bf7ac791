"""Blocks come back from their text and outline, and nothing else is taken for them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.chunking.outlines import blocks_of, outline_of
from indexer.parsers.blocks import Block, BlockKind
from rag.stores.checksums import RowDamaged

blocks = st.lists(
    st.builds(
        Block,
        text=st.text(max_size=30),
        kind=st.sampled_from(BlockKind),
        level=st.integers(0, 9),
        heading=st.text(max_size=10),
        page=st.none() | st.integers(1, 9999),
        header=st.none() | st.text(max_size=10),
        caption=st.text(max_size=10),
    ),
    max_size=20,
)


@settings(deadline=None)
@given(found=blocks, parts=st.integers(1, 5), piece=st.integers(1, 50))
def test_blocks_come_back_however_their_text_is_stored(found, parts, piece):
    text = "".join(block.text for block in found)
    outlines = [outline_of(found[start : start + parts]) for start in range(0, len(found), parts)]
    pieces = [text[start : start + piece] for start in range(0, len(text), piece)]
    assert list(blocks_of(outlines, pieces)) == found


def test_no_blocks_have_no_outline():
    assert outline_of([]) == b""


@pytest.mark.parametrize("text", ["", "a riv", "a river and a sea"])
def test_an_outline_of_another_text_is_damage(text):
    outline = outline_of([Block(text="a "), Block(text="river")])
    with pytest.raises(RowDamaged):
        list(blocks_of([outline], [text]))


@pytest.mark.parametrize("part", [b"", b"nothing", zlib.compress(b"nothing"), zlib.compress(b"\x91\x91\x01")])
def test_what_is_no_outline_is_damage(part):
    with pytest.raises(RowDamaged):
        list(blocks_of([part], ["text"]))
