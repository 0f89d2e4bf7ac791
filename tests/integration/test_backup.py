"""``rag backup`` and ``rag restore``, as a person uses them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from indexer.cli import main as indexer_main
from rag.cli import main as rag_main
from rag.config import load_settings
from rag.embedding.fake import HashingEmbedder
from rag.errors import ModelMissing
from rag.factory import Library, open_library
from rag.stores.archives import archive
from rag.stores.sqlite import schema
from tests.contracts.store_builders import fingerprint
from tests.faults.backups import upload

QUESTIONS = ("Which water stands?", "How fast is a river in the plain?", "bread")


@pytest.fixture
def tmp_path(scene):
    return scene.cleared()


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Make a data directory the one that commands use."""

    def choose(name: str):
        monkeypatch.setenv("RAG_HOME", str(tmp_path / name))
        return tmp_path / name

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())
    choose("home")
    return choose


@pytest.fixture
def run(use, monkeypatch):
    def invoke(program: str, *arguments: object, exit_code: int = 0):
        given = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", [program, *given])
        main = {"rag": rag_main, "indexer": indexer_main}[program]
        result = CliRunner().invoke(main, given, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


def error(result) -> dict:
    return json.loads(result.stdout)["error"]


@pytest.fixture
def home(run, use, tmp_path, scene):
    """Two collections with index files."""

    def make():
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
        (folder / "b.txt").write_text("LAKES\n\nWater stands.\n")
        (folder / "c.txt").write_text("Bread is made of flour and water.\n")
        run("indexer", "ingest", folder / "a.md", folder / "b.txt", "--meta", "year=2024")
        run("indexer", "ingest", folder / "c.txt", "-c", "kitchen")
        run("indexer", "rebuild")
        run("indexer", "rebuild", "-c", "kitchen")

    scene.set_up(make)
    return use("home")


def found() -> dict:
    """Everything that searches find, with their scores."""
    with open_library(load_settings()) as library:
        return {
            (collection.name, question): asyncio.run(
                library.pipeline.search(question, collection=collection.name)
            ).passages
            for collection in library.store.collections()
            for question in QUESTIONS
        }


def flat(passages: dict) -> list:
    return [passage for each in passages.values() for passage in each]


def ranked(passages: dict) -> list:
    """What is found without its scores."""
    return [(passage.chunk, passage.document, passage.also_in) for passage in flat(passages)]


@pytest.mark.parametrize("options", [(), ("--compress",)])
def test_what_is_restored_answers_as_before(run, use, home, tmp_path, options):
    before = found()
    told = json.loads(run("rag", "backup", tmp_path / "b.zip", "--json", *options).stdout)
    assert told["bytes"] == (tmp_path / "b.zip").stat().st_size
    assert [(c["name"], c["documents"]) for c in told["collections"]] == [("default", 2), ("kitchen", 1)]
    assert told["left_out"] == []
    use("other")
    restored = json.loads(run("rag", "restore", tmp_path / "b.zip", "--json").stdout)
    assert restored["moved_aside"] == []
    assert found() == before
    assert any(passages for passages in before.values())
    assert json.loads(run("indexer", "verify", "--json").stdout)["findings"] == []
    listed = json.loads(run("indexer", "list", "--json").stdout)["documents"]
    assert [document["metadata"] for document in listed] == [{"year": 2024}] * 2
    with closing(sqlite3.connect(tmp_path / "other" / "plumbline.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    kept = {path.relative_to(tmp_path / "other") for path in (tmp_path / "other" / "indexes").rglob("*.faiss")}
    assert kept == {path.relative_to(home) for path in (home / "indexes").rglob("*.faiss")}


def test_uploads_that_wait_are_backed_up_and_taken_in_where_they_are_restored(run, use, home, tmp_path, monkeypatch):
    monkeypatch.setattr("os.nice", lambda _: 0)  # the tests that follow are not to be slow
    with open_library(load_settings()) as library:
        upload(library.database, home, "Ice floats.")
    told = json.loads(run("rag", "backup", tmp_path / "b.zip", "--json").stdout)
    (waiting,) = [each["name"] for each in told["members"] if each["name"].startswith("blobs/")]
    use("other")
    run("rag", "restore", tmp_path / "b.zip")
    assert json.loads(run("indexer", "verify", "--json").stdout)["findings"] == []
    assert json.loads(run("indexer", "worker", "--once", "--json").stdout)["outcomes"] == {"ingested": 1}
    assert list((tmp_path / "other" / "blobs").iterdir()) == []
    assert (home / waiting).read_text() == "Ice floats."


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_an_upload_that_was_lost_while_it_waited_is_found_by_verify(run, home, damage):
    with open_library(load_settings()) as library:
        blob = home / "blobs" / upload(library.database, home, "Ice floats.").blob
    blob.unlink() if damage == "gone" else blob.write_text("Ice sinks..")
    (finding,) = json.loads(run("indexer", "verify", "--json", exit_code=1).stdout)["findings"]
    assert (finding["area"], finding["severity"], finding["repairable"]) == ("uploads", "damage", False)
    assert "u.txt" in finding["message"]
    job = finding["advice"].partition("indexer jobs ")[2].partition(" ")[0]
    run("indexer", "jobs", job, "--cancel")
    run("indexer", "verify")


def test_uploads_that_were_there_are_moved_aside_with_their_database(run, use, home, tmp_path):
    run("rag", "backup", tmp_path / "b.zip")
    with open_library(load_settings()) as library:
        name = upload(library.database, home, "Ice floats.").blob
    aside = json.loads(run("rag", "restore", tmp_path / "b.zip", "--force", "--json").stdout)["moved_aside"]
    (blobs,) = [Path(path) for path in aside if Path(path).name.startswith("blobs.before-restore-")]
    assert (blobs / name).read_text() == "Ice floats."
    assert list((home / "blobs").iterdir()) == []


def test_people_are_told_in_words(run, use, home, tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_MODELS_DIR", str(tmp_path / "no-models"))
    assert "2 collections, 3 documents" in run("rag", "backup", tmp_path / "b.zip").stdout
    use("other")
    result = run("rag", "restore", tmp_path / "b.zip")
    assert "2 collections, 3 documents" in result.stdout
    assert "rag models pull all-minilm-l6-v2" in result.stderr
    assert "rag models pull qwen2.5-coder-1.5b-instruct" in result.stderr


def test_another_embedder_is_told(run, use, home, tmp_path, monkeypatch):
    run("rag", "backup", tmp_path / "b.zip")
    use("other")
    monkeypatch.setenv("RAG_EMBEDDER", "another")
    (note,) = [
        note
        for note in json.loads(run("rag", "restore", tmp_path / "b.zip", "--json").stdout)["notes"]
        if "RAG_EMBEDDER" in note
    ]
    assert "RAG_EMBEDDER is another. Set it to all-minilm-l6-v2" in note


def test_the_collections_own_embedders_are_told_where_they_are_missing(run, use, home, tmp_path, monkeypatch):
    identity = {"": "all-minilm-l6-v2@0123456789abcdef+unit", "kitchen": "kitchen-words@fedcba9876543210+unit"}
    with closing(sqlite3.connect(home / "plumbline.db")) as connection:
        for name, embedder in identity.items():
            connection.execute("UPDATE collections SET embedder = ? WHERE ? IN ('', name)", (embedder, name))
        connection.commit()
    run("rag", "backup", tmp_path / "b.zip")
    use("other")
    here = SimpleNamespace(sha256="0123456789abcdef" * 4)

    def resolve(_catalog, name, **_kind):
        if name == "kitchen-words":
            raise ModelMissing("The model kitchen-words is not here.", hint="Run: rag models pull kitchen-words")
        return here

    def notes(*options):
        told = json.loads(run("rag", "restore", tmp_path / "b.zip", "--json", *options).stdout)["notes"]
        return [note for note in told if note.startswith("The embedder of")]

    monkeypatch.setattr("rag.catalog.Catalog.resolve", resolve)
    (missing,) = notes()
    assert "The embedder of 'kitchen', kitchen-words, is not here" in missing
    assert "rag models pull kitchen-words" in missing
    here.sha256 = "f" * 64
    other, _ = notes("--force")
    assert "The embedder of 'default', all-minilm-l6-v2, is another file here" in other


def test_a_backup_holds_no_secrets(run, home, tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_GENERATOR_URL", "http://user:hush-1@host:8080/v1?token=hush-2")
    monkeypatch.setenv("RAG_GENERATOR_API_KEY", "hush-3")
    monkeypatch.setenv("RAG_PIP_COMMAND", "pip --index-url https://user:hush-4@host")
    told = run("rag", "backup", tmp_path / "b.zip", "--json").stdout
    assert json.loads(told)["settings"]["generator_url"] == "http://host:8080/v1"
    assert "hush" not in told
    assert b"hush" not in (tmp_path / "b.zip").read_bytes()
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_replaced_only_by_force(run, home, tmp_path):
    target = tmp_path / "b.zip"
    target.write_text("precious")
    assert error(run("rag", "backup", target, "--json", exit_code=1))["code"] == "conflict"
    assert target.read_text() == "precious"
    run("rag", "backup", target, "--force")
    with archive.reading(target, lambda *_: None) as opened:
        assert len(opened.manifest.collections) == 2


@pytest.mark.parametrize("command", [("rag", "backup"), ("indexer", "export", "-c", "kitchen")])
@pytest.mark.parametrize("place", ["data.db", "data.db-wal", "spool", "kv/b.zip"])
def test_the_data_itself_is_replaced_by_nothing(run, home, monkeypatch, command, place):
    (home / "plumbline.db").rename(home / "data.db")
    monkeypatch.setenv("RAG_DATABASE_URL", f"sqlite:///{home / 'data.db'}")
    before = (home / "data.db").read_bytes()
    refused = error(run(*command, home / place, "--force", "--json", exit_code=1))
    assert refused["code"] == "invalid_request"
    assert (home / "data.db").read_bytes() == before


def test_a_backup_may_have_the_name_of_a_database(run, home, tmp_path):
    run("rag", "backup", tmp_path / "plumbline.db")
    with archive.reading(tmp_path / "plumbline.db", lambda *_: None) as opened:
        assert len(opened.manifest.collections) == 2


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_has_tools_of_its_own(run, tmp_path, monkeypatch, command):
    monkeypatch.setenv("RAG_DATABASE_URL", "postgresql+psycopg://user:secret@host/db")
    told = error(run("rag", command, tmp_path / "b.zip", "--json", exit_code=1))
    assert (told["code"], "pg_dump" in told["hint"], "secret" in str(told)) == ("invalid_settings", True, False)


def test_nothing_to_back_up(run, use, tmp_path):
    assert error(run("rag", "backup", tmp_path / "b.zip", "--json", exit_code=1))["code"] == "not_found"
    assert not (tmp_path / "home").exists()
    use("home").mkdir()
    sqlite3.connect(tmp_path / "home" / "plumbline.db").close()
    (tmp_path / "home" / "plumbline.db").touch()
    assert error(run("rag", "backup", tmp_path / "b.zip", "--json", exit_code=1))["code"] == "not_found"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_place_that_is_not_there(run, home, tmp_path):
    told = error(run("rag", "backup", tmp_path / "nowhere" / "b.zip", "--json", exit_code=1))
    assert told["code"] == "storage_error"
    assert "nowhere" in told["message"]
    for force in (["--force"], []):  # whatever stands in its way
        told = error(run("rag", "restore", tmp_path / "b.zip", *force, "--json", exit_code=1))
        assert (told["code"], told["message"]) == ("source_not_found", f"{tmp_path / 'b.zip'} does not exist.")


def test_a_path_through_a_file_is_told_as_that(run, home, tmp_path):
    (tmp_path / "file").touch()
    for command, code in (("backup", "storage_error"), ("restore", "source_unreadable")):
        told = error(run("rag", command, tmp_path / "file" / "b.zip", "--json", exit_code=1))
        assert (told["code"], "Not a directory" in told["message"]) == (code, True)
        assert told["hint"] == "Check the path: a part of it that should be a folder is a file."


def test_a_data_directory_that_is_a_file(run, use, home, tmp_path):
    run("rag", "backup", tmp_path / "b.zip", "--json")
    (tmp_path / "file").touch()
    use("file")
    told = error(run("rag", "restore", tmp_path / "b.zip", "--json", exit_code=1))
    assert (told["code"], "is not a directory" in told["message"]) == ("data_directory_unwritable", True)


def test_a_database_that_is_there_is_moved_aside_by_force(run, use, home, tmp_path):
    run("rag", "backup", tmp_path / "b.zip")
    before = found()
    run("indexer", "delete", str(tmp_path / "docs" / "a.md"))
    after = found()
    assert after != before
    assert error(run("rag", "restore", tmp_path / "b.zip", "--json", exit_code=1))["code"] == "conflict"
    assert found() == after
    aside = json.loads(run("rag", "restore", tmp_path / "b.zip", "--force", "--json").stdout)["moved_aside"]
    assert found() == before
    old = use("old")
    old.mkdir()
    indexes, database = sorted(aside)
    shutil.move(database, old / "plumbline.db")
    shutil.move(indexes, old / "indexes")
    assert found() == after


def test_a_data_directory_in_use_is_left_alone(run, home, tmp_path):
    run("rag", "backup", tmp_path / "b.zip")
    with open_library(load_settings()) as library:
        library.store.collections()
        told = error(run("rag", "restore", tmp_path / "b.zip", "--force", "--json", exit_code=1))
        assert (told["code"], "rag serve" in told["hint"]) == ("database_busy", True)
        library.store.ensure_collection("new", fingerprint())
    run("rag", "restore", tmp_path / "b.zip", "--force")


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_index_files_that_are_no_good_are_made_anew(run, use, home, tmp_path, damage):
    before = found()
    victim = max((home / "indexes" / "1").iterdir())
    if damage == "gone":
        shutil.rmtree(victim)
    else:
        (victim / "index.faiss").write_bytes(b"nothing")
    result = run("rag", "backup", tmp_path / "b.zip", "--json")
    assert json.loads(result.stdout)["left_out"] == [f"1/{victim.name}"]
    use("other")
    notes = json.loads(run("rag", "restore", tmp_path / "b.zip", "--json").stdout)["notes"]
    assert any("1 index file left out of the backup" in note for note in notes)
    assert not list((tmp_path / "other" / "indexes").glob(f"1/{victim.name}"))
    after = found()
    assert ranked(after) == ranked(before)
    # An index file keeps other roundings of the vectors than the database.
    assert [p.scores.dense for p in flat(after)] == pytest.approx([p.scores.dense for p in flat(before)], abs=1e-6)
    assert json.loads(run("indexer", "verify", "--json").stdout)["ok"]


def test_an_older_backup_is_migrated_when_it_is_opened(run, use, tmp_path, monkeypatch):
    use("old")
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", ("0001",))
        run("rag", "migrate")
    told = json.loads(run("rag", "backup", tmp_path / "b.zip", "--json").stdout)
    assert told["revision"] == "0001"  # and not migrated for the sake of a copy
    use("new")
    run("rag", "restore", tmp_path / "b.zip")
    with open_library(load_settings()) as library:
        assert library.database.revision == schema.REVISIONS[-1]


@pytest.mark.parametrize("newer", ["revision", "format"])
def test_a_newer_programs_backup_is_refused(run, use, home, tmp_path, monkeypatch, newer):
    run("rag", "backup", tmp_path / "b.zip")
    use("other")
    if newer == "revision":
        monkeypatch.setattr(schema, "REVISIONS", ("0000",))
    else:
        monkeypatch.setattr(archive, "FORMAT_VERSION", 0)
    assert error(run("rag", "restore", tmp_path / "b.zip", "--json", exit_code=1))["code"] == "database_too_new"
    assert not (tmp_path / "other").exists()


def test_a_damaged_database_is_not_passed_off_as_a_backup(run, home, tmp_path):
    data = bytearray((home / "plumbline.db").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 16] = b"\xa5" * 16
    (home / "plumbline.db").write_bytes(data)
    told = error(run("rag", "backup", tmp_path / "b.zip", "--json", exit_code=1))
    assert told["code"] == "database_damaged"
    assert not (tmp_path / "b.zip").exists()


def test_a_damaged_database_can_be_replaced(run, home, tmp_path):
    run("rag", "backup", tmp_path / "b.zip")
    before = found()
    (home / "plumbline.db").write_bytes(b"noise" * 5000)
    (home / "plumbline.db-wal").write_bytes(b"more noise")
    aside = json.loads(run("rag", "restore", tmp_path / "b.zip", "--force", "--json").stdout)["moved_aside"]
    assert [Path(path).read_bytes() for path in aside if "plumbline.db" in Path(path).name] == [b"noise" * 5000]
    assert found() == before


def test_a_database_somewhere_else(run, use, home, tmp_path, monkeypatch):
    before = found()
    run("rag", "backup", tmp_path / "b.zip")
    use("other")
    monkeypatch.setenv("RAG_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere' / 'data.db'}")
    run("rag", "restore", tmp_path / "b.zip")
    assert (tmp_path / "elsewhere" / "data.db").exists()
    assert found() == before
    run("rag", "backup", tmp_path / "c.zip")
