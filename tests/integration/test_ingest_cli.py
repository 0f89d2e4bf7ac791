from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from indexer.commands.interruption import Interruption
from indexer.job_run import JobRun
from rag.embedding.fake import HashingEmbedder
from rag.errors import DiskFull
from rag.factory import Library
from rag.stores import live_vectors
from rag.stores.collections.ingest_lock import IngestLock
from rag.stores.jobs.queue import JobQueue
from rag.stores.live_vectors import LiveVectors
from tests.integration.programs import lines


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
    (folder / "b.txt").write_text("LAKES\n\nWater stands.\n")
    return folder


def test_ingest_prints_a_line_per_file_and_a_summary(run, docs):
    first, second, summary = lines(run("ingest", str(docs), "--json"))
    assert (first["outcome"], second["outcome"]) == ("ingested", "ingested")
    assert first["uri"] == str(docs / "a.md")
    assert {key: summary[key] for key in ("type", "files", "ingested", "failed", "chunks")} == {
        "type": "summary", "files": 2, "ingested": 2, "failed": 0, "chunks": 3,
    }  # fmt: skip
    assert lines(run("ingest", str(docs), "--json"))[-1]["unchanged"] == 2


def test_what_is_said_of_files_is_kept_until_something_else_is_said(run, docs):
    path = str(docs / "a.md")

    def document():
        (listed,) = json.loads(run("list", "--json").stdout)["documents"]
        return listed["metadata"]

    said = ("--meta", "year=2024", "--meta", "team=red", "--meta", "public=true", "--meta", 'room="12"')
    run("ingest", path, *said)
    assert document() == {"year": 2024, "team": "red", "public": True, "room": "12"}
    assert lines(run("ingest", path, "--json"))[0]["outcome"] == "unchanged"
    assert lines(run("ingest", path, *said, "--json"))[0]["outcome"] == "unchanged"
    (docs / "a.md").write_text("# Rivers\n\nWater runs up.\n")
    assert lines(run("ingest", path, "--json"))[0]["outcome"] == "replaced"
    assert document() == {"year": 2024, "team": "red", "public": True, "room": "12"}
    assert lines(run("ingest", path, "--meta", "public=1", "--json"))[0]["outcome"] == "replaced"
    assert document() == {"public": 1}
    wrong = run("ingest", path, "--meta", "a b=1", exit_code=2)
    assert "cannot be a key" in wrong.stderr


def test_a_failed_file_is_told_and_changes_the_exit_status(run, docs):
    (docs / "c.txt").write_bytes(b"")
    *_, failed, summary = lines(run("ingest", str(docs), "--json", exit_code=1))
    assert failed["error"]["code"] == "source_empty"
    assert failed["error"]["hint"]
    assert (summary["ingested"], summary["failed"]) == (2, 1)
    result = run("ingest", str(docs), exit_code=1)
    assert "error[source_empty]" in result.stderr
    assert "2 unchanged, 1 failed" in result.stdout


def test_only_results_go_to_standard_output(run, docs):
    result = run("ingest", str(docs))
    assert result.stdout.startswith("2 ingested; 3 chunks")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_usage_errors_exit_with_2(run):
    run("ingest", exit_code=2)
    run("delete", exit_code=2)
    run("nonsense", exit_code=2)


def test_list_and_status(run, docs):
    run("ingest", str(docs))
    listed = json.loads(run("list", "--json").stdout)
    assert [document["title"] for document in listed["documents"]] == ["Rivers", "LAKES"]
    table = run("list").stdout
    assert str(docs / "b.txt") in table
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert (state["documents"], state["chunks"], state["name"]) == (2, 3, "default")
    assert state["index"] is None  # so few are read into memory
    run("rebuild")
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert (state["index"]["kind"], state["index"]["recall_at_10"]) == ("flat", 1.0)
    assert "2 documents, 3 chunks" in run("status").stdout
    assert f"index of 3 vectors at seq {state['seq']} (flat, recall@10 1.000)" in run("status").stdout


def test_status_before_anything_is_there(run):
    assert json.loads(run("status", "--json").stdout)["collections"] == []
    assert "indexer ingest" in run("status").stdout


@pytest.mark.parametrize("command", [("list",), ("delete", "1"), ("rebuild",)])
def test_an_unknown_collection_is_an_error_with_a_code(run, command):
    result = run(*command, "--collection", "nowhere", "--json", exit_code=1)
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["hint"].split(" lists")[0]) == ("unknown_collection", "`indexer status`")


