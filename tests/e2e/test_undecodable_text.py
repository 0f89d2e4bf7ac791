"""Bytes that are not UTF-8, and half surrogate pairs, are told as what is wrong with the input: never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FF = os.fsdecode(b"\xff")
HALF = '{"field": "uri", "operator": "==", "value": "\\ud800"}'


@pytest.mark.parametrize(
    ("program", "arguments", "code"),
    [
        ("rag", ["search", FF], "invalid_request"),
        ("rag", ["search", "water", "--filter", HALF], "invalid_request"),
        ("rag", ["search", "water", "-c", FF], "unknown_collection"),
        ("rag", ["ask", FF], "invalid_request"),
        ("indexer", ["ingest", "a.txt", "--meta", r'k="\ud800"'], "invalid_request"),
        ("indexer", ["ingest", "a.txt", "-c", FF], "invalid_request"),
        ("indexer", ["import", "a.txt", "-c", FF], "invalid_request"),
        ("indexer", ["verify", "-c", FF], "invalid_request"),
        ("indexer", ["delete", FF], "unknown_"),
        ("indexer", ["delete", "--purge", FF], "unknown_"),
        ("indexer", ["history", FF], "unknown_"),
    ],
)
def test_the_command_line_says_what_it_cannot_read(tmp_path, program, arguments, code):
    (tmp_path / "a.txt").write_text("Water runs down.")
    environment = {**os.environ, "RAG_HOME": str(tmp_path / "home"), "RAG_MODELS_DIR": str(tmp_path / "models")}
    started = (
        "import sys; from rag.factory import Library; from rag.embedding.fake import HashingEmbedder;"
        "Library._load_embedder = lambda self: HashingEmbedder();"
        f"sys.argv = [{program!r}, *sys.argv[1:]]; from {program}.cli import main; main()"
    )
    usage = arguments[-2] in ("--filter", "--meta") or (program, arguments[-2]) == ("indexer", "-c")
    for further in ([], ["--json"]):
        command = [sys.executable, "-c", started, *arguments, *further]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == (2 if usage else 1), done.stderr
        assert b"Traceback" not in done.stderr, done.stderr
        assert code.encode() in (done.stdout if further else done.stderr)
