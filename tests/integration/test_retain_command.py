"""How long versions are kept is set once, and what a shell has or lacks in its environment changes nothing."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from indexer.cli import main
from rag.embedding.fake import HashingEmbedder
from rag.factory import Library


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAG_RETENTION_DAYS", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Library, "_load_embedder", lambda self: HashingEmbedder())

    def run(*args, exit_code=0):
        result = CliRunner().invoke(main, args, catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def kept(run):
    (state,) = json.loads(run("status", "--json").stdout)["collections"]
    return state["retention_days"], state["past_versions"]


def test_a_shell_without_the_variable_deletes_nobodys_history(run, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("Water runs down.")
    (tmp_path / "b.txt").write_text("Water stands.")
    with monkeypatch.context() as service:
        service.setenv("RAG_RETENTION_DAYS", "365")
        run("ingest", "a.txt")
        assert "note:" not in run("status").output
    run("delete", str(tmp_path / "a.txt"))
    monkeypatch.setenv("RAG_RETENTION_DAYS", "0")
    run("ingest", "b.txt")
    assert kept(run) == (365, 1)
    assert "versions kept 365 days, 1 past version since" in run("status").stdout
    assert "indexer retain -c default 0" in run("status").stderr


def test_retain_shows_and_changes_it(run, tmp_path):
    (tmp_path / "a.txt").write_text("Water runs down.")
    run("ingest", "a.txt")
    run("delete", str(tmp_path / "a.txt"))
    assert "default: versions are kept for 30 days; 1 past version since" in run("retain").stdout
    changed = json.loads(run("retain", "0", "--json").stdout)
    assert changed == {"collection": "default", "retention_days": 0, "before": 30}
    assert kept(run) == (0, 1)
    assert "deleted 1 version;" in run("prune").stdout
    assert "kept for 90 days, not 0 any more; 0 past" in run("retain", "90").stdout
    assert "unknown_collection" in run("retain", "9", "-c", "x", "--json", exit_code=1).output
    for days in ("-1", "40000", "nan", "inf"):
        run("retain", "--", days, exit_code=2)
        run("prune", f"--older-than={days}", exit_code=2)