def test_delete_by_path_uri_and_id(run, docs, monkeypatch):
    (docs / "c.txt").write_text("Water falls.")
    run("ingest", str(docs))
    monkeypatch.chdir(docs)
    identity = json.loads(run("list", "--json").stdout)["documents"][2]["id"]
    body = json.loads(run("delete", "a.md", str(docs / "b.txt"), str(identity), "--json").stdout)
    assert body["deleted"] == 3
    assert json.loads(run("list", "--json").stdout)["documents"] == []
    assert "empty" in run("list").stdout


def test_an_unknown_document_deletes_nothing(run, docs):
    run("ingest", str(docs))
    result = run("delete", str(docs / "a.md"), "no-such-file", "--json", exit_code=1)
    assert json.loads(result.stdout)["error"]["code"] == "unknown_document"
    assert len(json.loads(run("list", "--json").stdout)["documents"]) == 2


def test_rebuild_writes_a_generation(run, docs):
    run("ingest", str(docs))
    assert json.loads(run("rebuild", "--json").stdout)["chunks"] == 3
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert state["index"]["count"] == 3


def test_rollback_goes_back_to_the_index_before(run, docs):
    run("ingest", str(docs))
    run("rebuild")
    assert "no index file before" in run("rollback", exit_code=1).stderr
    run("rebuild")
    assert "back to the index of" in run("rollback").stdout
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert state["index"]["count"] == state["chunks"]


def test_two_ingests_at_once(run, docs, home):
    with IngestLock(home, "default"):
        result = run("ingest", str(docs), "--json", exit_code=1)
        assert json.loads(result.stdout)["error"]["code"] == "ingest_in_progress"
        assert run("ingest", str(docs), "--collection", "other").exit_code == 0


def test_a_data_directory_that_cannot_be_written(run, docs, tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "blocked" / "home"))
    result = run("ingest", str(docs), "--json", exit_code=1)
    assert json.loads(result.stdout)["error"]["code"] == "data_directory_unwritable"


def test_ctrl_c_finishes_the_document_and_tells_what_is_left(tmp_path, models_dir, embedder_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number:03}.txt").write_text(f"Document {number} tells of rivers and lakes. " * 10)
    environment = {**os.environ, "RAG_HOME": str(tmp_path / "home"), "RAG_MODELS_DIR": str(models_dir)}
    command = [sys.executable, "-m", "indexer.cli", "ingest", str(folder), "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(100, process.kill)
        watchdog.start()
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in process.stdout]
        told = process.stderr.read()
        watchdog.cancel()
    assert first["outcome"] == "ingested"
    summary = rest[-1]
    assert summary["type"] == "summary"
    assert summary["skipped"] > 0
    assert summary["ingested"] + summary["skipped"] == 400
    assert "Stopping after what is being embedded" in told
    assert process.returncode == 1
    listed = subprocess.run(
        [sys.executable, "-m", "indexer.cli", "list", "--json"], env=environment, capture_output=True, check=True
    )
    assert len(json.loads(listed.stdout)["documents"]) == summary["ingested"]


