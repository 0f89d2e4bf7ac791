"""What is embedded already is not embedded again: counted by the fake embedder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import Engine, event, select, update

from indexer.report import Outcome
from rag.embedding.fake import HashingEmbedder
from rag.stores.embeddings.embedding_sets import find
from rag.stores.embeddings.reembedding import vectors_of
from rag.stores.tables import ChunkRow, EmbeddingRow, SetState
from tests.integration.ingesting import Ingesting, ingesting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEXT = "# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n\n## Ice\n\nIt freezes in winter.\n"


@pytest.fixture
def library(tmp_path) -> Iterator[Ingesting]:
    with ingesting(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def rivers(tmp_path) -> Path:
    path = tmp_path / "rivers.md"
    path.write_text(_TEXT)
    return path


def _stored(library: Ingesting, collection: str = "default") -> dict[str, np.ndarray]:
    """The embedding of each active chunk by its text."""
    target = library.store.collection(collection)
    database = library.store._database
    with database.read() as connection:
        live = find(connection, target, SetState.LIVE)
    chunks = {chunk.id: chunk.text for chunk, _ in library.chunks(collection)}
    return {chunks[key]: vector for key, vector in vectors_of(database, live, list(chunks)).items()}


def test_a_file_that_was_moved_or_copied_costs_nothing(library, rivers) -> None:
    library.ingest(rivers)
    first, before = library.embedder.texts_embedded, _stored(library)
    assert first == len(before) == 3
    moved = rivers.rename(rivers.with_name("moved.md"))
    report = library.ingest(moved)
    assert (report.ingested, report.chunks) == (1, 3)
    assert library.embedder.texts_embedded == first
    for text, vector in _stored(library).items():
        np.testing.assert_array_equal(vector, before[text])


def test_only_what_changed_is_embedded(library, rivers) -> None:
    library.ingest(rivers)
    library.embedder.texts_embedded = 0
    rivers.write_text(_TEXT.replace("winter", "January"))
    report = library.ingest(rivers)
    assert [result.outcome for result in report.results] == [Outcome.REPLACED]
    assert library.embedder.texts_embedded == 1


def test_a_new_chunker_embeds_only_the_chunks_that_come_out_different(library, rivers, monkeypatch) -> None:
    library.ingest(rivers)
    library.embedder.texts_embedded = 0
    monkeypatch.setattr("indexer.pipeline.CHUNKER_VERSION", "another")
    report = library.ingest(rivers)
    assert [result.outcome for result in report.results] == [Outcome.REPLACED]
    assert library.embedder.texts_embedded == 0


def test_another_collection_of_the_same_embedder_shares(library, rivers) -> None:
    library.ingest(rivers)
    library.embedder.texts_embedded = 0
    library.ingest(rivers, collection="other")
    assert library.embedder.texts_embedded == 0
    for text, vector in _stored(library, "other").items():
        np.testing.assert_array_equal(vector, _stored(library)[text])


def test_another_embedder_shares_nothing(library, rivers) -> None:
    library.ingest(rivers)
    library.embedder = HashingEmbedder(name="another")
    library.ingest(rivers, collection="other")
    assert library.embedder.texts_embedded == 3


def test_the_same_text_under_another_heading_is_another_text(library, tmp_path) -> None:
    (tmp_path / "a.md").write_text("# One\n\nThe same words.\n")
    (tmp_path / "b.md").write_text("# Two\n\nThe same words.\n")
    library.ingest(tmp_path / "a.md", tmp_path / "b.md")
    assert library.embedder.texts_embedded == 2


@pytest.mark.parametrize("at_a_time", [512, 4])
def test_a_text_that_stands_twice_in_a_document_is_embedded_once(library, tmp_path, monkeypatch, at_a_time) -> None:
    monkeypatch.setattr("indexer.filling._FLUSH_CHUNKS", at_a_time)
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", at_a_time)
    path = tmp_path / "twice.md"
    path.write_text("# Log\n\n" + "\n".join(f"## Day\n\n{'Nothing happened at all. ' * 60}\n" for _ in range(4)))
    report = library.ingest(path)
    assert library.embedder.texts_embedded < report.chunks
    texts = {(chunk.heading_path, chunk.text) for chunk, _ in library.chunks()}
    assert library.embedder.texts_embedded == len(texts)


def test_a_damaged_embedding_does_not_spread(library, rivers) -> None:
    library.ingest(rivers)
    database = library.store._database
    with database.write() as connection:
        chunk_id = connection.scalar(select(EmbeddingRow.chunk_id).limit(1))
        vector = bytearray(connection.scalar(select(EmbeddingRow.vector).where(EmbeddingRow.chunk_id == chunk_id)))
        vector[5] ^= 1
        mine = EmbeddingRow.chunk_id == chunk_id
        connection.execute(update(EmbeddingRow).where(mine).values(vector=bytes(vector)))
    library.embedder.texts_embedded = 0
    library.ingest(rivers, collection="other")
    assert library.embedder.texts_embedded == 1


def test_nothing_is_found_of_a_document_that_left(library, rivers) -> None:
    """This store keeps no former versions: what is deleted, or purged where they are kept, is gone from here too."""
    document = library.ingest(rivers).results[0].document_id
    target = library.store.collection("default")
    with library.store._database.read() as connection:
        digests = list(connection.scalars(select(ChunkRow.embedded_sha256)))
    known = {"embedder": library.embedder.identity, "dimension": library.embedder.dimension}
    assert set(library.store.known_vectors(digests, **known)) == set(digests)
    assert library.store.delete(target, [document]) == 1
    assert library.store.known_vectors(digests, **known) == {}
    library.embedder.texts_embedded = 0
    library.ingest(rivers)
    assert library.embedder.texts_embedded == 3


def test_many_digests(library, rivers) -> None:
    library.ingest(rivers)
    with library.store._database.read() as connection:
        digests = list(connection.scalars(select(ChunkRow.embedded_sha256)))
    unknown = [hashlib.sha256(str(number).encode()).digest() for number in range(1200)]
    found = library.store.known_vectors(
        [*unknown[:700], *digests, *unknown[700:]],
        embedder=library.embedder.identity,
        dimension=library.embedder.dimension,
    )
    assert set(found) == set(digests)


def test_a_text_is_found_by_the_index(library, rivers) -> None:
    """Not by reading every chunk of the store."""
    library.ingest(rivers)
    seen = []
    database = library.store._database

    def note(_connection, _cursor, statement, parameters, *_rest) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    with database.read() as connection:
        known = connection.scalars(select(ChunkRow.embedded_sha256)).first()
    library.store.known_vectors([b"\0" * 32, known], embedder="e@1", dimension=64)
    event.remove(Engine, "before_cursor_execute", note)
    # Whether there is any like it, of all at once, and which it is, of those that there are.
    asked = [item for item in seen if "embedded_sha256 =" in item[0]]
    assert len(asked) == 2
    for statement, parameters in asked:
        with database.read() as connection:
            plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert any("ix_chunks_embedded_sha256" in step for step in plan), plan
        # What is read through is what is asked about.
        scans = [step for step in plan if step.startswith("SCAN")]
        assert all("VIRTUAL TABLE" in step for step in scans), plan


def test_a_text_that_stands_everywhere_takes_no_longer_to_be_found(library, tmp_path) -> None:
    """Nor to be counted: what a document shares with others is looked for only until there are enough of them."""

    def work_of_finding_it(files: range) -> int:
        for number in files:
            text = f"# Rights\n\nAll rights are reserved.\n\n## Part {number}\n\nThis is part {number}.\n"
            (tmp_path / f"{number}.md").write_text(text)
            library.ingest(tmp_path / f"{number}.md")
        store, embedder = library.store, library.embedder
        collection, document = store.collection("default"), library.documents()[0]
        with store._database.read() as connection:
            shared = connection.scalar(
                select(ChunkRow.embedded_sha256).where(ChunkRow.text == "All rights are reserved.")
            )
            driver = connection.connection.driver_connection
        steps: list[int] = []
        driver.set_progress_handler(lambda: steps.append(1), 10)  # every ten instructions
        found = store.known_vectors([shared], embedder=embedder.identity, dimension=embedder.dimension)
        [quality] = store.qualities(collection, [document.id])
        driver.set_progress_handler(None, 0)
        assert (list(found), quality.duplicates, quality.boilerplate) == ([shared], 1, 1)
        return len(steps)

    few = work_of_finding_it(range(15))
    assert work_of_finding_it(range(15, 90)) <= 1.2 * few
