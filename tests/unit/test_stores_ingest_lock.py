from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

from rag.errors import DataDirectoryUnwritable, IngestInProgress
from rag.stores.collections.ingest_lock import IngestLock

HOLD = """
import sys
from pathlib import Path
from rag.stores.collections.ingest_lock import IngestLock
with IngestLock(Path(sys.argv[1]), "handbook"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(home):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_ingest_is_told_who_holds_the_collection(tmp_path):
    with hold(tmp_path) as process:
        with (
            pytest.raises(IngestInProgress, match=rf"Process {process.pid} .*'handbook'"),
            IngestLock(tmp_path, "handbook"),
        ):
            pass
        with IngestLock(tmp_path, "another"):
            pass
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    with IngestLock(tmp_path, "handbook"):
        pass


def test_a_holder_in_another_container_is_told_by_its_host(tmp_path, monkeypatch):
    with hold(tmp_path) as process:
        there = socket.gethostname()
        monkeypatch.setattr("socket.gethostname", lambda: "5d2c1f0e9a77")
        with (
            pytest.raises(IngestInProgress, match=f"Process {process.pid} on {re.escape(there)} is"),
            IngestLock(tmp_path, "handbook"),
        ):
            pass
        process.stdin.close()


def test_the_lock_dies_with_its_holder(tmp_path):
    with hold(tmp_path) as process:
        process.kill()
        process.wait(timeout=30)
        with IngestLock(tmp_path, "handbook"):
            pass


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    with IngestLock(tmp_path, "c"), pytest.raises(IngestInProgress, match=str(os.getpid())), IngestLock(tmp_path, "c"):
        pass


def test_it_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), IngestLock(tmp_path, "c"):
        raise ZeroDivisionError
    with IngestLock(tmp_path, "c"):
        pass


def test_an_unwritable_data_directory_is_said_so(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataDirectoryUnwritable, match="RAG_HOME"), IngestLock(tmp_path / "home", "c"):
        pass
