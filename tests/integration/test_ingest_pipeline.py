import io
import os
import zipfile
from pathlib import Path

import pypdfium2
import pytest
import structlog

from indexer import embedding_group
from indexer.parsers.ocr import ocr_installed
from indexer.report import Outcome, Watcher
from indexer.sources import Source, uri_of
from rag.embedding.fake import HashingEmbedder
from rag.errors import DatabaseBusy, EmbedderChanged, ModelCorrupt
from rag.stores.jobs.blobs import Blobs
from rag.stores.live_vectors import LiveVectors
from rag.stores.removal.purge import purge
from rag.stores.source_moves import move_sources
from rag.stores.writing import staging
from rag.types import Span
from tests.integration.ingesting import Ingesting, StopsAfter, ingesting
from tests.unit.every_format import CASES, Content
from tests.unit.heif_picture import HEIF_PICTURE
from tests.unit.pdf_pages import make_image_pdf, make_pdf

CORPUS = Path(__file__).parents[2] / "examples" / "corpus"


@pytest.fixture
def library(tmp_path):
    with ingesting(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
    (folder / "b.txt").write_text("LAKES\n\nWater stands.\n")
    (folder / "c.html").write_text("<title>Seas | Site</title><p>Water is salty.</p>")
    (folder / "d.pdf").write_bytes(make_pdf([[("Rain", 20), "", "Water falls."], ["It falls again."]], title="On rain"))
    return folder


def outcomes(report) -> dict[str, Outcome]:
    return {Path(result.uri).name: result.outcome for result in report.results}


def test_all_four_formats_are_taken_in(library: Ingesting, docs):
    report = library.ingest(docs)
    assert (report.ingested, report.failed, report.chunks) == (4, [], 5)
    documents = {Path(document.uri).name: document for document in library.documents()}
    assert {name: document.title for name, document in documents.items()} == {
        "a.md": "Rivers",
        "b.txt": "LAKES",
        "c.html": "Seas | Site",
        "d.pdf": "On rain",
    }
    assert documents["d.pdf"].media_type == "application/pdf"
    assert documents["a.md"].uri == (docs.resolve() / "a.md").as_posix()
    chunks = {chunk.text: chunk for chunk, _ in library.chunks()}
    assert chunks["It is slow in the plain."].heading_path == ("Rivers", "Speed")
    assert next(chunk for text, chunk in chunks.items() if "falls" in text).page == 1


def test_chunks_are_verbatim_slices_of_the_stored_text(library: Ingesting):
    report = library.ingest(CORPUS)
    assert report.failed == []
    assert report.chunks > 150
    for chunk, document in library.chunks():
        assert library.store.source_text(document.id, chunk.span) == chunk.text


def test_chunks_of_every_format_are_verbatim_slices_of_what_is_stored(library: Ingesting, tmp_path):
    content = Content(
        sections=[
            ("On rivers", ["Water runs down to the sea.", "It is slow in the plain. " * 30]),
            ("Lakes", ["Deep."]),
        ],
        rows=[["name", "depth"], *([f"lake {n}", f"{n} m"] for n in range(60))],
        caption="Depths of lakes",
    )
    written = {}
    for media_type, case in CASES.items():
        if case.worded or ocr_installed():
            folder = tmp_path / "all" / media_type.replace("/", "_")
            folder.mkdir(parents=True)
            written[media_type] = folder / case.name
            written[media_type].write_bytes(case.file(content) if case.worded else scanned(case.name))
    report = library.ingest(tmp_path / "all")
    assert report.failed == []
    assert written.keys() <= {document.media_type for document in library.documents()}
    of: dict[str, list[str]] = {}
    for chunk, document in library.chunks():
        assert library.store.source_text(document.id, chunk.span) == chunk.text
        of.setdefault(document.uri.partition("!/")[0], []).append(chunk.text)
    for media_type, path in written.items():
        texts = " ".join(" ".join(of[path.resolve().as_posix()]).split())
        assert "Water runs down to the sea." in texts, media_type


def scanned(name: str) -> bytes:
    """A page as an image of the format that a name says."""
    if name.endswith(".heif"):
        return HEIF_PICTURE
    page = pypdfium2.PdfDocument(make_pdf([[("Water runs down to the sea.", 20)]]))[0]
    held = io.BytesIO()
    page.render(scale=1).to_pil().convert("RGB").save(held, Path(name).suffix[1:].upper())
    return held.getvalue()


def test_a_second_run_embeds_nothing(library: Ingesting, docs):
    library.ingest(docs)
    before = library.embedder.texts_embedded
    report = library.ingest(docs)
    assert (report.unchanged, report.chunks, library.embedder.texts_embedded) == (4, 0, before)


def test_a_touched_file_is_read_but_not_embedded(library: Ingesting, docs):
    library.ingest(docs)
    before = library.embedder.texts_embedded
    os.utime(docs / "a.md", ns=(1, 1))
    assert outcomes(library.ingest(docs))["a.md"] is Outcome.UNCHANGED
    assert library.embedder.texts_embedded == before


def test_a_touched_file_that_reads_otherwise_by_its_name_is_read_anew(library: Ingesting, docs):
    library.ingest(docs)
    (docs / "b.txt").rename(docs / "b.md")
    [before] = [document for document in library.documents() if document.uri.endswith("b.txt")]
    collection = library.store.collection("default")
    move_sources(library.store._database, collection, {before.id: (uri_of(docs / "b.md"), 1)})
    assert outcomes(library.ingest(docs))["b.md"] is Outcome.REPLACED
    assert {document.media_type for document in library.documents() if document.id == before.id} == {"text/markdown"}
    os.utime(docs / "b.md", ns=(2, 2))
    assert outcomes(library.ingest(docs))["b.md"] is Outcome.UNCHANGED


def test_a_changed_file_is_replaced_and_only_that(library: Ingesting, docs):
    library.ingest(docs)
    (docs / "b.txt").write_text("LAKES\n\nWater freezes.\n")
    assert outcomes(library.ingest(docs)) == {
        "a.md": Outcome.UNCHANGED,
        "b.txt": Outcome.REPLACED,
        "c.html": Outcome.UNCHANGED,
        "d.pdf": Outcome.UNCHANGED,
    }
    texts = [chunk.text for chunk, _ in library.chunks()]
    assert "Water freezes." in texts
    assert "Water stands." not in texts
    assert len(library.documents()) == 4


def test_a_same_sized_change_with_another_time_is_seen(library: Ingesting, docs):
    library.ingest(docs)
    (docs / "b.txt").write_text("LAKES\n\nWater stinks.\n")
    os.utime(docs / "b.txt", ns=(5, 5))
    assert outcomes(library.ingest(docs))["b.txt"] is Outcome.REPLACED


@pytest.mark.parametrize("constant", ["PARSER_VERSION", "CHUNKER_VERSION"])
def test_a_new_parser_or_chunker_reads_unchanged_files_again(library: Ingesting, docs, monkeypatch, constant):
    library.ingest(docs)
    monkeypatch.setattr(f"indexer.pipeline.{constant}", "another")
    assert set(outcomes(library.ingest(docs)).values()) == {Outcome.REPLACED}
    assert set(outcomes(library.ingest(docs)).values()) == {Outcome.UNCHANGED}


def test_another_embedder_is_refused_before_anything_is_read(tmp_path, docs):
    with ingesting(tmp_path / "home") as library:
        library.ingest(docs)
    with ingesting(tmp_path / "home", embedder=HashingEmbedder(name="other")) as library:
        with pytest.raises(EmbedderChanged) as caught:
            library.ingest(docs)
        assert "indexer reembed" in caught.value.hint
        assert len(library.documents()) == 4
        assert library.embedder.texts_embedded == 0


def test_a_new_chunker_takes_a_collection_over_document_by_document(library: Ingesting, docs, monkeypatch):
    """A run that is stopped goes on: what has new chunks is skipped, and what has not serves its old ones."""

    library.ingest(docs)
    before = {chunk.id for chunk, _ in library.chunks()}
    monkeypatch.setattr("indexer.pipeline.CHUNKER_VERSION", "chunker of tomorrow")
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 1)
    report = library.ingest(docs, watcher=StopsAfter(2))
    replaced = report.replaced
    assert (replaced in {2, 3}, report.skipped) == (True, 4 - replaced)  # the third may have been being embedded
    assert len({document.id for _, document in library.chunks()}) == 4
    assert before & {chunk.id for chunk, _ in library.chunks()}
    report = library.ingest(docs)
    assert (report.unchanged, report.replaced) == (replaced, 4 - replaced)
    assert not before & {chunk.id for chunk, _ in library.chunks()}


