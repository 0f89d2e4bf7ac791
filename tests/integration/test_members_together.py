"""What archives and mails hold is embedded with all that waits; each is stored, told and lost as if it were alone."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from indexer import embedding_group
from indexer.members import Budget
from indexer.report import Outcome, Watcher
from indexer.sources import SourcePath
from indexer.spooling import Spool
from rag.errors import EmbedderChanged, SourceTooLarge
from tests.integration.ingesting import Ingesting, StopsAfter, ingesting
from tests.integration.test_ingest_together import Counting
from tests.unit.mails import mail, zipped


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_group, "_LONGEST_WAIT_S", 60)
    with ingesting(tmp_path / "home", embedder=Counting()) as opened:
        yield opened


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def texts(count: int, kind: str = "Lake") -> dict[str, str]:
    return {f"{number}.txt": f"{kind} number {number} is deep.\n" for number in range(count)}


def stored(library: Ingesting) -> list[str]:
    return sorted(short(document.uri) for document in library.documents())


def short(uri: str) -> str:
    return uri.partition("/docs/")[2]


class Telling(Watcher):
    """``at`` is done when a source of this name is begun."""

    def __init__(self, name="", at=lambda: None):
        self._name, self._at = name, at
        self.told: list[str] = []
        self.set = False

    def started(self, uri):
        if Path(uri).name == self._name:
            self._at()

    def finished(self, result):
        self.told.append(short(result.uri))

    def stop(self):
        return self.set


def test_members_and_files_are_one_batch(library: Ingesting, docs):
    (docs / "a.zip").write_bytes(zipped({**texts(5), "in.zip": zipped(texts(3, "River"))}))
    (docs / "b.txt").write_text("Seas are salty.\n")
    assert library.ingest(docs).ingested == 11
    assert library.embedder.batches == [9]
    for chunk, document in library.chunks():
        assert Path(document.uri).stem in {"b", *chunk.text.split()}


def test_so_are_the_mails_of_a_mailbox_and_what_is_attached_to_them(library: Ingesting, docs):
    letters = [mail(f"Rivers {n}", f"River {n} runs.\n", notes_txt=f"Water {n}.".encode()) for n in range(3)]
    marked = [b"From - Mon May 04 10:00:00 2020\n" + letter.as_bytes() + b"\n" for letter in letters]
    (docs / "Inbox").write_bytes(b"".join(marked))
    assert library.ingest(docs).ingested == 7
    assert library.embedder.batches == [6]


def test_members_are_told_in_their_order_and_before_what_holds_them(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    (docs / "a.txt").write_text("Seas are salty.\n")
    held = {"0.mp3": b"ID3\x04" + bytes(40), "in.zip": zipped(texts(2, "River")), **texts(4)}
    (docs / "b.zip").write_bytes(zipped(held))
    (docs / "c.txt").write_text("Seas are wide.\n")
    watcher = Telling()
    report = library.ingest(docs, watcher=watcher)
    within = ["0.mp3", "in.zip!/0.txt", "in.zip!/1.txt", "in.zip", *texts(4)]
    assert watcher.told == ["a.txt", *(f"b.zip!/{name}" for name in within), "b.zip", "c.txt"]
    assert [short(result.uri) for result in report.results] == watcher.told
    assert library.embedder.batches == [3, 3, 2]


def test_members_do_not_wait_on_disk(library: Ingesting, docs, monkeypatch):
    make, counts, opened = Spool.file, [], set()

    @contextmanager
    def file(spool):
        with make(spool) as spooled:
            opened.add(spooled)
            counts.append(len(opened))
            yield spooled
        opened.remove(spooled)

    monkeypatch.setattr(Spool, "file", file)
    (docs / "a.zip").write_bytes(zipped({**texts(5), "in.zip": zipped(texts(5, "River"))}))
    assert library.ingest(docs).ingested == 12
    assert (library.embedder.batches, max(counts), opened) == ([10], 2, set())


def test_an_archive_becomes_a_document_after_all_that_it_holds(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 4)
    (docs / "a.zip").write_bytes(zipped({"in.zip": zipped(texts(3, "River")), **texts(3)}))
    embed, found = library.embedder.embed_passages, []

    def failing(texts):
        if library.embedder.batches:
            raise RuntimeError("the power went")
        return embed(texts)

    with monkeypatch.context() as patched:
        patched.setattr(library.embedder, "embed_passages", failing)
        with pytest.raises(RuntimeError, match="power"):
            library.ingest(docs)
    found = stored(library)
    assert "a.zip" not in found
    embedded = library.embedder.texts_embedded
    report = library.ingest(docs)
    assert (report.ingested, report.unchanged) == (8 - len(found), len(found))
    assert library.embedder.texts_embedded == embedded + 6 - len([name for name in found if name.endswith("txt")])
    assert library.ingest(docs).results[0].outcome is Outcome.UNCHANGED


def test_what_waits_is_dropped_with_its_archive_when_the_run_is_stopped(library: Ingesting, docs):
    (docs / "a.zip").write_bytes(zipped({"in.zip": zipped(texts(3, "River")), **texts(5)}))
    (docs / "b.txt").write_text("Seas are salty.\n")
    watcher = Telling("3.txt", lambda: setattr(watcher, "set", True))
    report = library.ingest(docs, watcher=watcher)
    assert (watcher.told, report.skipped, library.embedder.batches) == ([], 2, [])
    assert library.ingest(docs).ingested == 11


def test_what_is_being_embedded_is_finished_though_its_archive_is_not(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 3)
    (docs / "a.zip").write_bytes(zipped(texts(5)))
    watcher = Telling("4.txt", lambda: setattr(watcher, "set", True))
    report = library.ingest(docs, watcher=watcher)
    assert (watcher.told, report.skipped) == ([f"a.zip!/{number}.txt" for number in range(3)], 1)
    again = library.ingest(docs)
    assert [result.outcome for result in again.results] == [*[Outcome.UNCHANGED] * 3, *[Outcome.INGESTED] * 3]
    assert [short(result.uri) for result in again.results] == [*(f"a.zip!/{name}" for name in texts(5)), "a.zip"]


def test_an_archive_all_of_which_is_being_embedded_is_finished_when_the_run_is_stopped(library: Ingesting, docs):
    (docs / "a.zip").write_bytes(zipped({"in.zip": zipped(texts(3, "River")), **texts(3)}))
    (docs / "m.eml").write_bytes(mail(notes_txt=b"Dig here.").as_bytes())
    report = library.ingest(docs, watcher=StopsAfter(1))
    assert (report.ingested, report.skipped) == (10, 0)


def test_an_archive_that_cannot_be_read_to_its_end_keeps_what_waited(library: Ingesting, docs):
    library.max_members = 6
    (docs / "a.zip").write_bytes(zipped({**texts(2), "in.zip": zipped(texts(3, "River")), "last.txt": "Seas."}))
    (docs / "b.txt").write_text("Seas are salty.\n")
    watcher = Telling()
    report = library.ingest(docs, watcher=watcher)
    assert [failure.code for failure in report.failed] == ["source_too_large"]
    members = ["0.txt", "1.txt", "in.zip!/0.txt", "in.zip!/1.txt", "in.zip!/2.txt", "in.zip"]
    assert watcher.told == [*(f"a.zip!/{name}" for name in members), "a.zip", "b.txt"]
    assert stored(library) == [*(f"a.zip!/{name}" for name in sorted(members)), "b.txt"]
    assert library.embedder.batches == [6]


@pytest.fixture
def breaking(monkeypatch):
    """At the third member that a source hands over, ``breaking[0]`` is done once, and the source is refused."""
    begin, at, begun = Budget.begin, [lambda: None], []

    def broken(budget):
        begun.append(budget)
        if len(begun) == 3:
            at[0]()
            raise SourceTooLarge("It is too large.", hint="None.")
        begin(budget)

    monkeypatch.setattr(Budget, "begin", broken)
    return at


def test_a_mail_that_cannot_be_read_to_its_end_is_given_up_while_its_text_waits(
    library: Ingesting, docs, breaking, monkeypatch
):
    crashed = []
    monkeypatch.setattr("indexer.mishaps._log", SimpleNamespace(exception=lambda *told, **_: crashed.append(told)))
    (docs / "m.eml").write_bytes(mail(a_txt=b"Lakes.", b_txt=b"Seas.", c_txt=b"Ponds.").as_bytes())
    report = library.ingest(docs)
    assert [(short(failure.uri), failure.code) for failure in report.failed] == [("m.eml", "source_too_large")]
    assert (stored(library), crashed) == (["m.eml!/a.txt", "m.eml!/b.txt"], [])
    assert library.ingest(docs).ingested == 2


def test_an_archive_that_changes_while_its_members_wait_is_read_again(library: Ingesting, docs):
    (docs / "a.zip").write_bytes(zipped(texts(3)))
    (docs / "b.txt").write_text("Seas are salty.\n")
    changing = Telling("b.txt", lambda: (docs / "a.zip").write_bytes(zipped(texts(4, "River"))))
    assert library.ingest(docs, watcher=changing).failed == []
    assert len(stored(library)) == 6
    assert sum("River" in chunk.text for chunk, _ in library.chunks()) == 4


def test_an_archive_that_fails_as_it_changes_is_read_again(library: Ingesting, docs, breaking):
    """Its first members still wait then, under the addresses that come again."""
    (docs / "a.zip").write_bytes(zipped(texts(5)))
    breaking[0] = lambda: (docs / "a.zip").write_bytes(zipped(texts(4, "River")))
    assert library.ingest(docs).failed == []
    assert stored(library) == ["a.zip", *(f"a.zip!/{number}.txt" for number in range(4))]
    assert sum("River" in chunk.text for chunk, _ in library.chunks()) == 4


def test_an_archive_whose_collection_is_embedded_anew_is_read_again(library: Ingesting, docs, monkeypatch):
    activate, tried = library.store.activate, []

    def anew(ready):
        tried.append(len(ready))
        if len(tried) == 1:
            raise EmbedderChanged("Embedded anew.", hint="Ingest it again.")
        return activate(ready)

    (docs / "a.zip").write_bytes(zipped({"in.zip": zipped(texts(2, "River")), **texts(3)}))
    monkeypatch.setattr(library.store, "activate", anew)
    watcher = Telling()
    report = library.ingest(docs, watcher=watcher)
    assert (report.failed, report.ingested, len(watcher.told)) == ([], 7, 7)
    assert watcher.told[-1] == "a.zip"


def test_an_archive_that_comes_twice_is_there_as_the_last_has_it(library: Ingesting, docs, monkeypatch):
    (docs / "1.zip").write_bytes(zipped(texts(3)))
    (docs / "2.zip").write_bytes(zipped(texts(2, "River")))
    uploads = [SourcePath(path=docs / name, address="upload:a.zip") for name in ("1.zip", "2.zip")]
    monkeypatch.setattr("indexer.pipeline.expand", lambda _paths: uploads)
    assert library.ingest(docs).failed == []
    assert sorted(chunk.text for chunk, _ in library.chunks()) == [text.strip() for text in texts(2, "River").values()]
    assert len(library.documents()) == 3


def test_a_mistake_that_shows_on_one_member_costs_none_of_the_others(library: Ingesting, docs, monkeypatch):
    def mistaken(text):
        if "number 1" in text:
            raise ValueError("1 is no number")

    (docs / "a.zip").write_bytes(zipped(texts(3)))
    with monkeypatch.context() as patched:
        patched.setattr("rag.stores.writing.chunk_rows.flaw_of", mistaken)
        report = library.ingest(docs)
    assert [(short(failure.uri), failure.code) for failure in report.failed] == [("a.zip!/1.txt", "source_crashed")]
    assert stored(library) == ["a.zip", "a.zip!/0.txt", "a.zip!/2.txt"]
    report = library.ingest(docs)
    assert (report.ingested, report.replaced, report.unchanged) == (1, 1, 2)


def test_a_mistake_that_shows_on_the_text_of_a_mail_costs_the_mail(library: Ingesting, docs, monkeypatch):
    embed = library.embedder.embed_passages

    def broken(texts):
        vectors = embed(texts)
        vectors[["Rivers" in text for text in texts]] = float("nan")
        return vectors

    (docs / "m.eml").write_bytes(mail("Water", "Rivers run down.\n", notes_txt=b"Dig here.").as_bytes())
    monkeypatch.setattr(library.embedder, "embed_passages", broken)
    report = library.ingest(docs)
    assert [(short(failure.uri), failure.code) for failure in report.failed] == [("m.eml", "source_crashed")]
    assert stored(library) == ["m.eml!/notes.txt"]


def test_a_mail_whose_attachment_fails_again_stays_as_it_is(library: Ingesting, docs):
    (docs / "m.eml").write_bytes(mail(notes_txt=b"Dig here.", a_mp3=b"ID3\x04" + bytes(40)).as_bytes())
    library.ingest(docs)
    before, embedded = library.chunks(), library.embedder.texts_embedded
    seq = library.store.collection("default").seq
    report = library.ingest(docs)
    assert [result.outcome for result in report.results] == [Outcome.UNCHANGED, Outcome.FAILED, Outcome.UNCHANGED]
    assert (library.chunks(), library.embedder.texts_embedded) == (before, embedded)
    assert library.store.collection("default").seq == seq


def test_the_time_of_an_archive_is_that_of_all_that_it_holds(library: Ingesting, docs):
    (docs / "a.zip").write_bytes(zipped({"in.zip": zipped(texts(2, "River")), **texts(3)}))
    seconds = {short(result.uri): result.seconds for result in library.ingest(docs).results}
    inner = sum(taken for uri, taken in seconds.items() if uri.startswith("a.zip!/in.zip!/"))
    outer = sum(taken for uri, taken in seconds.items() if uri.startswith("a.zip!/") and uri.count("!/") == 1)
    assert 0 < inner < seconds["a.zip!/in.zip"]
    assert outer < seconds["a.zip"]
