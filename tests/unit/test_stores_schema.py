"""The schema: models and migrations agree, and a database is brought to the right revision or refused."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from rag.config import Settings
from rag.errors import DatabaseOutdated, DatabaseTooNew, InvalidSettings
from rag.stores import migrations
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FULL_TEXT_TABLE, FtsIndex
from rag.stores.jobs.tables import JobRow
from rag.stores.sqlite import schema
from rag.stores.sqlite.database import Database, migrate
from rag.stores.verification.findings import verify_database
from tests.contracts.store_builders import fingerprint, ingest, settings_in
from tests.new_databases import Upgrade
from tests.new_databases import migrate as run_migrations

NEWEST = schema.REVISIONS[-1]
NEXT = """
from alembic import op
revision = "9999"
down_revision = "{newest}"
def upgrade():
    op.execute("ALTER TABLE collections ADD COLUMN note TEXT")
    {then}
"""


@pytest.fixture(autouse=True)
def _with_migrations(monkeypatch):
    monkeypatch.setattr(schema, "upgrade", run_migrations)


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path / "home")


@pytest.fixture
def database_file(settings):
    return settings.home / "plumbline.db"


def next_program(monkeypatch, tmp_path, *, then="pass"):
    """Let this process be a newer program, with one more migration."""
    scripts = tmp_path / "scripts"
    shutil.copytree(Path(migrations.__file__).parent, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9999_more.py").write_text(NEXT.format(then=then, newest=schema.REVISIONS[-1]))
    monkeypatch.setattr(schema, "SCRIPTS", str(scripts))
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))


def query(file, sql):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def test_models_and_migrations_agree(settings):
    def ours(_object, name, kind, _reflected, _compare_to):
        return not (kind == "table" and name.startswith(FULL_TEXT_TABLE))

    database = Database.open(settings)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, JobRow.metadata) == []
    database.close()


def test_the_known_revisions_are_those_of_the_scripts():
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == schema.REVISIONS


@pytest.mark.parametrize("revisions", [schema.REVISIONS, schema.REVISIONS[:1]])
def test_the_databases_of_other_tests_are_those_that_migrations_make(tmp_path, monkeypatch, revisions):
    monkeypatch.setattr(schema, "REVISIONS", revisions)
    whole = settings_in(tmp_path / "first")
    Database.open(whole).close()
    monkeypatch.setattr(schema, "upgrade", Upgrade())
    for home in ("second", "third"):
        Database.open(settings_in(tmp_path / home)).close()
    made = [tmp_path / home / "plumbline.db" for home in ("first", "second", "third")]
    layouts = [query(file, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name") for file in made]
    assert layouts[0] == layouts[1] == layouts[2]
    # The first of them was used already; and how full text keeps its index, SQLite alone knows.
    names = {name for kind, name, *_ in layouts[0] if kind == "table" and not name.endswith("_data")}
    for name in names - {"sqlite_sequence"}:
        rows = [query(file, f"SELECT * FROM {name}") for file in made]  # noqa: S608
        assert rows[0] == rows[1] == rows[2], name


def test_members_are_counted_in_databases_from_before(settings, database_file, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", schema.REVISIONS[: schema.REVISIONS.index("0020")])
        Database.open(settings).close()
    with closing(sqlite3.connect(database_file)) as connection:
        connection.execute(
            "INSERT INTO collections (id, name, parser, chunker, embedder, dimension, seq, feed_floor, created_at,"
            " checksum) VALUES (1, 'c', 'p', 'c', 'e', 8, 0, 0, '2026-01-01 00:00:00.000000', 0)"
        )
        uris = [("/a.zip", "active"), ("/a.zip!/x", "active"), ("/a.zip!/in!/y", "active"), ("/a.zip!/z", "retired")]
        for number, (uri, status) in enumerate([*uris, ("/a.zip0", "active")]):
            connection.execute("INSERT INTO documents (id, collection_id, uri) VALUES (?, 1, ?)", (number, uri))
            connection.execute(
                "INSERT INTO document_versions (document_id, collection_id, status, title, media_type, sha256, size,"
                " mtime_ns, parser, chunker, chunk_count, created_at, metadata)"
                " VALUES (?, 1, ?, 't', 'm', 's', 1, 1, 'p', 'c', 0, '2026-01-02 00:00:00.000000', '{}')",
                (number, status),
            )
        connection.commit()
    Database.open(settings).close()
    counted = "SELECT members FROM document_versions ORDER BY document_id"
    assert [row[0] for row in query(database_file, counted)] == [2, 0, 0, 0, 0]


def test_a_current_database_opens_without_alembic(settings):
    Database.open(settings).close()
    program = (
        "import sys; from rag.config import Settings; from rag.stores.sqlite.database import Database;"
        f"Database.open(Settings(home={str(settings.home)!r})).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_data_directory_is_the_owners_alone(settings):
    Database.open(settings).close()
    assert settings.home.stat().st_mode & 0o777 == 0o700


def test_transactions_are_durable_and_keys_are_enforced(settings):
    database = Database.open(settings)
    with database.read() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_an_older_database_is_backed_up_and_migrated(settings, database_file, monkeypatch, tmp_path):
    database = Database.open(settings)
    ingest(SqlDocumentStore(database), SqlDocumentStore(database).ensure_collection("c", fingerprint()), "/a", ["one"])
    database.close()
    next_program(monkeypatch, tmp_path)
    database = Database.open(settings)
    assert database.revision == "9999"
    database.close()
    backup = settings.home / f"plumbline.before-migration-from-{NEWEST}.db"
    assert query(backup, "SELECT version_num FROM alembic_version") == [(NEWEST,)]
    assert query(backup, "SELECT text FROM chunks") == [("one",)]
    assert query(database_file, "SELECT note FROM collections") == [(None,)]


def test_a_migration_that_fails_changes_nothing(settings, database_file, monkeypatch, tmp_path):
    Database.open(settings).close()
    next_program(monkeypatch, tmp_path, then="raise RuntimeError('half way')")
    with pytest.raises(RuntimeError, match="half way"):
        Database.open(settings)
    assert query(database_file, "SELECT version_num FROM alembic_version") == [(NEWEST,)]
    assert "note" not in {row[1] for row in query(database_file, "PRAGMA table_info(collections)")}


def test_an_outdated_database_is_refused_where_migrating_is_off(settings, monkeypatch, tmp_path):
    with pytest.raises(DatabaseOutdated, match="There is no database"):
        Database.open(settings, migrate=False)
    Database.open(settings).close()
    Database.open(settings, migrate=False).close()
    next_program(monkeypatch, tmp_path)
    with pytest.raises(DatabaseOutdated, match=f"{NEWEST}.*9999"):
        Database.open(settings, migrate=False)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_database_of_a_newer_program_is_refused(settings, monkeypatch, tmp_path, allowed):
    with monkeypatch.context() as newer:
        next_program(newer, tmp_path)
        Database.open(settings).close()
    with pytest.raises(DatabaseTooNew, match=f"9999.*{NEWEST}.*Upgrade Plumbline"):
        Database.open(settings, migrate=allowed)


def test_migrate_by_url(settings):
    settings.home.mkdir()
    migrate(settings.sqlalchemy_url, retention_days=30)
    database = Database.open(settings, migrate=False)
    assert database.revision == schema.REVISIONS[-1]
    database.close()


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_databases_that_cannot_be_used_are_refused(tmp_path, url):
    with pytest.raises(InvalidSettings):
        Database.open(Settings(home=tmp_path, database_url=url))


def test_processes_that_start_together_migrate_once(settings):
    program = (
        "from rag.config import Settings; from rag.stores.sqlite.database import Database;"
        f"print(Database.open(Settings(home={str(settings.home)!r})).revision)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    results = [(process.communicate(timeout=60), process.returncode) for process in started]
    assert [code for _, code in results] == [0, 0, 0], results
    assert {output.strip() for (output, _), _ in results} == {schema.REVISIONS[-1]}


def test_documents_of_the_first_revision_are_read_after_the_migration(settings, database_file, monkeypatch):
    with monkeypatch.context() as first:
        first.setattr(schema, "REVISIONS", ("0001",))
        Database.open(settings).close()
    with closing(sqlite3.connect(database_file)) as connection:
        connection.executescript(
            """
            INSERT INTO collections VALUES (1, 'c', 'p', 'c', 'e', 8, 1, 0, '2026-01-01 00:00:00.000000');
            INSERT INTO documents VALUES (1, 1, '/a');
            INSERT INTO document_versions VALUES
                (1, 1, 1, 'active', 'A', 'text/plain', '', 3, 1, 'p', 'c', 1, 1, NULL,
                 '2026-01-01 00:00:00.000000', NULL);
            INSERT INTO document_texts VALUES (1, 0, 'one');
            INSERT INTO chunks VALUES (1, 1, 0, 0, 3, NULL, 1, '[]', '', 'one');
            """
        )
    database = Database.open(settings)
    store = SqlDocumentStore(database)
    (document,) = store.documents(store.collection("c"))
    assert (document.title, document.metadata) == ("A", {})
    database.close()


def test_full_text_of_an_older_database_is_made_anew(settings, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", ("0001", "0002", "0003"))
        Database.open(settings).close()
    texts = {
        "/de": "Der Vertrag wurde mit einer Frist von drei Monaten gekündigt",
        "/zh": "員工每年享有三十天的年假。",
    }
    with closing(sqlite3.connect(settings.home / "plumbline.db")) as connection, connection:
        connection.execute(
            "INSERT INTO collections (id, name, parser, chunker, embedder, dimension, seq, feed_floor, created_at)"
            " VALUES (1, 'c', 'p', 'k', 'e', 8, 2, 0, '2026-01-01 00:00:00')"
        )
        for number, (uri, text) in enumerate(texts.items(), 1):
            connection.execute("INSERT INTO documents (id, collection_id, uri) VALUES (?, 1, ?)", (number, uri))
            connection.execute(
                "INSERT INTO document_versions (id, document_id, collection_id, status, title, media_type, sha256,"
                " size, mtime_ns, parser, chunker, chunk_count, activated_seq, created_at)"
                " VALUES (?, ?, 1, 'active', '', 'text/plain', '', 1, 1, 'p', 'k', 1, ?, '2026-01-01 00:00:00')",
                (number, number, number),
            )
            connection.execute("INSERT INTO document_texts VALUES (?, 0, ?)", (number, text))
            connection.execute(
                "INSERT INTO chunks (id, version_id, ordinal, start, end, token_count, heading_path, context, text)"
                " VALUES (?, ?, 0, 0, ?, 9, '[]', 'Titel', ?)",
                (number, number, len(text), text),
            )
    database = Database.open(settings)
    index, collection = FtsIndex(database), SqlDocumentStore(database).collection("c")
    for words, chunk_id in [("Verträge", 1), ("年假", 2), ("titel", 1)]:
        assert index.search(collection, words, 1)[0].chunk_id == chunk_id
    assert list(verify_database(database)) == []
    database.close()
    assert query_languages(settings) == [("de",), ("zh",)]
    assert query(settings.home / "plumbline.db", "SELECT DISTINCT scope FROM chunk_terms") == [("\ue0001",)]


def test_letters_of_an_older_databases_terms_are_made_plain(settings, database_file, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(schema, "REVISIONS", schema.REVISIONS[: schema.REVISIONS.index("0025")])
        database = Database.open(settings)
    store = SqlDocumentStore(database)
    collection = store.ensure_collection("c", fingerprint())
    ingest(store, collection, "/a", ["Łódź i Tromsø", "nothing of that kind"])
    ingest(store, collection, "/tr", ["Irmaklar Türkiye'nin doğusunda bulunan dağlardan denize akar ve çok uzundur."])
    database.close()
    with closing(sqlite3.connect(database_file)) as connection, connection:
        connection.execute("UPDATE chunk_terms SET text = 'łodz i tromsø' WHERE text = 'lodz i tromso'")
        connection.execute("UPDATE chunk_terms SET text = replace(text, ?, 'irmaklar')", ("irmak",))
        connection.execute("UPDATE alembic_version SET version_num = '0023'")
    database = Database.open(settings)
    assert len(FtsIndex(database).search(collection, "lodz", 2)) == 1
    assert len(FtsIndex(database).search(collection, "ırmakların", 2)) == 1
    assert list(verify_database(database)) == []
    database.close()


def query_languages(settings):
    return query(settings.home / "plumbline.db", "SELECT language FROM document_versions ORDER BY id")
