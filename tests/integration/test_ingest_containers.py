"""Archives and mails: every document in them is one of its own, comes, stays and goes with what it is in."""

import os

import pytest

from indexer.members import Budget, Handover
from indexer.parsing.wire import MemberBegins, MemberEnds
from indexer.report import Outcome, Watcher
from indexer.spooling import Spool
from tests.integration.ingesting import ingesting
from tests.unit.mails import mail, tarred, zipped


@pytest.fixture
def library(tmp_path):
    with ingesting(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


def short(uri: str) -> str:
    return uri.partition("/docs/")[2]


def outcomes(report) -> dict[str, str]:
    return {short(r.uri): r.failure.code if r.failure else r.outcome.value for r in report.results}


def stored(library) -> dict[str, int]:
    return {short(document.uri): document.chunk_count for document in library.documents()}


def test_members_are_documents_and_their_containers_only_hold_them(library, docs):
    inner = zipped({"deep/x.md": "# Deep\n\nWater is deep.\n", "recording.mp3": b"ID3\x04" + bytes(40)})
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water.", "in.zip": inner, ".hidden": "x", "d/": ""}))
    report = library.ingest(docs)
    assert outcomes(report) == {
        "a.zip!/one.txt": "ingested",
        "a.zip!/in.zip!/deep/x.md": "ingested",
        "a.zip!/in.zip!/recording.mp3": "source_unsupported",
        "a.zip!/in.zip": "ingested",
        "a.zip": "ingested",
    }
    assert stored(library) == {"a.zip!/one.txt": 1, "a.zip!/in.zip!/deep/x.md": 1, "a.zip!/in.zip": 0, "a.zip": 0}
    chunk, document = next((c, d) for c, d in library.chunks() if "deep" in c.text)
    assert (document.title, document.media_type, chunk.heading_path) == ("Deep", "text/markdown", ("Deep",))
    assert library.store.source_text(document.id, chunk.span) == chunk.text


def test_what_is_in_an_unchanged_container_is_counted_the_second_time_too(library, docs):
    inner = zipped({"x.txt": "Inner text.", "y.txt": "More of it."})
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water.", "in.zip": inner}))
    (docs / "b.txt").write_text("Rivers run.")
    first, again = library.ingest(docs), library.ingest(docs)
    assert (first.ingested, first.files) == (6, 6)
    assert (again.unchanged, again.files, len(again.results)) == (6, 6, 2)
    with (docs / "a.zip").open("wb") as file:  # what is within is not read anew, what is around it is
        file.write(zipped({"two.txt": "Lakes hold water.", "in.zip": inner}))
    later = library.ingest(docs)
    assert (later.ingested, later.replaced, later.unchanged) == (1, 1, 4)


def test_an_unchanged_container_is_not_opened(library, docs, monkeypatch):
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water."}))
    library.ingest(docs)
    os.utime(docs / "a.zip", ns=(1, 1))
    monkeypatch.setattr(library.parsers, "parse", lambda *_args, **_more: pytest.fail("it was parsed"))
    assert outcomes(library.ingest(docs)) == {"a.zip": "unchanged"}


def test_members_that_failed_are_tried_again_and_the_others_are_left_alone(library, docs):
    recording = b"ID3\x04" + bytes(40)
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water.", "b.mp3": recording}))
    library.ingest(docs)
    embedded, seq = library.embedder.texts_embedded, library.store.collection("default").seq
    again = {"a.zip!/one.txt": "unchanged", "a.zip!/b.mp3": "source_unsupported", "a.zip": "unchanged"}
    assert outcomes(library.ingest(docs)) == again
    assert (library.embedder.texts_embedded, library.store.collection("default").seq) == (embedded, seq)


def test_members_that_are_gone_are_taken_in_again(library, docs):
    inner = zipped({"x.txt": "Inner text.", "y.txt": "More of it."})
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water.", "in.zip": inner}))
    library.ingest(docs)
    target = library.store.collection("default")
    ids = {short(document.uri): document.id for document in library.documents()}
    library.store.delete(target, [ids["a.zip!/in.zip!/x.txt"]])
    assert outcomes(library.ingest(docs)) == {
        "a.zip!/one.txt": "unchanged",
        "a.zip!/in.zip!/x.txt": "ingested",
        "a.zip!/in.zip!/y.txt": "unchanged",
        "a.zip!/in.zip": "unchanged",
        "a.zip": "unchanged",
    }
    assert set(stored(library)) == set(ids)
    assert outcomes(library.ingest(docs)) == {"a.zip": "unchanged"}


def test_a_changed_container_embeds_what_changed_and_drops_what_left(library, docs):
    inner = zipped({"x.txt": "Inner text.", "y.txt": "More of it."})
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water.", "two.txt": "Rivers run.", "in.zip": inner}))
    library.ingest(docs)
    embedded = library.embedder.texts_embedded
    (docs / "a.zip").write_bytes(
        zipped({"one.txt": "Lakes hold water.", "new.txt": "Seas are salty.", "in.zip": inner})
    )
    assert outcomes(library.ingest(docs)) == {
        "a.zip!/one.txt": "unchanged",
        "a.zip!/new.txt": "ingested",
        "a.zip!/in.zip": "unchanged",
        "a.zip": "replaced",
    }
    assert library.embedder.texts_embedded == embedded + 1
    assert set(stored(library)) == {
        "a.zip",
        "a.zip!/one.txt",
        "a.zip!/new.txt",
        "a.zip!/in.zip",
        "a.zip!/in.zip!/x.txt",
        "a.zip!/in.zip!/y.txt",
    }
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water."}))
    library.ingest(docs)
    assert set(stored(library)) == {"a.zip", "a.zip!/one.txt"}


def test_a_container_that_is_replaced_by_a_text_takes_its_members_along(library, docs):
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water."}))
    library.ingest(docs)
    (docs / "a.zip").write_text("This is a text now.")
    library.ingest(docs)
    assert stored(library) == {"a.zip": 1}


def test_a_container_that_became_unreadable_leaves_what_was_there(library, docs):
    content = zipped({"one.txt": "Lakes hold water."})
    (docs / "a.zip").write_bytes(content)
    library.ingest(docs)
    (docs / "a.zip").write_bytes(content[:-30])
    assert outcomes(library.ingest(docs)) == {"a.zip": "source_damaged"}
    assert set(stored(library)) == {"a.zip", "a.zip!/one.txt"}


def test_a_mail_is_a_document_that_holds_its_attachments(library, docs):
    message = mail(notes_md=b"# Notes\n\nDig here.\n", archive_zip=zipped({"x.txt": "Inner text."}))
    (docs / "m.eml").write_bytes(message.as_bytes())
    assert outcomes(library.ingest(docs)) == {
        "m.eml!/notes.md": "ingested",
        "m.eml!/archive.zip!/x.txt": "ingested",
        "m.eml!/archive.zip": "ingested",
        "m.eml": "ingested",
    }
    assert stored(library)["m.eml"] == 1
    assert any("Rivers run down." in chunk.text for chunk, _ in library.chunks())


def test_members_of_one_name_are_told_apart_and_strange_names_are_readable(library, docs):
    names = ["n\n\u202el.txt", "odd!/x.txt", "100%.txt", "b\udcff.txt", "./dot.txt"]
    entries = [(name, b"Some words here.", {}) for name in [*names, "dot.txt"]]
    (docs / "t.tgz").write_bytes(tarred(entries))
    library.ingest(docs)
    assert set(stored(library)) == {
        "t.tgz",
        "t.tgz!/n%0A%E2%80%AEl.txt",
        "t.tgz!/odd%21/x.txt",
        "t.tgz!/100%25.txt",
        "t.tgz!/b%FF.txt",
        "t.tgz!/dot.txt",
        "t.tgz!/dot~2.txt",
    }


def test_deleting_a_container_deletes_its_members(library, docs):
    (docs / "a.zip").write_bytes(zipped({"one.txt": "Lakes hold water."}))
    (docs / "a.zip!").mkdir()
    (docs / "a.zip!" / "..data.txt").write_text("A file beside it with a strange folder.")
    (docs / "a.zipped.txt").write_text("Another file.")
    library.ingest(docs / "a.zip", docs / "a.zipped.txt")
    target = library.store.collection("default")
    container = next(d for d in library.documents() if d.uri.endswith("a.zip"))
    assert [short(d.uri) for d in library.store.members(target, container.uri)] == ["a.zip!/one.txt"]
    assert library.store.delete(target, [container.id]) == 2
    assert set(stored(library)) == {"a.zipped.txt"}


def test_progress_knows_of_members_as_they_are_found(library, docs):
    (docs / "a.zip").write_bytes(zipped({"1.txt": "One.", "2.txt": "Two."}))
    totals: list[int] = []

    class Counts(Watcher):
        def found(self, sources: int) -> None:
            totals.append(sources)

    library.ingest(docs, watcher=Counts())
    assert totals == [1, 2, 3]


def test_empty_archives_have_a_reason(library, docs):
    (docs / "a.zip").write_bytes(zipped({}))
    (docs / "b.zip").write_bytes(zipped({"__MACOSX/x": "junk"}))
    (docs / "c.tar").write_bytes(tarred([], "w:"))
    report = library.ingest(docs)
    assert [(f.code, "holds no files" in f.message) for f in report.failed[:2]] == [("source_has_no_text", True)] * 2
    assert report.results[-1].outcome is Outcome.FAILED


def test_a_mailbox_holds_all_its_messages_with_their_attachments(library, docs):
    letters = [mail("Rivers", f"River {number} runs.\n", notes_txt=b"Water.") for number in range(3)]
    marked = [b"From - Mon May 04 10:00:00 2020\n" + letter.as_bytes() + b"\n" for letter in letters]
    (docs / "Inbox").write_bytes(b"".join(marked))
    names = ["Inbox!/Rivers.eml", "Inbox!/Rivers~2.eml", "Inbox!/Rivers~3.eml"]
    assert outcomes(library.ingest(docs)) == {
        "Inbox": "ingested",
        **{f"{name}{member}": "ingested" for name in names for member in ("", "!/notes.txt")},
    }
    (docs / "Inbox").write_bytes(b"".join([*marked, marked[0].replace(b"River 0", b"River 4")]))
    assert outcomes(library.ingest(docs)) == {
        "Inbox": "replaced",
        **dict.fromkeys(names, "unchanged"),
        "Inbox!/Rivers~4.eml": "ingested",
        "Inbox!/Rivers~4.eml!/notes.txt": "ingested",
    }


def test_thousands_of_members_of_one_name_have_each_their_own():
    begun = [item for _ in range(5000) for item in (MemberBegins(name=b"d/a.txt"), MemberEnds())]
    handover = Handover(iter(begun), "m", Budget(members=5000, total_bytes=1, member_bytes=1), Spool())
    assert list(handover.pieces()) == []
    uris = [member.uri for member in handover.members()]
    assert uris[:3] == ["m!/d/a.txt", "m!/d/a~2.txt", "m!/d/a~3.txt"]
    assert len(set(uris)) == 5000
