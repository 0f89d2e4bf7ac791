"""Small documents are embedded together; each is taken in, told and lost as if it had been alone."""

from __future__ import annotations

import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, select

from indexer import embedding_group
from indexer.pipeline import fingerprint_of
from indexer.report import Outcome, Watcher
from indexer.sources import SourcePath
from rag.embedding.fake import HashingEmbedder
from rag.errors import DatabaseBusy, DiskFull, EmbedderChanged
from rag.stores.tables import VersionRow
from rag.stores.versions.retirement import prune
from tests.integration.ingesting import Ingesting, ingesting


class Counting(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.loads = 0

    def load(self) -> None:
        self.loads += 1

    def embed_passages(self, texts):
        self.batches.append(len(texts))
        return super().embed_passages(texts)


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_group, "_LONGEST_WAIT_S", 60)
    with ingesting(tmp_path / "home", embedder=Counting()) as opened:
        yield opened


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"Water number {number} runs down.\n")
    return folder


def versions(library: Ingesting) -> int:
    with library.store._database.read() as connection:
        return len(connection.execute(VersionRow.__table__.select()).all())


def embedding_waits_for(name: str, library: Ingesting, monkeypatch) -> Watcher:
    """Nothing is embedded before a source of this name is begun."""
    begun = threading.Event()
    embed = library.embedder.embed_passages

    def waiting(texts):
        assert begun.wait(timeout=30)
        return embed(texts)

    class Reading(Watcher):
        def started(self, uri):
            if Path(uri).name == name:
                begun.set()

    monkeypatch.setattr(library.embedder, "embed_passages", waiting)
    return Reading()


def test_the_embedder_is_loaded_while_the_first_file_is_read_that_it_is_needed_for(library: Ingesting, docs):
    library.ingest(docs)
    assert library.embedder.loads == 1
    (docs / "0.txt").touch()
    library.ingest(docs)
    assert library.embedder.loads == 1
    (docs / "5.txt").write_text("Water number 5 runs up.\n")
    library.ingest(docs)
    assert library.embedder.loads == 2


def test_many_small_documents_are_one_batch(library: Ingesting, docs):
    assert library.ingest(docs).ingested == 10
    assert library.embedder.batches == [10]
    for chunk, document in library.chunks():
        assert Path(document.uri).stem in chunk.text.split()


