"""A disk that fills up at a chosen write, whatever writes: Python, SQLite, FAISS or NumPy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. ``calls`` counts what needed room on the disk, -1 if the process did not live to tell."""

    status: int
    calls: int
    stdout: str
    stderr: str

    @property
    def code(self) -> str | None:
        """The code of the error that ended it."""
        lines = [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]
        told = re.search(r"error\[(\w+)\]", self.stderr)  # where there is no --json
        coded = (line["error"]["code"] for line in lines if "uri" not in line and "error" in line)
        return next(coded, told and told[1])


class FullDisk:
    """Runs commands in a folder, whose disk may be made to be full from the nth write on."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self._process = process
        self._scratch = scratch

    def run(
        self, folder: Path, *command: object, full_from: int = -1, flat_up_to: int = 50_000, embedder: str = "hashing"
    ) -> Ended:
        """Run a command with ``folder / 'home'`` as its data directory; never full if ``full_from`` is below 0."""
        outputs = {name: self._scratch / name for name in ("stdout", "stderr")}
        request = {
            "command": [str(part) for part in command],
            "folder": str(folder.resolve()),
            "full_from": full_from,
            "flat_up_to": flat_up_to,
            "environment": {"RAG_HOME": str(folder.resolve() / "home"), "RAG_EMBEDDER": embedder},
            **{name: str(path) for name, path in outputs.items()},
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return Ended(**answer, **{name: path.read_text() for name, path in outputs.items()})


@contextmanager
def full_disk(scratch: Path) -> Iterator[FullDisk]:
    """Skips the test where there is no C compiler, or no way to load a library before all others."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a disk is filled up by a library compiled for Linux, and there is no C compiler")
    library = scratch / "full_disk.so"
    source = HERE / "full_disk.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.full_disk_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parents[1],
        env={**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield FullDisk(process, scratch)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)