def test_the_second_interruption_stops_at_once_and_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert not interruption.requested()
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("number", "again"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_who_has_no_keyboard_is_not_told_of_keys(number, again, capsys):
    with Interruption("this batch") as interruption, interruption.working():
        signal.raise_signal(number)
    told = capsys.readouterr().err
    assert told.startswith("Stopping after this batch")
    assert ("Ctrl-C" in told) == again


def test_nothing_is_finished_where_nothing_is_at_work(capsys):
    with Interruption() as interruption:
        with interruption.working():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested()
    assert capsys.readouterr().err == ""


INTERRUPTED_TWICE = """
import signal, threading
from concurrent.futures import ThreadPoolExecutor
from indexer.commands.interruption import Interruption

embedding = ThreadPoolExecutor()
embedding.submit(threading.Event().wait)
with Interruption() as interruption, interruption.working():
    print("begun")
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
"""


def test_the_second_interruption_waits_for_no_thread():
    command = [sys.executable, "-c", INTERRUPTED_TWICE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "begun\n")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["Stopping", "Stopped;"]


def test_a_path_that_may_not_be_read_is_one_failed_file_and_no_wrong_usage(run, docs, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "closed")  # root may read everything, so permissions alone would not fail for it
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    *_, failed, summary = lines(run("ingest", str(docs), str(tmp_path / "closed"), "--json", exit_code=1))
    assert failed["error"]["code"] == "source_unreadable"
    assert (summary["ingested"], summary["failed"]) == (2, 1)


def test_what_a_parser_says_is_told_with_the_name_of_the_file(run, docs, monkeypatch):
    (docs / "d.pdf").write_bytes(b"%PDF-1.7 and no more")
    (docs / "empty.txt").write_bytes(b"")
    monkeypatch.chdir(docs.parent)
    result = run("ingest", "docs", exit_code=1)
    told = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert told[0].startswith(f"error[source_damaged]: {docs / 'd.pdf'}: ")
    assert told[1] == "error[source_empty]: docs/empty.txt is empty."


def test_a_guess_at_an_encoding_is_told_with_the_file(run, docs):
    mixed = "Die Größe der Flüsse.\nL’été à la rivière, déjà.\nEl niño comió una piña. ¡Qué corazón!\nJoão não sabe.\n"
    (docs / "old.txt").write_bytes(mixed.encode("cp1252"))
    (docs / "french.txt").write_bytes("L’été à la rivière, où l’eau coule déjà.\n".encode("cp1252"))
    files = {Path(file["uri"]).name: file for file in lines(run("ingest", str(docs), "--json"))[:-1]}
    (notice,) = files["old.txt"]["notices"]
    assert "guessed, cp1252" in notice
    assert all(not file["notices"] for name, file in files.items() if name != "old.txt")


def test_few_passages_need_no_index_file(run, docs, home):
    run("ingest", str(docs))
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert (state["chunks"], state["index"]) == (3, None)
    assert not (home / "indexes").exists()


def test_an_index_file_that_cannot_be_written_hides_nothing(run, docs, home, monkeypatch):
    monkeypatch.setattr(live_vectors, "_FLUSH_AT", 1)
    home.mkdir()
    (home / "indexes").write_text("not a folder")
    result = run("ingest", str(docs))
    assert result.stdout.startswith("2 ingested; 3 chunks")
    assert "warning[data_directory_unwritable]" in result.stderr
    *_, summary, notice = lines(run("ingest", str(docs), "--json"))
    assert (summary["type"], summary["unchanged"]) == ("summary", 2)
    assert (notice["type"], notice["code"]) == ("notice", "data_directory_unwritable")
    (home / "indexes").unlink()
    assert run("ingest", str(docs)).stderr == ""
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert state["index"]["count"] == 3


def test_deleting_tells_what_is_deleted_though_the_index_cannot_be_written(run, docs, monkeypatch):
    run("ingest", str(docs))

    def refuse(*_, **__):
        raise DiskFull("The disk is full.", hint="Free some space.")

    monkeypatch.setattr(LiveVectors, "flush", refuse)
    result = run("delete", str(docs / "a.md"))
    assert result.stdout.startswith("deleted ")
    assert "warning[disk_full]" in result.stderr


def test_a_mistyped_path_leaves_no_collection(run, tmp_path):
    failed, summary = lines(run("ingest", str(tmp_path / "nothing"), "--json", exit_code=1))
    assert failed["error"]["code"] == "source_not_found"
    assert summary["failed"] == 1
    assert json.loads(run("status", "--json").stdout)["collections"] == []


def test_file_names_cannot_steer_the_terminal(run, docs):
    (docs / "c\x1b]0;x\x07.txt").write_text("Water falls.")
    (docs / "d\x9b.txt").write_bytes(b"")
    ingested = run("ingest", str(docs), exit_code=1)
    listed = run("list")
    deleted = run("delete", str(docs / "c\x1b]0;x\x07.txt"))
    for text in (ingested.stderr, listed.stdout, deleted.stdout):
        assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert "c\ufffd]0;x\ufffd.txt" in listed.stdout
    assert "c\ufffd]0;x\ufffd.txt" in deleted.stdout


def test_what_a_document_said_before_is_found_and_what_changed_is_told(run, docs):
    path = docs / "a.md"
    run("ingest", str(docs))
    (before,) = lines(run("changes", "--json", "--until", "2999-01-01"))[:1]
    path.write_text("# Rivers\n\nWater runs up.\n")
    run("ingest", str(docs))
    run("delete", str(path))
    kinds = [(change["kind"], Path(change["uri"]).name) for change in lines(run("changes", "--json"))]
    assert kinds == [("added", "a.md"), ("added", "b.txt"), ("replaced", "a.md"), ("deleted", "a.md")]
    assert "deleted" in run("changes", "--since", "1h").output
    versions = json.loads(run("history", str(path), "--json").stdout)["versions"]
    assert versions == json.loads(run("history", str(before["document_id"]), "--json").stdout)["versions"]
    assert versions[1]["since"] == before["at"]
    shown = run("history", str(path)).output
    assert "2 chunks" in shown
    assert shown.split("\n")[2].split()[0] == versions[1]["since"]  # as it is stored: a time before finds nothing of it
    assert run("changes").output.startswith(f"{before['at']} added ")
    assert "2 past versions" in run("status").output

    def found(moment):
        from rag.commands.ask import search

        result = CliRunner().invoke(search, ["water", "--as-of", moment, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return {passage["text"] for passage in json.loads(result.stdout)["passages"] if passage["uri"] == str(path)}

    assert any("Water runs down." in text for text in found(versions[1]["since"]))
    assert any("Water runs up." in text for text in found(versions[0]["since"]))
    assert found(versions[0]["until"]) == set()

    run("prune", "--older-than", "0")
    assert lines(run("changes", "--json")) == []
    assert "unknown_document" in run("history", str(path), "--json", exit_code=1).output
    assert "invalid_request" in run("changes", "--since", "yesterday", "--json", exit_code=2).output


def test_an_ingest_is_a_job_that_others_see(run, docs):
    (docs / "picture.md").write_bytes(bytes(range(256)) * 9)
    summary = lines(run("ingest", str(docs), "--meta", "team=red", "--json", exit_code=1))[-1]
    job = json.loads(run("jobs", str(summary["job"]), "--json").stdout)
    assert (job["state"], job["outcomes"]) == ("succeeded", {"ingested": 2, "failed": 1})
    assert (job["uris"], job["metadata"]) == ([str(docs)], {"team": "red"})
    assert [file["outcome"] for file in job["files"]] == ["ingested", "ingested", "failed"]
    again = lines(run("ingest", str(docs), "--json", exit_code=1))[-1]
    assert json.loads(run("jobs", "--json").stdout)["jobs"][0]["outcomes"] == {"unchanged": 2, "failed": 1}
    shown = run("jobs", str(again["job"])).output
    assert f"{again['job']}  " in shown
    assert "source_binary" in shown


def test_a_failed_job_tells_each_error_once(run, docs, monkeypatch):
    (docs / "picture.md").write_bytes(bytes(range(256)) * 9)
    job = lines(run("ingest", str(docs / "picture.md"), "--json", exit_code=1))[-1]["job"]
    shown = run("jobs", str(job), exit_code=1).output
    assert shown.count("picture.md holds binary data") == 1
    assert json.loads(run("jobs", str(job), "--json", exit_code=1).stdout)["error"]["code"] == "source_binary"
    monkeypatch.setattr("rag.stores.jobs.queue.JobQueue.files", lambda *_, **__: [])
    assert "picture.md holds binary data" in run("jobs", str(job), exit_code=1).output


def test_an_ingest_is_cancelled_from_elsewhere(run, docs, monkeypatch):
    monkeypatch.setattr("indexer.job_run._NOTE_S", 0)
    monkeypatch.setattr(JobRun, "found", lambda self, _sources: self._queue.cancel(self.id))
    summary = lines(run("ingest", str(docs), "--json", exit_code=1))[-1]
    assert summary["skipped"] > 0


def test_an_ingest_is_cancelled_while_files_are_looked_for(run, docs, monkeypatch):
    record = JobQueue.record

    def cancel_first(self, job_id, owner, files, **counts):
        self.cancel(job_id)
        return record(self, job_id, owner, files, **counts)

    with monkeypatch.context() as patched:
        patched.setattr(JobQueue, "record", cancel_first)
        patched.setattr("indexer.job_run._NOTE_S", 0)
        told = run("ingest", str(docs), exit_code=130)
    assert "Stopped while looking for files; nothing was done." in told.stderr
    (job,) = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert (job["state"], job["outcomes"]) == ("cancelled", {})


def test_an_ingest_that_cannot_go_on_is_a_failed_job(run, docs, home, monkeypatch):
    def full(self, *_args, **_kwargs):
        raise DiskFull("The disk is full.", hint="Make room.")

    with monkeypatch.context() as patched:
        patched.setattr("rag.stores.documents.SqlDocumentStore.ensure_collection", full)
        run("ingest", str(docs), exit_code=1)
    (job,) = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert (job["state"], job["error"]["code"]) == ("failed", "disk_full")


def test_an_ingest_can_be_left_to_a_worker(run, docs, monkeypatch):
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    (queued,) = lines(run("ingest", str(docs), "--queue", "--json"))
    assert (queued["state"], queued["collection"]) == ("queued", "default")
    assert "waits for `indexer worker`" in run("ingest", str(docs), "--queue").output
    done = lines(run("worker", "--once", "--json"))
    assert [job["outcomes"] for job in done] == [{"ingested": 2}, {"unchanged": 2}]
    assert run("worker", "--once").stderr.endswith("no job can be begun now\n")
    run("jobs", "99", exit_code=1)
    assert "indexer jobs 12 --cancel" in run("jobs", "--cancel", exit_code=1).output


def test_a_job_that_has_ended_is_not_cancelled_and_that_is_said(run, docs):
    job = str(lines(run("ingest", str(docs), "--json"))[-1]["job"])
    assert (
        f"Job {job} had ended before (succeeded): nothing was cancelled."
        in run("jobs", job, "--cancel", exit_code=1).stderr
    )
    assert json.loads(run("jobs", job, "--cancel", "--json", exit_code=1).stdout)["error"]["code"] == "conflict"
    waiting = str(lines(run("ingest", str(docs), "--queue", "--json"))[0]["job"])
    for _ in range(2):  # it is what was asked for
        assert run("jobs", waiting, "--cancel").stderr == ""


def test_a_killed_ingest_is_told_as_such(run, docs, home):
    program = (
        "import os, sys\nfrom indexer.report import Watcher\nfrom indexer.job_run import own_job\n"
        "from rag.config import Settings\nfrom rag.factory import open_library\nfrom rag.job_types import JobRequest\n"
        "with open_library(Settings(_env_file=None)) as library:\n"
        "    request = JobRequest(collection='default', paths=(sys.argv[1],), foreground=True)\n"
        "    with own_job(library, request, inner=Watcher()):\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(docs)], check=False)
    assert done.returncode == -signal.SIGKILL
    (job,) = json.loads(run("jobs", "--json").stdout)["jobs"]
    assert (job["state"], job["error"]["code"]) == ("failed", "worker_died")
    assert lines(run("ingest", str(docs), "--json"))[-1]["ingested"] == 2


def test_duplicates_and_what_is_no_text_are_told_everywhere(run, docs):
    said = "The feed pump runs at 40 bar and is checked each morning by the shift that leaves.\n"
    (docs / "copy.txt").write_text(said.upper())
    (docs / "first.txt").write_text(said)
    (docs / "longer.txt").write_text(f"{said}Noted.\n")
    dump = " ".join(f"{number * 2654435761 % 2**32:08x}" for number in range(120))
    (docs / "dump.md").write_text(f"# Dump\n\n{said}\n## Bytes\n\n{dump}\n")
    *files, summary = lines(run("ingest", str(docs), "--json"))
    told = {Path(file["uri"]).name: file["quality"] for file in files}
    nothing = {"duplicates": 0, "near_duplicates": 0, "boilerplate": 0, "flaws": {}}
    assert told["a.md"] == told["copy.txt"] == nothing  # as it stood then
    assert told["first.txt"] == nothing | {"duplicates": 1}
    assert told["longer.txt"] == nothing | {"near_duplicates": 1}
    assert told["dump.md"]["flaws"] == {"encoded": 1}
    assert (summary["duplicates"], summary["near_duplicates"], summary["flaws"]) == (2, 1, {"encoded": 1})
    listed = json.loads(run("list", "--json").stdout)["documents"]
    assert {Path(each["uri"]).name: each["quality"]["duplicates"] for each in listed} == {
        "a.md": 0, "b.txt": 0, "copy.txt": 1, "first.txt": 1, "dump.md": 1, "longer.txt": 0,
    }  # fmt: skip
    assert {Path(each["uri"]).name for each in listed if each["quality"]["near_duplicates"]} == {"longer.txt"}
    assert "1 near duplicate " in run("list").stdout
    assert {each["language"] for each in listed if Path(each["uri"]).name == "first.txt"} == {"en"}
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    assert state["quality"] == {"duplicates": 3, "boilerplate": 0, "flaws": {"encoded": 1}}
    assert "8 chunks (3 duplicates, 1 encoded)" in run("status").stdout
    shown = run("jobs", str(summary["job"])).output
    assert "first.txt, 1 chunk (1 duplicate)\n" in shown
    assert "dump.md, 2 chunks (1 duplicate, 1 encoded)\n" in shown
    assert "longer.txt, 1 chunk (1 near duplicate)\n" in shown
    assert "a.md, 2 chunks\n" in shown
    assert all(file["quality"] is None for file in lines(run("ingest", str(docs), "--json"))[:-1])
