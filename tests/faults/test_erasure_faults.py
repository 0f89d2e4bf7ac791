"""Erasing whatever the engine is doing: idle, draining, closing, dead, or with a tree that fails."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from rag.errors import GenerationFailed
from rag.inference.engine_parts import Erasure
from rag.inference.generator import LlamaGenerator
from rag.inference.kv.stored_states import stored_states
from rag.model_types import Gone, Prompt, Segment, SegmentKind
from tests.integration.solo import endless, held, load, say
from tests.unit.kv_books import check_accounts, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSAGES = {
    number: f"The tower of town {number} is {300 + number} metres high and stands alone.\n\n" for number in (1, 2)
}
FIRST = Gone(ids=frozenset({1}))


def prompt(*chunks: int) -> Prompt:
    passages = [Segment(kind=SegmentKind.PASSAGE, text=PASSAGES[chunk], chunk_id=chunk) for chunk in chunks]
    opening = Segment(kind=SegmentKind.PREFIX, text="You answer from passages, and you are a guide to towers.")
    return Prompt(segments=(opening, *passages, Segment(kind=SegmentKind.QUESTION, text="How high is it?")))


@pytest.fixture
def generator(smollm_path: Path, tmp_path: Path) -> Iterator[LlamaGenerator]:
    generator = load(
        smollm_path,
        context_tokens=512,
        sha256="ab" * 32,
        kv_ram_bytes=1 << 26,
        kv_disk_bytes=1 << 28,
        snapshot_directory=tmp_path / "kv",
    )
    yield generator
    generator.close()


def in_tree(generator: LlamaGenerator) -> set[int]:
    return {chunk for node in nodes(generator.engine._tree) for chunk in node.chunks}


def on_disk(folder: Path) -> set[int | None]:
    return {chunk for state in stored_states(folder / "kv") for chunk in state.chunks or (None,)}


async def test_an_idle_and_a_draining_engine_erase(generator: LlamaGenerator, tmp_path: Path) -> None:
    await say(generator, prompt(1))
    await say(generator, prompt(2))
    assert in_tree(generator) == {1, 2}
    await asyncio.to_thread(generator.erase, FIRST)
    assert in_tree(generator) == {2}
    check_accounts(generator.engine._tree)
    await generator.drain()
    await asyncio.to_thread(generator.erase, Gone(ids=frozenset({2})))
    assert in_tree(generator) == set()
    generator.close()
    assert {state.chunks for state in stored_states(tmp_path / "kv")} <= {frozenset()}


async def test_what_is_asked_of_an_engine_on_its_way_out_is_done(
    generator: LlamaGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(generator, prompt(1))
    await say(generator, prompt(2))
    engine, asked = generator.engine, threading.Event()
    put = engine._inbox.put

    def note(item: object) -> None:
        put(item)  # type: ignore[arg-type]
        if isinstance(item, Erasure):
            asked.set()

    with held(generator) as stands:
        answering = asyncio.create_task(say(generator, prompt(2, 1), endless(50)))
        await asyncio.to_thread(stands.wait)
        engine._closing = True  # as close() does first; what is asked for now is found by the thread at its end
        monkeypatch.setattr(
            engine, "_inbox", SimpleNamespace(put=note, get=engine._inbox.get, empty=engine._inbox.empty)
        )
        erasing = asyncio.create_task(asyncio.to_thread(generator.erase, FIRST))
        await asyncio.to_thread(asked.wait)
    await erasing
    await asyncio.to_thread(generator.close)
    assert (await answering).finish == "cancelled"
    assert 1 not in on_disk(tmp_path)
    assert 2 in on_disk(tmp_path)


async def test_a_closed_engine_erases_what_it_wrote_at_its_end(generator: LlamaGenerator, tmp_path: Path) -> None:
    await say(generator, prompt(1))
    await say(generator, prompt(2))
    generator.close()
    assert {1, 2} <= on_disk(tmp_path)
    generator.erase(FIRST)
    assert 1 not in on_disk(tmp_path)
    assert 2 in on_disk(tmp_path)


async def test_a_dead_engine_erases_too(
    generator: LlamaGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(generator, prompt(1))
    await say(generator, prompt(2))
    generator.engine._tree.cells.set_aside()
    monkeypatch.setattr("threading.excepthook", lambda args: None)

    def die() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(generator.engine, "_admit", die)
    with pytest.raises(GenerationFailed, match="died"):
        await say(generator, prompt(2))
    generator.erase(FIRST)
    assert 1 not in on_disk(tmp_path)


async def test_a_tree_that_fails_to_erase_is_emptied_and_asked_again(
    generator: LlamaGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(generator, prompt(1))
    with monkeypatch.context() as patch:
        patch.setattr(generator.engine._tree.cells, "forget", lambda node: 1 / 0)
        with pytest.raises(GenerationFailed, match="ZeroDivisionError"):
            await asyncio.to_thread(generator.erase, FIRST)
    await asyncio.to_thread(generator.erase, FIRST)
    assert in_tree(generator) == set()
    assert (await say(generator, prompt(1))).usage.completion_tokens > 0
    assert in_tree(generator) == set(), "it is gone, and this request came late"
