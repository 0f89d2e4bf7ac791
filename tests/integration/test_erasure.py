"""What was deleted is nowhere in a model's state: not in its memory, not on disk, not after a restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rag.config import Settings
from rag.factory import Library, open_library
from rag.generation.prompts import answer_prompt
from rag.model_types import SamplingParams
from rag.retrieval.parents import parents_of
from rag.types import Passage, Scores
from tests.contracts.store_builders import chunk_ids, fingerprint, ingest
from tests.integration.solo import held
from tests.unit.kv_books import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rag.inference.generator import LlamaGenerator

TOWER = "The tower of Quillmere was finished in 1889 by the mason Orla Vance, and is 330 metres high in the wind."
BRIDGE = "The bridge of Hexby was opened in 1931. Its span is 503 metres, and it carries eight lanes and two tracks."


@pytest.fixture
def settings(tmp_path: Path, models_dir: Path, smollm_path: Path) -> Settings:
    assert smollm_path.is_file()
    return Settings(
        home=tmp_path / "home",
        models_dir=models_dir,
        generator="smollm2-135m-instruct",
        threads=1,
        context_tokens=1024,
        speculation=False,
        _env_file=None,
    )


@pytest.fixture
def opened(settings: Settings) -> Iterator[Callable[[], Library]]:
    made: list[Library] = []

    def build() -> Library:
        made.append(open_library(settings))
        return made[-1]

    yield build
    for library in made:
        library.close()


@pytest.fixture
def library(opened: Callable[[], Library]) -> Library:
    """With two documents; nothing is embedded, as no test searches."""
    library = opened()
    target = library.store.ensure_collection("default", fingerprint())
    ingest(library.store, target, "/tower.txt", [TOWER], title="Towers")
    ingest(library.store, target, "/bridge.txt", [BRIDGE], title="Bridges")
    return library


def passages(library: Library) -> dict[str, Passage]:
    target = library.store.collection("default")
    found = library.store.hydrate(target, chunk_ids(library.store, target))
    return {
        document.uri: Passage(chunk=chunk, document=document, scores=Scores(fused=1.0)) for chunk, document in found
    }


async def ask(library: Library, *found: Passage, deterministic: bool = False) -> int:
    """How many tokens of the prompt were at hand."""
    params = SamplingParams(max_tokens=4, deterministic=deterministic)
    prompt = answer_prompt("How high is it?", found)
    chunks = [chunk async for chunk in library.generator.stream(prompt, params)]
    assert chunks[-1].usage is not None
    return chunks[-1].usage.cached_tokens


def words_of(library: Library, text: str) -> bytes:
    """A part of a passage as a file of state or a node holds it."""
    generator: LlamaGenerator = library.generator  # type: ignore[assignment]
    return generator._vocabulary.encode_text(text)[4:14].tobytes()


def holding(library: Library, words: bytes) -> list[str]:
    """Where they are: nodes of the tree, the deterministic lane, states in RAM, files."""
    engine = library.generator.engine  # type: ignore[attr-defined]
    found = [f"node {node.start}" for node in nodes(engine._tree) if words in node.tokens.tobytes()]
    if engine._lane._sequence is not None and words in engine._lane._sequence._tokens.tobytes():
        found.append("lane")
    store = engine._tree.cells.snapshots
    found += [f"ram {held.snapshot.start}" for held in store._ram.values() if words in held.snapshot.tokens.tobytes()]
    return found + files_with(library.settings, words)


def files_with(settings: Settings, words: bytes) -> list[str]:
    kv = settings.home / "kv"
    return [str(path) for path in kv.rglob("*") if path.is_file() and words in path.read_bytes()]


def indexer(settings: Settings, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own."""
    run = f"import sys; {before}\nfrom indexer.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "RAG_HOME": str(settings.home), "RAG_MODELS_DIR": str(settings.models_dir)}
    return subprocess.run(  # for a test
        [sys.executable, "-c", run, *arguments], env=environment, capture_output=True, text=True, check=False
    )


