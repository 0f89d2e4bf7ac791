"""``indexer sync``: what it does to a collection when a folder changes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.cli import main
from indexer.commands.sync_run import SyncRun
from indexer.folders.following import Following
from indexer.folders.ignoring import IGNORE_FILE
from indexer.sources import Source
from rag.embedding.fake import HashingEmbedder
from rag.errors import JobLost, SourceUnreadable
from rag.factory import Library
from rag.stores.collections.ingest_lock import IngestLock


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def embedder(monkeypatch) -> HashingEmbedder:
    embedder = HashingEmbedder()
    monkeypatch.setattr(Library, "_load_embedder", lambda self: embedder)
    return embedder


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "rivers.md").write_text("# Rivers\n\nWater runs down to the sea.\n")
    (folder / "lakes.txt").write_text("A lake is water that stands still.\n")
    (folder / "sub" / "falls.txt").write_text("At a fall water drops from a rock.\n")
    return folder


@pytest.fixture
def run(home, monkeypatch):
    def invoke(*arguments: object, exit_code: int = 0):
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["indexer", *words])  # the error report looks at it
        result = CliRunner().invoke(main, words, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


@pytest.fixture
def sync(run, docs):
    def invoke(*arguments: object, exit_code: int = 0) -> dict[str, list[dict]]:
        told: dict[str, list[dict]] = {}
        for line in run("sync", docs, "--json", *arguments, exit_code=exit_code).stdout.splitlines():
            told.setdefault(json.loads(line).get("type", "error"), []).append(json.loads(line))
        return told

    return invoke


@pytest.fixture
def listed(run):
    def invoke() -> dict[str, dict]:
        documents = json.loads(run("list", "--json").stdout)["documents"]
        return {Path(document["uri"]).name: document for document in documents}

    return invoke


def counts(told: dict[str, list[dict]]) -> dict[str, int]:
    (summary,) = told["summary"]
    kinds = ("ingested", "replaced", "moved", "deleted", "gone", "unsure", "failed", "skipped", "unchanged")
    return {kind: summary[kind] for kind in kinds if summary[kind]}


def test_a_folder_is_mirrored_with_real_embeddings_and_what_moved_is_found_where_it_is(
    sync, listed, run, docs, embedder_path
):
    assert counts(sync()) == {"ingested": 3}
    (docs / "far").mkdir()
    (docs / "rivers.md").rename(docs / "far" / "streams.md")
    (docs / "lakes.txt").write_text("A lake is a body of standing water in a basin.\n")
    (docs / "sub" / "falls.txt").unlink()
    (docs / "wells.txt").write_text("A well reaches water below the ground.\n")
    before = listed()["rivers.md"]["id"]
    assert counts(sync("--prune")) == {"ingested": 1, "replaced": 1, "moved": 1, "deleted": 1}
    after = listed()
    assert after.keys() == {"streams.md", "lakes.txt", "wells.txt"}
    assert (after["streams.md"]["id"], after["streams.md"]["title"]) == (before, "Rivers")
    verified = json.loads(run("verify", "--json").stdout)
    assert verified["ok"], verified
    assert counts(sync("--prune")) == {"unchanged": 3}


def test_what_moved_is_not_embedded_anew_and_a_title_that_was_the_name_follows_it(sync, listed, docs, embedder):
    sync()
    embedded, ids = embedder.texts_embedded, {name: each["id"] for name, each in listed().items()}
    (docs / "sub").rename(docs / "deep")
    (docs / "rivers.md").rename(docs / "deep" / "streams.md")
    told = sync()
    assert {Path(line["from"]).name: line["renamed"] for line in told["moved"]} == {
        "rivers.md": False, "falls.txt": False,
    }  # fmt: skip
    assert embedder.texts_embedded == embedded
    (docs / "lakes.txt").rename(docs / "ponds.txt")
    told = sync()
    assert told["moved"][0]["renamed"]
    assert counts(told) == {"replaced": 1, "moved": 1, "unchanged": 2}
    now = listed()
    assert (now["ponds.txt"]["id"], now["ponds.txt"]["title"]) == (ids["lakes.txt"], "ponds")
    assert now["streams.md"]["id"] == ids["rivers.md"]


def test_a_name_that_says_another_format_is_read_by_it(sync, listed, run, docs, embedder):
    (docs / "notes.txt").write_text("# Springs\n\nA spring is where water comes out of the ground.\n")
    sync("--meta", "team=red")
    before = listed()["notes.txt"]
    (docs / "notes.txt").rename(docs / "notes.md")
    (step,) = sync("--dry-run")["step"]
    assert step["reason"] == "the same content; read anew, for its name says another format"
    told = sync()
    assert (counts(told), told["moved"][0]["retyped"]) == ({"replaced": 1, "moved": 1, "unchanged": 3}, True)
    after = listed()["notes.md"]
    assert (before["media_type"], after["media_type"]) == ("text/plain", "text/markdown")
    assert (after["id"], after["title"], after["metadata"]) == (before["id"], "Springs", {"team": "red"})
    assert counts(sync()) == {"unchanged": 4}


def test_what_no_parser_reads_by_its_new_name_stays_as_it_was_read(sync, listed, docs, embedder):
    (docs / "long.txt").write_text("Water runs down the river. " * 200)
    sync()
    before = listed()["long.txt"]
    (docs / "long.txt").rename(docs / "long.js")  # a program in one line is minified
    assert counts(sync("--prune", exit_code=1)) == {"moved": 1, "failed": 1, "unchanged": 3}
    assert listed()["long.js"]["id"] == before["id"]
    assert counts(sync("--prune", exit_code=1)) == {"failed": 1, "unchanged": 3}


def test_what_is_gone_is_named_and_deleted_only_when_asked(sync, listed, run, docs, embedder):
    sync()
    (docs / "lakes.txt").unlink()
    told = sync()
    assert (counts(told), told["gone"][0]["reason"]) == ({"gone": 1, "unchanged": 2}, "there is no such file any more")
    assert "lakes.txt" in listed()
    shown = run("sync", docs).stdout
    assert f"indexer sync {docs} -c default --prune" in shown
    told = sync("--prune")
    assert Path(told["deleted"][0]["uri"]).name == "lakes.txt"
    assert "confirmed" in told["model_state"][0]
    assert "lakes.txt" not in listed()


def test_a_folder_whose_name_begins_with_a_dash_is_named_so_that_the_command_can_be_given(run, docs, embedder):
    docs.rename("-docs")
    run("sync", "--", "-docs")
    Path("-docs", "lakes.txt").unlink()
    assert "indexer sync ./-docs -c default --prune" in run("sync", "--", "-docs").stdout


@pytest.mark.parametrize("vanish", [shutil.rmtree, lambda docs: (shutil.rmtree(docs), docs.mkdir())])
def test_a_folder_that_is_missing_or_empty_deletes_nothing(sync, listed, docs, embedder, vanish):
    sync()
    vanish(docs)
    told = sync("--prune", exit_code=1)
    assert "deleted" not in told
    assert len(listed()) == 3


def test_what_an_ignore_file_names_is_gone_and_never_came_in(sync, listed, run, docs, embedder):
    (docs / IGNORE_FILE).write_text("sub/\n")
    run("ingest", docs)
    assert listed().keys() == {"rivers.md", "lakes.txt"}
    (docs / IGNORE_FILE).write_text("lakes*\n")
    told = sync("--prune")
    assert told["deleted"][0]["reason"] == f"named by {IGNORE_FILE}"
    assert listed().keys() == {"rivers.md", "falls.txt"}
    (docs / IGNORE_FILE).unlink()
    (docs / IGNORE_FILE).mkdir()  # what is left out cannot be told: nothing is done with the folder
    told = sync("--prune", exit_code=1)
    assert "deleted" not in told
    assert len(listed()) == 2


def test_a_dry_run_names_every_step_and_does_nothing(sync, run, docs, embedder):
    told = sync("--dry-run")
    assert [line["action"] for line in told["step"]] == ["add"] * 3
    assert json.loads(run("status", "--json").stdout)["collections"] == []
    sync()
    (docs / "lakes.txt").unlink()
    (docs / "rivers.md").rename(docs / "streams.md")
    (docs / "sub" / "falls.txt").write_text("Changed.")
    told = sync("--dry-run", "--prune")
    assert [line["action"] for line in told["step"]] == ["change", "move", "delete"]
    assert all(line["reason"] for line in told["step"])
    os.mkfifo(docs / "pipe")
    shown = run("sync", docs, "--dry-run").stdout
    assert "move     rivers.md -> streams.md" in shown
    assert "left out pipe" in shown
    assert shown.splitlines()[-1].endswith("1 changed, 1 moved, 1 gone, 1 left out; nothing was done")
    assert counts(sync("--prune")) == {"replaced": 1, "moved": 1, "deleted": 1}


def test_a_file_that_is_too_large_is_named_before_anything_is_done(sync, listed, docs, monkeypatch):
    monkeypatch.setenv("RAG_MAX_FILE_BYTES", "100")
    sync()
    for name in ("rivers.md", "seas.txt"):
        (docs / name).write_text("The sea is deep. " * 10)
    steps = sync("--dry-run", exit_code=1)["step"]
    assert [(each["action"], Path(each["uri"]).name, "the limit of 100" in each["reason"]) for each in steps] == [
        ("error", "seas.txt", True),
        ("error", "rivers.md", True),
    ]
    assert counts(sync("--prune", exit_code=1)) == {"failed": 2, "unchanged": 2}
    assert set(listed()) == {"rivers.md", "lakes.txt", "falls.txt"}


def test_members_go_with_their_archive_and_come_again_with_it(sync, run, listed, docs, embedder):
    with zipfile.ZipFile(docs / "a.zip", "w") as archive:
        archive.writestr("in/inner.txt", "A spring is where water comes out of the ground.")
    sync()
    ids = {name: each["id"] for name, each in listed().items()}
    embedded = embedder.texts_embedded
    (docs / "a.zip").rename(docs / "sub" / "a.zip")
    assert counts(sync()) == {"moved": 1, "unchanged": 3}
    inner = listed()["inner.txt"]
    assert (inner["uri"], inner["id"]) == (f"{docs}/sub/a.zip!/in/inner.txt", ids["inner.txt"])
    assert embedder.texts_embedded == embedded
    run("delete", inner["uri"])
    assert counts(sync()) == {"ingested": 1, "unchanged": 4}
    assert listed()["inner.txt"]["uri"] == inner["uri"]
    assert counts(sync()) == {"unchanged": 5}
    (docs / "sub" / "a.zip").unlink()
    assert counts(sync("--prune"))["deleted"] == 1
    assert "inner.txt" not in listed()


def test_a_watch_outlives_a_job_that_is_not_its_own_any_more(run, listed, docs, embedder, monkeypatch):
    sync_once, lost = SyncRun.run, [JobLost("It is another's.")]

    def losing(self, *arguments, **options):
        if lost:
            raise lost.pop()
        return sync_once(self, *arguments, **options)

    monkeypatch.setattr(SyncRun, "run", losing)
    monkeypatch.setattr("indexer.commands.watch.Following.looks", lambda _self: iter([None, None]))
    notices = [json.loads(line) for line in run("watch", docs, "--json").stdout.splitlines()]
    assert [line["code"] for line in notices if line["type"] == "notice"] == ["job_lost"]
    assert set(listed()) == {"rivers.md", "lakes.txt", "falls.txt"}


def test_a_watch_that_is_ended_before_it_has_looked_says_nothing_of_watching(run, docs, embedder, monkeypatch):
    monkeypatch.setattr(SyncRun, "run", lambda self, *_, **__: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr("indexer.commands.watch.Following.looks", lambda _self: iter([None]))
    assert run("watch", docs, "--json").stdout == ""


def test_a_watch_tries_a_file_again_when_it_was_given_other_permissions(run, listed, docs, embedder, monkeypatch):
    allowed, opened = {"lakes.txt": False}, Source.__enter__

    def opening(self):
        if not allowed.get(self.path.name, True):
            raise SourceUnreadable("Permission denied.")
        return opened(self)

    def looks(_self):
        yield from (None, None)
        allowed.clear()
        yield {"lakes.txt"}  # nothing was done to it
        (docs / "lakes.txt").chmod(0o640)
        yield {"lakes.txt"}

    monkeypatch.setattr(Source, "__enter__", opening)
    monkeypatch.setattr("indexer.commands.watch.Following.looks", looks)
    told = [json.loads(line) for line in run("watch", docs, "--json").stdout.splitlines()]
    outcomes = [each["outcome"] for each in told if each["type"] == "file" and each["uri"].endswith("lakes.txt")]
    assert outcomes == ["failed", "ingested"]
    assert set(listed()) == {"rivers.md", "lakes.txt", "falls.txt"}


def test_a_file_that_was_only_touched_is_read_once(sync, docs, embedder):
    sync()
    os.utime(docs / "lakes.txt", ns=(1, 1))
    assert len(sync()["file"]) == 1
    assert "file" not in sync()


def test_two_files_of_one_size_and_time_that_exchange_their_names_are_read(sync, listed, docs, embedder):
    one, other = docs / "one.txt", docs / "two.txt"
    for path, text in ((one, "Mills grind the corn.\n"), (other, "Locks lift the ship.\n")):
        path.write_text(text.ljust(40))
        os.utime(path, ns=(10**18, 10**18))
    sync()
    one.rename(docs / "three.txt")
    other.rename(one)
    (docs / "three.txt").rename(other)
    assert counts(sync()) == {"replaced": 2, "unchanged": 3}
    assert counts(sync()) == {"unchanged": 5}


def test_what_is_said_of_files_is_said_of_all_of_them_once(sync, listed, docs, embedder):
    sync()
    assert counts(sync("--meta", "team=red")) == {"replaced": 3}
    (docs / "lakes.txt").rename(docs / "sub" / "lakes.txt")
    assert counts(sync("--meta", "team=red")) == {"moved": 1, "unchanged": 2}
    assert counts(sync()) == {"unchanged": 3}
    assert listed()["lakes.txt"]["metadata"] == {"team": "red"}


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_done(sync, docs, embedder):
    (docs / "empty.txt").write_text("")
    (docs / os.fsdecode(b"bad\xff.txt")).write_text("text")
    (docs / "a\nb.txt").write_text("Water in a name of two lines.")
    os.mkfifo(docs / "pipe.txt")
    told = sync(exit_code=1)
    assert counts(told) == {"ingested": 4, "failed": 2}
    assert counts(sync(exit_code=1)) == {"failed": 2, "unchanged": 4}


def test_an_address_that_had_documents_before_takes_the_content_in_anew(sync, listed, docs, embedder):
    sync()
    (docs / "lakes.txt").unlink()
    sync("--prune")  # its past is kept under its address
    embedded = embedder.texts_embedded
    (docs / "sub" / "falls.txt").rename(docs / "lakes.txt")
    steps = sync("--prune", "--dry-run")["step"]
    assert [(step["action"], Path(step["uri"]).name) for step in steps] == [
        ("add", "lakes.txt"),
        ("delete", "falls.txt"),
    ]
    assert str(docs / "sub" / "falls.txt") in steps[0]["reason"]
    told = sync("--prune")
    assert counts(told) == {"ingested": 1, "deleted": 1, "unchanged": 1}
    assert listed().keys() == {"rivers.md", "lakes.txt"}
    assert embedder.texts_embedded <= embedded + 1  # its title, which is embedded with it, is another


def test_a_sync_that_changes_what_it_can_is_no_failed_job(sync, run, docs, embedder):
    (docs / "empty.txt").touch()
    sync(exit_code=1)
    sync(exit_code=1)  # all but one are unchanged
    for path in (docs / "rivers.md", docs / "lakes.txt"):
        path.unlink()
    shutil.rmtree(docs / "sub")
    assert "3 to delete" in run("sync", docs, "--prune", "--dry-run").stdout
    sync("--prune", exit_code=1)
    sync(exit_code=1)  # nothing is there but what cannot be read
    jobs = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert [job["state"] for job in jobs] == ["failed", "succeeded", "succeeded", "succeeded"]


def test_a_watch_names_what_comes_in_after_the_first_look(run, docs, embedder, monkeypatch):
    def looks(_):
        yield None
        (docs / "new.txt").write_text("Rain falls.\n")
        (docs / "lakes.txt").write_text("A lake is water that stands still, as a rule.\n")
        yield None

    monkeypatch.setattr(Following, "looks", looks)
    first, then = run("watch", docs).stdout.split("3 ingested")
    assert "ingested" not in first
    assert {"replaced lakes.txt  (1 chunk)", "ingested new.txt  (1 chunk)"} <= set(then.splitlines())


def test_a_watch_leaves_alone_what_is_written_to_in_a_folder_that_it_looks_at(run, docs, embedder, monkeypatch):
    busy = {"sub/new.txt", "sub/falls.txt"}

    def looks(_):
        yield None
        for name in (*busy, "sub/done.txt"):
            (docs / name).write_text(f"The first half of {name}\n")
        yield {"sub"}
        busy.clear()
        yield {"sub/new.txt", "sub/falls.txt"}

    monkeypatch.setattr(Following, "looks", looks)
    monkeypatch.setattr(Following, "busy", lambda _: busy)
    told = [json.loads(line) for line in run("watch", docs, "--json").stdout.splitlines()]
    summaries = [each for each in told if each["type"] == "summary"]
    assert [(each["ingested"], each["replaced"]) for each in summaries] == [(3, 0), (1, 0), (1, 1)]


def test_two_syncs_at_once_and_wrong_use(sync, run, home, docs, embedder):
    sync()
    with IngestLock(home, "default"):
        assert "ingest_in_progress" in run("sync", docs, exit_code=1).stderr
        assert "ingest_in_progress" not in run("sync", docs, "--dry-run").stderr  # it only reads
    assert "is not a folder" in run("sync", docs / "lakes.txt", exit_code=1).stderr
    assert "`indexer ingest`" in run("sync", "https://example.org/docs", exit_code=2).stderr
    run("sync", exit_code=2)


def test_an_empty_folder_of_which_nothing_is_known_is_no_failure(run, tmp_path, home, embedder):
    (tmp_path / "hollow").mkdir()
    told = run("sync", tmp_path / "hollow")
    assert (told.stdout.startswith("nothing to do in "), told.stderr) == (True, "")
    assert "it holds nothing, and nothing is known of it" in run("sync", tmp_path / "hollow", "--dry-run").stdout


def test_what_a_folder_leaves_out_is_counted_with_its_reason(run, sync, docs, tmp_path, embedder):
    os.mkfifo(docs / "pipe")
    (docs / "lost.txt").symlink_to(docs / "nothing.txt")
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("Secrets lie outside.\n")
        (docs / f"{name}.txt").symlink_to(tmp_path / f"{name}.txt")
    kinds = {"broken link": 1, "link out of the folder": 2, "named pipe": 1}
    told = sync()
    assert {Path(file["uri"]).name for file in told["file"] if file["outcome"] == "left_out"} == {
        "pipe", "lost.txt", "one.txt", "two.txt",
    }  # fmt: skip
    (summary,) = told["summary"]
    assert (summary["ingested"], summary["failed"], summary["left_out"]) == (3, 0, kinds)
    assert (told["plan"][0]["left_out"], told["plan"][0]["errors"]) == (kinds, 0)
    words = "4 left out: 1 broken link, 2 links out of the folder, 1 named pipe"
    assert run("sync", docs).stdout.endswith(f" s; {words}\n")
    shown = run("ingest", docs)
    assert words in shown.stdout
    assert "pipe is a named pipe" in shown.stderr
    (*files, summary) = map(json.loads, run("ingest", docs, "--json").stdout.splitlines())
    assert (summary["files"], summary["unchanged"], summary["left_out"]) == (3, 3, kinds)
    assert {file["error"]["code"] for file in files if file["error"]} == {"source_left_out"}
    hints = {Path(file["uri"]).name: file["error"]["hint"] for file in files if file["error"]}
    assert ("saved as a file" in hints["pipe"], "lead to" in hints["pipe"], "lead to" in hints["one.txt"]) == (1, 0, 1)
    job = json.loads(run("jobs", summary["job"], "--json").stdout)
    assert (job["state"], job["outcomes"]) == ("succeeded", {"left_out": 4, "unchanged": 3})