def test_collections_are_apart(library: Ingesting, docs):
    library.ingest(docs / "a.md", collection="one")
    library.ingest(docs / "b.txt", collection="two")
    assert [document.title for document in library.documents("one")] == ["Rivers"]
    assert [document.title for document in library.documents("two")] == ["LAKES"]


BAD = {
    "empty.txt": b"",
    "blank.txt": b" \n\n \t\n",
    "comment.md": b"<!-- nothing else -->\n",
    "page.html": b"<html><head><title>x</title></head><body><script>1</script></body></html>",
    "posing.txt": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "letter.docx": b"PK\x03\x04" + bytes(22) + b"word/document.xml" + bytes(50),
    "damaged.pdf": b"%PDF-1.7\n1 0 obj",
    "secret.pdf": make_pdf([["secret"]], encrypted=True),
    "scan.pdf": make_image_pdf(),
}
CODES = {
    "empty.txt": "source_empty",
    "blank.txt": "source_has_no_text",
    "comment.md": "source_has_no_text",
    "page.html": "source_has_no_text",
    "posing.txt": "source_binary",
    "letter.docx": "source_damaged",
    "damaged.pdf": "source_damaged",
    "secret.pdf": "source_encrypted",
    "scan.pdf": "source_has_no_text" if ocr_installed() else "source_needs_ocr",
    "missing.txt": "source_not_found",
    "large.txt": "source_too_large",
    "pipe": "source_unreadable",
}