async def test_a_document_deleted_by_another_process_leaves_memory_and_disk(
    library: Library, opened: Callable[[], Library], settings: Settings
) -> None:
    found = passages(library)
    tower, bridge = found["/tower.txt"], found["/bridge.txt"]
    await ask(library, tower, bridge)
    await ask(library, bridge)
    await ask(library, tower, deterministic=True)
    library.generator.engine._tree.cells.set_aside()  # type: ignore[attr-defined]
    library.generator.engine._tree.cells.snapshots.flush()  # type: ignore[attr-defined]
    gone, kept = words_of(library, TOWER), words_of(library, BRIDGE)
    places = " ".join(holding(library, gone))
    assert all(place in places for place in ("node", "lane", "ram", ".kv")), places

    done = await asyncio.to_thread(indexer, settings, "delete", "/tower.txt", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["model_state"]
    assert told["confirmed"] == [os.getpid()]
    assert told["unconfirmed"] == []
    assert holding(library, gone) == []
    assert library.generator.stats().states_erased > 0
    assert await ask(library, bridge) > 40, "what does not depend on it is still at hand"

    library.close()
    assert files_with(settings, gone) == []
    assert files_with(settings, kept)
    again = opened()
    assert holding(again, gone) == []
    assert await ask(again, bridge) > 40


async def test_a_request_under_way_is_answered_and_leaves_nothing(library: Library, settings: Settings) -> None:
    found = passages(library)
    tower, bridge = found["/tower.txt"], found["/bridge.txt"]
    gone = words_of(library, TOWER)
    with held(library.generator) as stands:  # type: ignore[arg-type]
        asked = [asyncio.create_task(ask(library, tower, bridge)) for _ in range(3)]
        await asyncio.to_thread(stands.wait)
        library.store.delete(library.store.collection("default"), [tower.document.id])
        erasing = asyncio.create_task(asyncio.to_thread(library.erase_deleted))
        await asyncio.sleep(0)
    report = await erasing
    assert report.confirmed == (os.getpid(),)
    await asyncio.gather(*asked)
    assert holding(library, gone) == []
    # One that had found its passages before and comes to the model after.
    await ask(library, tower, bridge)
    await ask(library, tower, deterministic=True)
    assert holding(library, gone) == []
    library.close()
    assert files_with(settings, gone) == []


async def test_what_a_killed_deletion_left_is_removed_by_the_next_start(
    library: Library, opened: Callable[[], Library], settings: Settings
) -> None:
    tower = passages(library)["/tower.txt"]
    await ask(library, tower)
    await ask(library, tower)
    gone = words_of(library, TOWER)
    library.close()
    assert files_with(settings, gone)
    killed = (
        "import os, signal, rag.factory; "
        "rag.factory.Library.erase_deleted = lambda self: os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = await asyncio.to_thread(indexer, settings, "delete", "/tower.txt", before=killed)
    assert done.returncode == -signal.SIGKILL
    assert files_with(settings, gone), "the database has lost it, the files are there"
    again = opened()
    assert again.generator.failure is None
    assert files_with(settings, gone) == []
    assert holding(again, gone) == []


async def test_a_closing_process_writes_nothing_of_what_is_deleted_meanwhile(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = passages(library)["/tower.txt"]
    await ask(library, tower)
    await ask(library, tower)
    gone = words_of(library, TOWER)
    cells, writing, go = library.generator.engine._tree.cells, threading.Event(), threading.Event()  # type: ignore[attr-defined]
    store_all = cells.store_all

    def wait_and_store() -> None:
        writing.set()
        go.wait()
        store_all()

    monkeypatch.setattr(cells, "store_all", wait_and_store)
    closing = asyncio.create_task(asyncio.to_thread(library.generator.close))
    await asyncio.to_thread(writing.wait)
    library.store.delete(library.store.collection("default"), [tower.document.id])
    erasing = asyncio.create_task(asyncio.to_thread(library.erase_deleted))
    go.set()
    report = await erasing
    await closing
    assert report.confirmed == (os.getpid(),)
    assert files_with(settings, gone) == []


def test_deleting_where_no_model_is_loaded_loads_none(library: Library, settings: Settings) -> None:
    library.close()
    heavy = "import atexit; atexit.register(lambda: print([m for m in ('torch', 'llama_cpp') if m in sys.modules]))"
    done = indexer(settings, "delete", "/bridge.txt", before=heavy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    assert not (settings.home / "kv").exists()


async def test_a_neighbour_that_a_passage_was_widened_to_is_erased_with_its_document(library: Library) -> None:
    target = library.store.collection("default")
    ingest(library.store, target, "/mill.txt", ["The mill has two wheels. ", TOWER], title="Mills")
    mill = next(found for uri, found in passages(library).items() if uri == "/mill.txt")
    first = replace(mill, chunk=library.store.neighbours(target, [mill.chunk.id], 1)[0].chunks[0])
    (parent,) = parents_of(library.store, target, [first], most_tokens=1000)
    assert TOWER in parent.passage.chunk.text
    await ask(library, parent.passage)
    words = library.generator._vocabulary.encode_text(" Quillmere was finished in 1889")[1:].tobytes()  # type: ignore[attr-defined]
    assert holding(library, words)
    library.store.delete(target, [mill.document.id])
    library.erase_deleted()
    assert holding(library, words) == []
