"""Plans of parts of a folder, and what happens between a plan and its being carried out."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import update

from indexer.report import Watcher
from indexer.syncing import MOST_PATHS, FolderSync
from rag.stores.tables import DocumentRow
from tests.integration.ingesting import ingesting


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        (folder / name).write_text(f"Water of {name} runs down the river.\n")
    return folder


@pytest.fixture
def sync(tmp_path, docs):
    from indexer.pipeline import IngestPipeline

    with ingesting(tmp_path / "home") as library:
        pipeline = IngestPipeline(
            store=library.store,
            embedder_for=lambda _name: library.embedder,
            parsers=library.parsers,
            max_file_bytes=1 << 20,
        )
        sync = FolderSync(
            docs,
            database=library.store._database,
            store=library.store,
            pipeline=pipeline,
            collection="default",
            max_file_bytes=1 << 20,
        )
        done = sync.carry_out(sync.plan(), prune=False, watcher=Watcher())
        assert done.ingested.ingested == 3
        yield sync


def carry_out(sync, plan):
    return sync.carry_out(plan, prune=True, watcher=Watcher())


def test_a_file_that_is_back_before_it_is_deleted_stays(sync, docs):
    (docs / "a.txt").unlink()
    plan = sync.plan()
    (docs / "a.txt").write_text("It is here again.\n")
    report = carry_out(sync, plan)
    assert (report.deleted, [each.reason for each in report.unsure]) == ([], ["it has come back meanwhile"])
    assert carry_out(sync, sync.plan()).ingested.replaced == 1


def test_what_is_back_before_it_is_moved_stays_and_its_copy_is_taken_in(sync, docs):
    (docs / "a.txt").rename(docs / "sub" / "a.txt")
    plan = sync.plan()
    shutil.copy2(docs / "sub" / "a.txt", docs)
    report = carry_out(sync, plan)
    assert (report.moved, report.deleted, report.ingested.ingested) == ([], [], 1)
    assert [each.reason for each in report.unsure] == ["it has come back meanwhile"]
    assert (sync.plan().idle, sync.plan().unchanged) == (True, 4)


def test_a_disk_that_goes_before_the_deletion_deletes_nothing(sync, docs):
    (docs / "a.txt").unlink()
    plan = sync.plan()
    docs.rename(docs.with_name("away"))
    docs.mkdir()
    report = carry_out(sync, plan)
    assert report.deleted == []
    assert "not mounted" in report.unsure[0].reason


def test_a_file_that_vanishes_before_it_is_read_fails_and_the_rest_goes_on(sync, docs):
    (docs / "d.txt").write_text("New.")
    (docs / "e.txt").write_text("New, too.")
    plan = sync.plan()
    (docs / "d.txt").unlink()
    report = carry_out(sync, plan)
    assert [failure.code for failure in report.ingested.failed] == ["source_not_found"]
    assert report.ingested.ingested == 1


def test_a_folder_whose_name_ends_with_an_exclamation_mark_is_mirrored_as_any_other(sync, docs):
    (docs / "Read me!").mkdir()
    for number in range(2):
        with zipfile.ZipFile(docs / "Read me!" / f"{number}.zip", "w") as archive:
            archive.writestr("in.txt", f"Water number {number} in an archive.\n")
    (docs / "Read me!" / "d.txt").write_text("A lake stands still.\n")
    assert carry_out(sync, sync.plan()).ingested.ingested == 5
    plan = sync.plan()
    assert (plan.idle, plan.unchanged) == (True, 8)

    (docs / "Read me!").rename(docs / "Read me!!")
    assert len(carry_out(sync, sync.plan({"Read me!", "Read me!!"})).moved) == 3
    (docs / "Read me!!" / "d.txt").unlink()
    (docs / "Read me!!" / "0.zip").unlink()
    assert len(carry_out(sync, sync.plan()).deleted) == 2
    assert sync.plan().unchanged == 5


def test_members_of_an_archive_that_is_not_taken_in_whole_yet_are_not_gone(sync, docs):
    with zipfile.ZipFile(docs / "z.zip", "w") as archive:
        for name in ("one.txt", "two.txt"):
            archive.writestr(name, f"The lake of {name} stands still.\n")
    store = sync._store
    assert carry_out(sync, sync.plan()).ingested.ingested == 3
    collection = store.collection("default")
    container = store.stored_source(collection, str(docs / "z.zip"))
    with sync._database.write() as connection:  # as a kill between the last member and the archive itself leaves it
        connection.execute(update(DocumentRow).where(DocumentRow.id == container.document_id).values(uri="/elsewhere"))
    plan = sync.plan()
    assert (len(plan.add), plan.gone, plan.move) == (1, [], [])


def test_a_part_is_planned_by_what_changed_there_alone(sync, docs):
    (docs / "a.txt").rename(docs / "sub" / "a.txt")
    (docs / "b.txt").write_text("Changed.")
    (docs / "sub" / "c.txt").unlink()
    plan = sync.plan({"a.txt", "sub/a.txt"})
    assert ([move.file.path.name for move in plan.move], plan.change, plan.gone) == (["a.txt"], [], [])
    plan = sync.plan({"sub/c.txt"})
    assert [Path(each.source.uri).name for each in plan.gone] == ["c.txt"]
    whole = sync.plan({f"nothing-{number}" for number in range(MOST_PATHS + 1)})
    assert (len(whole.move), len(whole.change), len(whole.gone)) == (1, 1, 1)


def test_a_folder_that_moved_takes_its_documents_with_it(sync, docs):
    (docs / "sub").rename(docs / "deep")
    report = carry_out(sync, sync.plan({"sub", "deep"}))
    assert [move.file.uri for move in report.moved] == [f"{docs}/deep/c.txt"]
    assert sync.plan().idle


def test_of_a_folder_that_is_empty_as_a_whole_no_part_is_gone(sync, docs):
    for path in (docs / "a.txt", docs / "b.txt", docs / "sub" / "c.txt"):
        path.unlink()
    plan = sync.plan({"a.txt"})
    assert (plan.gone, len(plan.unsure)) == ([], 1)


@pytest.fixture
def outside(tmp_path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("a.txt", "c.txt", "new.txt"):
        (folder / name).write_text("The secret is out.\n")
    return folder


def swapped(docs: Path, outside: Path, name: str) -> None:
    """What is at a path is a link to what has its name outside from now on."""
    (docs / name).rename(docs.parent / "before")
    (docs / name).symlink_to(outside if name == "sub" else outside / name)


@pytest.mark.parametrize(("name", "file"), [("a.txt", "a.txt"), ("new.txt", "new.txt"), ("sub", "sub/c.txt")])
def test_a_link_that_comes_after_the_plan_is_not_followed_out_of_the_folder(sync, docs, outside, name, file):
    (docs / file).write_text("What is planned is another content.\n")
    plan = sync.plan()
    swapped(docs, outside, name)
    report = carry_out(sync, plan)
    (failed,) = report.ingested.failed
    assert (failed.uri, failed.code) == (f"{docs}/{file}", "source_unsafe")
    assert "secret" not in texts(sync)


def test_a_link_that_comes_while_files_are_taken_in_is_not_followed_out(sync, docs, outside):
    class Swapping(Watcher):
        def started(self, uri):
            if uri.endswith("/a.txt"):
                swapped(docs, outside, "a.txt")
                (docs / "sub").rename(docs.parent / "sub")
                (docs / "sub").symlink_to(outside)

    report = sync._pipeline.ingest([docs], collection="other", watcher=Swapping())
    assert sorted(Path(failure.uri).name for failure in report.failed) == ["a.txt", "c.txt"]
    assert {failure.code for failure in report.failed} == {"source_unsafe"}
    assert "secret" not in texts(sync, "other")


def test_links_to_places_in_the_folder_are_followed(sync, docs):
    (docs / "z-file.txt").symlink_to(docs / "sub" / "c.txt")
    (docs / "y-folder").symlink_to(docs / "sub")
    (docs / "sub" / "d.txt").symlink_to(Path("..") / "a.txt")
    report = carry_out(sync, sync.plan())
    assert {Path(result.uri).name for result in report.ingested.results} == {"d.txt", "z-file.txt"}
    assert report.ingested.failed == []


def test_a_folder_that_moved_and_left_a_link_takes_its_documents_with_it(sync, docs):
    (docs / "sub").rename(docs / "archive")
    (docs / "sub").symlink_to("archive")
    report = carry_out(sync, sync.plan())
    assert [Path(move.file.uri).parent.name for move in report.moved] == ["archive"]
    assert (report.ingested.results, report.unsure) == ([], [])
    assert sync.plan().idle


def test_what_is_named_itself_may_be_a_link_to_anywhere(sync, docs, outside):
    (docs / "named.txt").symlink_to(outside / "a.txt")
    assert sync._pipeline.ingest([docs / "named.txt"], collection="other").ingested == 1


def texts(sync, name: str = "default") -> str:
    collection = sync._store.collection(name)
    chunks = [item.chunk_id for item in sync._store.embedding_inputs(collection)]
    return " ".join(chunk.text for chunk, _ in sync._store.hydrate(collection, chunks))