def test_each_bad_source_fails_with_its_cause_and_the_others_go_on(library: Ingesting, docs):
    for name, content in BAD.items():
        (docs / name).write_bytes(content)
    (docs / "large.txt").write_bytes(b"word " * 2000)
    os.mkfifo(docs / "pipe")
    library.max_file_bytes = 8000
    report, named = library.ingest(docs, docs / "missing.txt"), library.ingest(docs / "pipe")
    failed = [*report.failed, *named.failed]
    assert {Path(failure.uri).name: failure.code for failure in failed} == CODES
    assert report.ingested == 4
    assert all(failure.message and failure.hint for failure in failed)
    assert len(library.documents()) == 4


def test_a_source_that_fails_keeps_its_old_version(library: Ingesting, docs):
    library.ingest(docs)
    for name, content in {"a.md": b"", "b.txt": bytes(100), "d.pdf": b"%PDF-1.4 torn"}.items():
        (docs / name).write_bytes(content)
    (docs / "c.html").unlink()
    report = library.ingest(docs)
    assert {Path(failure.uri).name for failure in report.failed} == {"a.md", "b.txt", "d.pdf"}
    assert len(library.documents()) == 4
    assert "Water stands." in [chunk.text for chunk, _ in library.chunks()]


def test_pages_without_text_are_noted(library: Ingesting, tmp_path):
    (tmp_path / "some.pdf").write_bytes(make_pdf([["Words."], [], ["More words."]]))
    (result,) = library.ingest(tmp_path / "some.pdf").results
    assert result.outcome is Outcome.INGESTED
    assert result.notices == ("1 of 3 pages without text: 2",)


class _Writer(Watcher):
    """Writes to a file while it is read: ``times`` times, once each time its chunks are embedded."""

    def __init__(self, file: Path, times: int) -> None:
        self.file, self.times, self.written = file, times, 0

    def embedded(self, chunks: int) -> None:
        if self.written < self.times:
            self.written += 1
            self.file.write_text(f"Changed text, version {self.written}.")