def test_a_batch_is_full_at_some_time(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_ENOUGH_PASSAGES", 4)
    monkeypatch.setattr(embedding_group, "_SOME_PASSAGES", 4)
    assert library.ingest(docs).ingested == 10
    assert library.embedder.batches == [4, 4, 2]


def test_an_embedder_without_work_begins_with_a_few(library: Ingesting, docs, monkeypatch):
    """And while it works, the others gather."""
    monkeypatch.setattr(embedding_group, "_SOME_PASSAGES", 3)
    reading = embedding_waits_for("nothing.txt", library, monkeypatch)
    assert library.ingest(docs, docs / "nothing.txt", watcher=reading).ingested == 10
    assert library.embedder.batches == [3, 7]


def test_the_embedder_is_loaded_while_what_is_new_is_read(library: Ingesting, docs, monkeypatch):
    loads, begun = [], threading.Event()

    class Reading(Watcher):
        def started(self, uri):
            if Path(uri).name == "9.txt":
                begun.set()

    monkeypatch.setattr(library.embedder, "load", lambda: loads.append(begun.wait(timeout=30)))
    assert library.ingest(docs, watcher=Reading()).ingested == 10
    assert loads == [True]
    assert library.ingest(docs).unchanged == 10
    assert loads == [True]


def test_of_a_long_document_too_a_few_are_embedded_at_first(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 2)
    for path in docs.iterdir():
        path.unlink()
    (docs / "long.txt").write_text(long_text(600))
    library.ingest(docs)
    chunks = len(library.chunks())
    assert chunks > 20
    assert library.embedder.batches[0] == 2
    assert sum(library.embedder.batches) == chunks


def test_open_files_are_few(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    library.ingest(docs)
    assert library.embedder.batches == [3, 3, 3, 1]


def test_none_waits_long(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_LONGEST_WAIT_S", 0)
    library.ingest(docs)
    assert library.embedder.batches == [1] * 10


def test_a_long_document_does_not_wait_and_its_end_does(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr("indexer.filling._FLUSH_CHUNKS", 4)
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 4)
    (docs / "1.txt").write_text("".join(f"Sentence {number} tells of much water.\n\n" * 30 for number in range(10)))
    report = library.ingest(docs)
    (chunks,) = [result.chunks for result in report.results if Path(result.uri).name == "1.txt"]
    assert chunks > 8
    assert library.embedder.batches[:-1] == [4] * (chunks // 4)
    assert library.embedder.batches[-1] == chunks % 4 + 9


def test_results_come_in_the_order_of_the_sources(library: Ingesting, docs):
    library.ingest(docs / "3.txt")
    (docs / "5.txt").write_bytes(b"")
    told = []

    class Listening(Watcher):
        def finished(self, result):
            told.append((Path(result.uri).stem, result.outcome))

    report = library.ingest(docs, watcher=Listening())
    wanted = dict.fromkeys("0123456789", Outcome.INGESTED) | {"3": Outcome.UNCHANGED, "5": Outcome.FAILED}
    assert told == list(wanted.items())
    assert [Path(result.uri).stem for result in report.results] == list(wanted)
    assert all(0 < result.seconds < report.seconds for result in report.results if result.outcome != "unchanged")


def test_an_address_that_comes_twice_is_one_document_as_the_last_has_it(library: Ingesting, docs, monkeypatch):
    uploads = [SourcePath(path=docs / name, address="upload:a.txt") for name in ("1.txt", "1.txt", "2.txt")]
    monkeypatch.setattr("indexer.pipeline.expand", lambda _paths: uploads)
    report = library.ingest(docs)
    assert [result.outcome for result in report.results] == [Outcome.REPLACED]
    ((chunk, _),) = library.chunks()
    assert "number 2" in chunk.text


def test_texts_that_stand_in_many_documents_are_embedded_once(library: Ingesting, docs):
    for number in range(10):
        (docs / f"{number}.txt").unlink()
        (docs / str(number)).mkdir()
        (docs / str(number) / "same.txt").write_text("Water runs down.\n")
    assert library.ingest(docs).ingested == 10
    assert library.embedder.batches == [1]


def test_texts_of_the_group_before_are_known_before_they_are_stored(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 5)
    for name in ("5", "6"):
        (docs / f"{name}.txt").unlink()
        (docs / name).mkdir()
        (docs / name / "4.txt").write_bytes((docs / "4.txt").read_bytes())
    library.ingest(docs)
    assert library.embedder.batches == [5, 3]


def test_the_next_group_is_read_while_one_is_embedded(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    reading = embedding_waits_for("4.txt", library, monkeypatch)
    assert library.ingest(docs, watcher=reading).ingested == 10
    assert library.embedder.batches == [3, 3, 3, 1]


def test_one_group_is_stored_while_the_next_is_embedded(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    stored = threading.Event()
    embed = library.embedder.embed_passages

    def waiting(texts):
        assert not library.embedder.batches or stored.wait(timeout=30)
        return embed(texts)

    class Storing(Watcher):
        def finished(self, result):
            stored.set()

    monkeypatch.setattr(library.embedder, "embed_passages", waiting)
    assert library.ingest(docs, watcher=Storing()).ingested == 10


class Quick(ThreadPoolExecutor):
    """What is submitted is done at once."""

    def submit(self, *arguments):
        future = super().submit(*arguments)
        future.exception(timeout=30)
        return future


class Late:
    """A clock that jumps when ``late`` is said to it."""

    def __init__(self):
        self.late = False

    def monotonic(self):
        return time.monotonic() + 1000 * self.late


@pytest.fixture
def clock(monkeypatch) -> Late:
    monkeypatch.setattr(embedding_group, "ThreadPoolExecutor", Quick)
    monkeypatch.setattr("indexer.filling._FLUSH_CHUNKS", 4)
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 4)
    monkeypatch.setattr(embedding_group, "time", late := Late())
    return late


class LateInTheLongOne(Watcher):
    """Small ones have waited long when the long one begins; ``stored`` tells how many were when parts of it were."""

    def __init__(self, library: Ingesting, clock: Late):
        self._library, self._clock = library, clock
        self.told: list[str] = []
        self.stored: list[int] = []

    def started(self, uri):
        self._clock.late = self._clock.late or Path(uri).name.startswith("long")

    def embedded(self, chunks):
        if chunks == 4:
            self.stored.append(len(self._library.documents()))

    def finished(self, result):
        self.told.append(Path(result.uri).stem)


def long_text(paragraphs: int = 3000) -> str:
    return "".join(f"Sentence {number} tells of much water that runs.\n\n" for number in range(paragraphs))


def test_none_waits_for_the_end_of_a_long_one(library: Ingesting, docs, clock):
    (docs / "long.txt").write_text(long_text())
    watcher = LateInTheLongOne(library, clock)
    report = library.ingest(docs, watcher=watcher)
    assert (report.ingested, watcher.stored[-1]) == (11, 10)
    assert library.embedder.batches[:2] != [4, 4]
    assert watcher.told == [*"0123456789", "long"]
    assert [Path(result.uri).stem for result in report.results] == watcher.told
    assert sum(result.seconds for result in report.results) < report.seconds


def test_none_waits_for_the_end_of_an_archive(library: Ingesting, docs, clock):
    with zipfile.ZipFile(docs / "long.zip", "w") as archive:
        for number in range(5):
            archive.writestr(f"in{number}.txt", f"Member {number} tells of water.\n")
    watcher = LateInTheLongOne(library, clock)
    assert library.ingest(docs, watcher=watcher).ingested == 16
    assert watcher.told.index("9") < watcher.told.index("in4")


def test_the_time_spent_on_others_is_not_that_of_a_member(library: Ingesting, docs, clock, monkeypatch):
    with zipfile.ZipFile(docs / "long.zip", "w") as archive:
        archive.writestr("in.txt", "A member tells of water.\n")
        archive.writestr("long.txt", long_text())
    watcher, spent, monotonic = LateInTheLongOne(library, clock), [0], time.monotonic

    def embedded(chunks):
        spent[0] += 1000 * (chunks == 1)  # one of the small ones is stored

    watcher.embedded = embedded
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + spent[0])
    report = library.ingest(docs, watcher=watcher)
    seconds = {Path(result.uri).name: result.seconds for result in report.results}
    assert (spent, report.ingested) == ([11_000], 13)
    assert (seconds["0.txt"] // 1000, seconds["in.txt"] // 1000, seconds["long.txt"] // 1000) == (1, 1, 0)
    assert watcher.told.index("9") < watcher.told.index("long")


def test_one_that_has_to_be_read_again_is_read_after_the_long_one(library: Ingesting, docs, clock):
    (docs / "long.txt").write_text(long_text())
    watcher = LateInTheLongOne(library, clock)

    def started(uri):
        LateInTheLongOne.started(watcher, uri)
        if clock.late:
            (docs / "2.txt").write_text("Water stands, and is much longer now.\n")

    watcher.started = started
    assert library.ingest(docs, watcher=watcher).ingested == 11
    assert (watcher.stored[-1], watcher.told) == (9, [*"0123456789", "long"])
    found = [chunk.text for chunk, document in library.chunks() if document.uri.endswith("/2.txt")]
    assert found == ["Water stands, and is much longer now."]
    read = "".join(chunk.text for chunk, document in library.chunks() if document.uri.endswith("/long.txt"))
    assert read.count("Sentence") == 3000


def test_an_error_while_the_long_one_is_read_leaves_nothing_of_it(library: Ingesting, docs, clock, monkeypatch):
    monkeypatch.setattr("rag.stores.writing.staging._HELD_CHUNKS", 4)
    (docs / "long.txt").write_text(long_text())
    watcher = LateInTheLongOne(library, clock)

    def embedded(chunks):
        if len(watcher.told) == 10:
            raise RuntimeError("the disk went")

    watcher.embedded = embedded
    with pytest.raises(RuntimeError, match="disk"):
        library.ingest(docs, watcher=watcher)
    assert (watcher.told, versions(library)) == ([*"0123456789"], 10)


def statements_of(library: Ingesting, docs: Path, numbers: range) -> tuple[int, int]:
    """Transactions that write, and statements, of ingesting new files."""
    begun, asked = [], []
    folder = docs / str(numbers)
    folder.mkdir()
    for number in numbers:
        (folder / f"{number}.txt").write_text(f"Fire number {number} burns.\n")
    engine = library.store._database._engine
    listeners = (
        ("before_cursor_execute", lambda *call: asked.append(call[2])),
        ("commit", lambda connection: begun.append(library.store._database.changes_of(connection))),
    )
    for name, listener in listeners:
        event.listen(engine, name, listener)
    assert library.ingest(folder).ingested == len(numbers)
    for name, listener in listeners:
        event.remove(engine, name, listener)
    return len(set(begun)), len(asked)


def test_a_group_is_written_by_as_many_statements_as_one(library: Ingesting, docs):
    """Of each of them it is asked whether it is stored as it is."""
    statements_of(library, docs, range(100, 102))
    few, many = statements_of(library, docs, range(10)), statements_of(library, docs, range(10, 40))
    assert few[0] == many[0]
    assert many[1] - few[1] == 20


def test_one_that_cannot_be_stored_costs_none_of_its_group(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr("rag.stores.writing.staging._HELD_CHUNKS", 4)
    monkeypatch.setattr("indexer.filling._FLUSH_CHUNKS", 4)
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 4)
    (docs / "4.txt").write_text(long_text(300))

    class Purging(Watcher):
        """What is on disk of the long one goes while it waits, as with a purge."""

        def started(self, uri):
            if uri.endswith("/5.txt"):
                with library.store._database.read() as connection:
                    ids = connection.scalars(select(VersionRow.id).where(VersionRow.status == "staged")).all()
                assert len(ids) == 1
                prune(library.store._database, ids)

    report = library.ingest(docs, watcher=Purging())
    outcomes = {Path(result.uri).stem: result.outcome for result in report.results}
    assert outcomes == dict.fromkeys("0123456789", Outcome.INGESTED) | {"4": Outcome.FAILED}
    assert [failure.code for failure in report.failed] == ["source_purged"]
    assert sorted(Path(document.uri).stem for document in library.documents()) == [*"012356789"]
    assert versions(library) == 9


def test_storing_a_group_is_time_of_each(library: Ingesting, docs, monkeypatch):
    activate, monotonic, spent = library.store.activate, time.monotonic, [0]

    def slow(ready):
        spent[0] += 1000
        return activate(ready)

    monkeypatch.setattr(library.store, "activate", slow)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + spent[0])
    report = library.ingest(docs)
    assert [result.seconds // 100 for result in report.results] == [1] * 10


def test_what_is_embedded_does_not_wait_for_the_next_group_to_be_full(library: Ingesting, docs, monkeypatch):
    told, told_before = [], {}

    class Listening(Watcher):
        def started(self, uri):
            told_before[Path(uri).stem] = len(told)

        def finished(self, result):
            told.append(result.uri)

    monkeypatch.setattr(embedding_group, "ThreadPoolExecutor", Quick)
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    library.ingest(docs, watcher=Listening())
    assert (told_before["3"], told_before["4"]) == (0, 3)


def test_a_file_that_changes_while_it_waits_is_read_again(library: Ingesting, docs):
    class Changing(Watcher):
        def started(self, uri):
            if uri.endswith("/7.txt"):
                (docs / "2.txt").write_text("Water stands, and is much longer now.\n")

    report = library.ingest(docs, watcher=Changing())
    assert report.ingested == 10
    assert any("stands" in chunk.text for chunk, _ in library.chunks())
    assert library.embedder.batches == [10, 1]


class Stopping(Watcher):
    """Asks to stop when ``set`` or when a source of this name is begun."""

    def __init__(self, at: str = "") -> None:
        self.at, self.set = at, False
        self.told: list[str] = []

    def started(self, uri):
        self.set |= Path(uri).name == self.at

    def finished(self, result):
        self.told.append(Path(result.uri).name)

    def stop(self):
        return self.set


def stop_while_embedding(library, watcher, monkeypatch, after=None):
    embed = library.embedder.embed_passages

    def stopping(texts):
        assert after is None or after.wait(20)
        watcher.set = True
        return embed(texts)

    monkeypatch.setattr(library.embedder, "embed_passages", stopping)


def test_what_is_not_being_embedded_is_dropped_when_the_run_is_stopped(library: Ingesting, docs):
    report = library.ingest(docs, watcher=Stopping("4.txt"))
    assert (report.results, report.skipped) == ([], 10)
    assert (library.embedder.batches, versions(library)) == ([], 0)
    assert library.ingest(docs).ingested == 10


def test_what_is_being_embedded_is_finished_when_the_run_is_stopped(library: Ingesting, docs, monkeypatch):
    """However much was read meanwhile."""
    read = threading.Event()

    class Reading(Stopping):
        def started(self, uri):
            if uri.endswith("/5.txt"):
                read.set()

    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    watcher = Reading()
    stop_while_embedding(library, watcher, monkeypatch, after=read)
    report = library.ingest(docs, watcher=watcher)
    assert (report.ingested, report.skipped) == (3, 7)
    assert (library.embedder.batches, versions(library)) == ([3], 3)
    assert library.ingest(docs).ingested == 7


def test_a_long_one_some_of_which_is_embedded_is_finished_when_the_run_is_stopped(
    library: Ingesting, docs, monkeypatch
):
    monkeypatch.setattr("indexer.filling._FLUSH_CHUNKS", 4)
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 4)
    (docs / "1.txt").write_text(long_text())
    watcher = Stopping()
    stop_while_embedding(library, watcher, monkeypatch)
    report = library.ingest(docs, watcher=watcher)
    assert (watcher.told, report.skipped) == (["1.txt"], 9)
    assert library.ingest(docs).ingested == 9


def test_what_came_to_its_result_behind_what_is_dropped_is_told(library: Ingesting, docs):
    watcher = Stopping("2.txt")
    report = library.ingest(docs / "0.txt", docs / "nothing.txt", docs / "1.txt", docs / "2.txt", watcher=watcher)
    assert (watcher.told, report.skipped) == (["nothing.txt"], 3)


def test_an_interruption_does_not_wait_for_what_is_being_embedded(library: Ingesting, docs, monkeypatch):
    released, waited = threading.Event(), []

    def held(texts):
        waited.append(released.wait(20))
        return HashingEmbedder().embed_passages(texts)

    class Interrupting(Watcher):
        def started(self, uri):
            if uri.endswith("/4.txt"):
                raise KeyboardInterrupt

    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    monkeypatch.setattr(library.embedder, "embed_passages", held)
    with pytest.raises(KeyboardInterrupt):
        library.ingest(docs, watcher=Interrupting())
    assert (waited, versions(library)) == ([], 0)
    released.set()


def test_an_error_of_the_model_leaves_nothing_half_done(library: Ingesting, docs, monkeypatch):
    def broken(_texts):
        raise RuntimeError("the power went")

    with monkeypatch.context() as failing:
        failing.setattr(library.embedder, "embed_passages", broken)
        with pytest.raises(RuntimeError, match="power"):
            library.ingest(docs)
    assert (library.documents(), versions(library)) == ([], 0)
    assert library.ingest(docs).ingested == 10


def test_what_was_finished_before_an_error_is_told_and_kept(library: Ingesting, docs, monkeypatch):
    told = []

    class Failing(Watcher):
        def embedded(self, chunks):
            if len(told) == 3:
                raise RuntimeError("the disk went")

        def finished(self, result):
            told.append(Path(result.uri).stem)

    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    with pytest.raises(RuntimeError, match="disk"):
        library.ingest(docs, watcher=Failing())
    assert told == ["0", "1", "2"]
    assert sorted(Path(document.uri).stem for document in library.documents()) == told
    assert versions(library) == 3


def test_a_mistake_that_shows_on_one_costs_none_of_its_group(library: Ingesting, docs, monkeypatch):
    def mistaken(text):
        if "number 4" in text:
            raise ValueError("4 is no number")

    monkeypatch.setattr("rag.stores.writing.chunk_rows.flaw_of", mistaken)
    report = library.ingest(docs)
    assert [failure.code for failure in report.failed] == ["source_crashed"]
    assert sorted(Path(document.uri).stem for document in library.documents()) == [*"012356789"]


def test_what_cannot_be_counted_of_one_costs_none_of_its_group(library: Ingesting, docs, monkeypatch):
    qualities = library.store.qualities

    def mistaken(collection, ids, **options):
        if any(library.store.document(collection, each).uri.endswith("/4.txt") for each in ids):
            raise ValueError("4 is no number")
        return qualities(collection, ids, **options)

    monkeypatch.setattr(library.store, "qualities", mistaken)
    report = library.ingest(docs)
    assert [failure.code for failure in report.failed] == ["source_crashed"]
    assert (report.ingested, versions(library)) == (9, 10)


def test_what_is_wrong_for_all_is_not_tried_for_each(library: Ingesting, docs, monkeypatch):
    tried = []

    def busy(ready):
        tried.append(len(ready))
        raise DatabaseBusy("Somebody writes.", hint="Wait.")

    monkeypatch.setattr(library.store, "activate", busy)
    with pytest.raises(DatabaseBusy):
        library.ingest(docs)
    assert (tried, versions(library)) == ([10], 0)


@pytest.mark.parametrize("at_first", [1, 64])
def test_one_that_is_ready_again_when_all_are_read_is_stored_and_told(library: Ingesting, docs, monkeypatch, at_first):
    """Nothing of it is left to be embedded when it is read, the second time at least."""
    monkeypatch.setattr("indexer.filling._SOME_CHUNKS", at_first)
    activate, tried = library.store.activate, []

    def anew(ready):
        tried.append(len(ready))
        if len(tried) == 1:
            monkeypatch.setattr("indexer.filling._SOME_CHUNKS", 1)
            raise EmbedderChanged("Embedded anew.", hint="Ingest it again.")
        return activate(ready)

    monkeypatch.setattr(library.store, "activate", anew)
    report = library.ingest(docs / "4.txt")
    assert (report.ingested, len(library.documents()), tried) == (1, 1, [1, 1])


def test_a_group_is_stored_once_though_what_it_replaces_cannot_be_deleted(library: Ingesting, docs, monkeypatch):
    library.ingest(docs)
    before = library.store.collection("default").seq
    for path in docs.iterdir():
        path.write_text(f"{path.read_text()}And up again.\n")

    def full(_database, version_ids):
        if version_ids:
            raise DiskFull("The disk is full.", hint="Make room.")

    monkeypatch.setattr("rag.stores.versions.retirement._BATCH", 2)  # the rest is deleted after the change
    monkeypatch.setattr("rag.stores.writing.staging.prune", full)
    with pytest.raises(DiskFull):
        library.ingest(docs)
    assert library.store.collection("default").seq == before + 1
    assert all("up again" in chunk.text for chunk, _ in library.chunks())


@pytest.mark.parametrize("retention", [timedelta(0), timedelta(days=30)])
def test_what_is_deleted_while_it_waits_does_not_come_back(library: Ingesting, docs, retention):
    """Be it that its versions are kept, or that all of it is gone."""
    library.store.ensure_collection("default", fingerprint_of(library.embedder))
    library.store.set_retention(library.store.collection("default"), retention.days)
    library.ingest(docs)
    for path in docs.iterdir():
        path.write_text(f"Fire in {path.name} burns.\n")
    collection = library.store.collection("default")
    deleted = library.store.document_by_uri(collection, str(docs / "3.txt"))

    class Deleting(Watcher):
        def started(self, uri):
            if uri.endswith("/7.txt"):
                assert library.store.delete(collection, [deleted.id]) == 1

    report = library.ingest(docs, watcher=Deleting())
    assert (report.replaced, [failure.code for failure in report.failed]) == (9, ["source_purged"])
    assert sorted(Path(document.uri).stem for document in library.documents()) == [*"012456789"]
    assert library.ingest(docs).ingested == 1
