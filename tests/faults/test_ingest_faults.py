"""Faults of a whole ingestion: misbehaving parsers, huge files, a second ingest, a directory that cannot be written."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from indexer.parsers.registry import PARSERS
from indexer.report import Watcher
from rag.config import Settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import DatabaseDamaged, DataDirectoryUnwritable, IngestInProgress
from rag.factory import open_library
from rag.stores.collections.ingest_lock import IngestLock
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.language import language_of
from tests.faults import hostile_parsers
from tests.integration.ingesting import ingesting

SENTENCE = "Rivers carry water, sand and stones from the mountains to the sea. "


class CountingEmbedder(HashingEmbedder):
    """Vectors without work: these tests are about memory."""

    def embed_passages(self, texts):
        self.texts_embedded += len(texts)
        vectors = super().embed_passages(texts[:1])
        return vectors.repeat(len(texts), axis=0)


def test_a_parser_fault_costs_one_document(tmp_path):
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text("hang" if name == "b.txt" else SENTENCE)
    registry = {**PARSERS, "text/plain": f"{hostile_parsers.HERE}:hangs_when_told"}
    with ingesting(tmp_path / "home", parsers=registry, timeout_s=3) as library:
        report = library.ingest(tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt")
        assert [(Path(f.uri).name, f.code) for f in report.failed] == [("b.txt", "parser_timeout")]
        assert len(library.documents()) == 2


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE document_versions SET title = 'Other' WHERE document_id = 2",
        "UPDATE document_versions SET created_at = 'yesterday' WHERE document_id = 2",
        "UPDATE document_versions SET metadata = '{' WHERE document_id = 2",
        "UPDATE document_versions SET title = CAST(x'ff' || title AS TEXT) WHERE document_id = 2",
        "UPDATE document_versions SET status = 'actjve' WHERE document_id = 2",
        "UPDATE document_versions SET retired_at = created_at WHERE status = 'retired'",
    ],
)
def test_a_damaged_row_costs_its_document_alone(tmp_path, damage):
    files = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt", "d.txt")]
    for file in files[:3]:
        file.write_text(SENTENCE)
    with ingesting(tmp_path / "home") as library:
        library.store = SqlDocumentStore(library.store._database, retention=timedelta(days=30))
        library.ingest(*files[:3])
        files[2].write_text(f"{SENTENCE} One more.")
        library.ingest(files[2])
        with closing(sqlite3.connect(tmp_path / "home" / "plumbline.db")) as connection, connection:
            assert connection.execute(damage).rowcount == 1
        for file in files:
            file.write_text(f"{SENTENCE} And something new.")
        report = library.ingest(*files)
        failed = ["b.txt"] if "document_id = 2" in damage else []
        assert [(Path(each.uri).name, each.code) for each in report.failed] == [
            (name, "database_damaged") for name in failed
        ]
        assert all(each.hint for each in report.failed)
        assert (report.ingested, report.replaced) == (1, 3 - len(failed))


def test_a_damaged_collection_ends_the_run(tmp_path):
    files = [tmp_path / name for name in ("a.txt", "b.txt")]
    for file in files:
        file.write_text(SENTENCE)

    class Damaging(Watcher):
        def finished(self, result):
            with closing(sqlite3.connect(tmp_path / "home" / "plumbline.db")) as connection, connection:
                connection.execute("UPDATE collections SET embedder = 'other'")
                connection.execute("UPDATE document_versions SET title = 'Other'")

    with ingesting(tmp_path / "home") as library:
        library.ingest(*files)
        with pytest.raises(DatabaseDamaged, match="collection"):
            library.ingest(*files, watcher=Damaging())


@pytest.mark.parametrize(
    ("parser", "code"),
    [("segfaults", "parser_crashed"), ("raises", "parser_crashed"), ("takes_all_memory", "parser_out_of_memory")],
)
def test_a_fault_in_the_middle_leaves_nothing_of_the_file(tmp_path, parser, code):
    (tmp_path / "a.txt").write_text(SENTENCE)
    registry = {**PARSERS, "text/plain": f"{hostile_parsers.HERE}:{parser}"}
    with ingesting(tmp_path / "home", parsers=registry, memory_bytes=1 << 28) as library:
        assert [failure.code for failure in library.ingest(tmp_path / "a.txt").failed] == [code]
        assert library.store.collections() == []


def write_text(path: Path, size: int) -> None:
    paragraph = (SENTENCE * 6 + "\n\n").encode()
    with path.open("wb") as file:
        for _ in range(size // len(paragraph)):
            file.write(paragraph)


def peak_of_ingesting(tmp_path: Path, size: int) -> tuple[int, int]:
    """Peak bytes of Python memory while a text of this size is taken in, and the chunks that came of it."""
    path = tmp_path / f"{size}.txt"
    write_text(path, size)
    assert language_of(SENTENCE * 9)  # what it loads stays, and is the same for all texts
    with ingesting(tmp_path / f"home-{size}", embedder=CountingEmbedder()) as library:
        tracemalloc.start()
        try:
            report = library.ingest(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    path.unlink()
    assert report.failed == []
    return peak, report.chunks


@pytest.mark.timeout(600)
def test_memory_is_bounded_for_a_long_text(tmp_path):
    peak, chunks = peak_of_ingesting(tmp_path, 5_000_000)
    assert chunks > 5000
    assert peak < 24 << 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_bounded_for_a_text_of_200_megabytes(tmp_path):
    peak, chunks = peak_of_ingesting(tmp_path, 200_000_000)
    assert chunks > 200_000
    assert peak < 32 << 20


def test_a_second_ingest_into_a_collection_is_refused(tmp_path):
    with IngestLock(tmp_path, "default"):
        with pytest.raises(IngestInProgress, match=str(os.getpid())), IngestLock(tmp_path, "default"):
            pass
        with IngestLock(tmp_path, "other"):
            pass


def test_a_data_directory_that_cannot_be_made_is_an_error_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataDirectoryUnwritable):
        open_library(Settings(home=tmp_path / "file" / "home", _env_file=None))