def test_a_file_that_changes_once_while_it_is_read_is_read_again(library: Ingesting, docs):
    report = library.ingest(docs / "b.txt", watcher=_Writer(docs / "b.txt", times=1))
    assert report.ingested == 1
    assert [chunk.text for chunk, _ in library.chunks()] == ["Changed text, version 1."]


def test_a_file_that_keeps_changing_fails_and_leaves_nothing(library: Ingesting, docs):
    report = library.ingest(docs / "b.txt", watcher=_Writer(docs / "b.txt", times=99))
    assert [failure.code for failure in report.failed] == ["source_unreadable"]
    assert "changing" in report.failed[0].message
    assert library.store.collections() == []


@pytest.mark.parametrize("becomes", ["whole", "gone"])
def test_a_file_that_is_half_written_while_it_is_read_is_not_told_as_damaged(library: Ingesting, tmp_path, becomes):
    """It is read again, and what is told is what is so then."""
    file = tmp_path / "a.pdf"
    whole = make_pdf([["The lake is deep."]])
    file.write_bytes(whole[:300])

    class Writing(Source):
        def scan(self):
            scan = super().scan()
            if scan.size == 300:
                file.unlink() if becomes == "gone" else file.write_bytes(whole)
            return scan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.pipeline.Source", Writing)
        (result,) = library.ingest(file).results
    told = result.failure.code if result.failure else result.outcome
    assert told == (Outcome.INGESTED if becomes == "whole" else "source_not_found")


def test_a_run_can_be_stopped_between_sources(library: Ingesting, docs, monkeypatch):
    monkeypatch.setattr(embedding_group, "_MOST_SOURCES", 1)
    report = library.ingest(docs, watcher=StopsAfter(1))
    assert (report.ingested in {1, 2}, report.skipped) == (True, 4 - report.ingested)  # the second may have been begun
    assert library.ingest(docs).ingested == report.skipped


def test_an_error_of_the_store_or_model_discards_what_was_staged(library: Ingesting, docs):
    class Failing(Watcher):
        def embedded(self, chunks: int) -> None:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        library.ingest(docs, watcher=Failing())
    assert library.documents() == []
    assert library.ingest(docs).ingested == 4


def test_the_longest_titles_and_headings_leave_room(library: Ingesting, tmp_path):
    heading = " ".join(f"heading{i}" for i in range(190))
    (tmp_path / "a.md").write_text(f"# {heading}\n\nShort text.\n")
    (tmp_path / "b.txt").write_text("A text without any title.")
    assert library.ingest(tmp_path / "a.md", tmp_path / "b.txt").failed == []
    first, second = library.documents()
    assert len(first.title) < len(heading)
    assert second.title == "b"
    assert library.store.source_text(second.id, Span(start=2, end=6)) == "text"


def test_a_version_of_a_changelog_is_no_context_of_the_others(library: Ingesting, tmp_path):
    (tmp_path / "changes.md").write_text("# 1.5.7\n\nLocks open.\n\n# 1.5.6\n\nLocks close.\n")
    assert library.ingest(tmp_path / "changes.md").failed == []
    [document] = library.documents()
    assert document.title == "changes"
    paths = {chunk.text.strip().rpartition("\n")[2]: chunk.heading_path for chunk, _ in library.chunks()}
    assert paths["Locks close."] == ("1.5.6",)


class PanicException(BaseException):
    """As libraries in Rust raise it."""


class Stumbling(HashingEmbedder):
    """Its tokenizer raises what it is told to where a text holds "stands"."""

    raised: BaseException = ValueError("no such token")

    def count_tokens(self, texts):
        if any("stands" in text for text in texts):
            raise self.raised
        return super().count_tokens(texts)


@pytest.mark.parametrize("raised", [ValueError("no such token"), KeyError("x"), PanicException("index out of bounds")])
def test_a_mistake_that_shows_on_one_file_is_told_and_the_others_are_taken_in(tmp_path, docs, raised):
    embedder = Stumbling()
    embedder.raised = raised
    with zipfile.ZipFile(docs / "e.zip", "w") as archive:
        archive.writestr("in.txt", "Ice stands.")
        archive.writestr("out.txt", "Ice melts.")
    with ingesting(tmp_path / "home", embedder=embedder) as library, structlog.testing.capture_logs() as logs:
        report = library.ingest(docs)
        assert (report.ingested, len(library.documents())) == (5, 5)
        assert sorted(Path(failure.uri).name for failure in report.failed) == ["b.txt", "in.txt"]
        for failure in report.failed:
            assert failure.code == "source_crashed"
            assert f"{type(raised).__name__}: {raised}" in failure.message
        assert [
            (Path(entry["uri"]).name, entry["exc_info"]) for entry in logs if entry["event"] == "source crashed"
        ] == [
            ("b.txt", True),
            ("in.txt", True),
        ]


@pytest.mark.parametrize(
    "raised", [DatabaseBusy("locked"), ModelCorrupt("torn"), OSError("gone"), RuntimeError("cuda"), KeyboardInterrupt()]
)
def test_what_is_wrong_with_store_model_or_machine_ends_the_run(tmp_path, docs, raised):
    embedder = Stumbling()
    embedder.raised = raised
    with ingesting(tmp_path / "home", embedder=embedder) as library:
        with pytest.raises(type(raised)):
            library.ingest(docs)
        embedder.raised = ValueError("another time")
        assert library.ingest(docs).failed != []


def test_a_source_that_is_purged_while_it_is_read_fails_and_the_others_go_on(tmp_path, docs, monkeypatch):
    monkeypatch.setattr(staging, "_HELD_CHARACTERS", 100)
    (docs / "b.txt").write_text("LAKES\n\n" + "Water stands in the lake. " * 100)

    class Purging(HashingEmbedder):
        """Somebody purges the lakes while they are embedded."""

        def embed_passages(self, texts):
            if any("lake" in text for text in texts) and to_purge:
                purge(library.store._database, vectors, library.store.collection("default"), [to_purge.pop()], **places)
            return super().embed_passages(texts)

    to_purge = []
    home = tmp_path / "home"
    places = {"home": home, "indexes": home / "indexes", "blobs": Blobs(home / "blobs"), "erase": list}
    with ingesting(home, embedder=Purging()) as library:
        library.ingest(docs)
        lakes = [document.id for document in library.documents() if document.uri.endswith("b.txt")]
        for path in (docs / "a.md", docs / "b.txt"):
            path.write_text(path.read_text() + "\n\nMore of the lake.\n")
        vectors = LiveVectors(library.store._database, places["indexes"])
        to_purge.extend(lakes)
        report = library.ingest(docs / "b.txt", docs / "a.md")
        assert outcomes(report) == {"b.txt": Outcome.FAILED, "a.md": Outcome.REPLACED}
        assert report.failed[0].code == "source_purged"
        assert sorted(Path(document.uri).name for document in library.documents()) == ["a.md", "c.html", "d.pdf"]
        assert library.ingest(docs / "b.txt").ingested == 1
        vectors.close()


def test_where_nothing_is_taken_in_no_collection_is_made(library: Ingesting, tmp_path):
    (tmp_path / "empty.txt").touch()
    assert library.ingest(tmp_path / "empty.txt", collection="new").ingested == 0
    assert library.store.collections() == []
    (tmp_path / "full.txt").write_text("Something.")
    assert library.ingest(tmp_path / "empty.txt", tmp_path / "full.txt", collection="new").ingested == 1
    assert library.ingest(tmp_path / "empty.txt", collection="new").ingested == 0
    (made,) = library.store.collections()
    library.store.delete(made, [document.id for document in library.store.documents(made)])
    assert library.ingest(tmp_path / "empty.txt", collection="new").ingested == 0
    assert [each.name for each in library.store.collections()] == ["new"], "it was there before"
