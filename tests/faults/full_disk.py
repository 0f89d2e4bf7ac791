"""A disk that fills up at a chosen write, whatever writes: Python, SQLite, FAISS or NumPy."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ENDS_WITHIN_S = 90  # a command needs less than a second where nothing else runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended. ``calls`` counts what needed room on the disk, -1 if the process did not live to tell."""

    status: int
    calls: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[dict]:
        """The objects that it told of."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def code(self) -> str | None:
        """The code of the error that ended it."""
        lines = self.lines
        told = re.search(r"error\[(\w+)\]", self.stderr)  # where there is no --json
        coded = (line["error"]["code"] for line in lines if "uri" not in line and "error" in line)
        return next(coded, told and told[1])


class FullDisk:
    """Runs commands in a folder, whose disk may be made to be full from the nth write on.

    The server that forks them is started by the first, and anew by the first after one that did not end in time.
    """

    def __init__(self, library: Path, scratch: Path) -> None:
        self._library = library
        self._scratch = scratch
        self._ids = count()
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self,
        folder: Path,
        *command: object,
        full_from: int = -1,
        full_until: int = -1,
        kills: bool = False,
        flat_up_to: int = 50_000,
        embedder: str = "hashing",
        looks: int = 0,
        within_s: float = ENDS_WITHIN_S,
    ) -> Ended:
        """Run a command with ``folder / 'home'`` as its data directory; never full if ``full_from`` is below 0, and to
        the end if ``full_until`` is. If it ``kills``, the process dies there. ``looks``: how often a watched folder is
        looked at before that ends; 0 is for ever.

        Raises:
            TimeoutError: it did not end ``within_s``, and was killed.
        """
        request_id = next(self._ids)
        outputs = {name: self._scratch / f"{request_id}.{name}" for name in ("stdout", "stderr")}
        request = {
            "id": request_id,
            "command": [str(part) for part in command],
            "folder": str(folder.resolve()),
            "full": (full_from, full_until, kills),
            "flat_up_to": flat_up_to,
            "looks": looks,
            "environment": {
                "RAG_HOME": str(folder.resolve() / "home"),
                "RAG_EMBEDDER": embedder,
                "RAG_FETCH_ALLOW": "127.0.0.0/8",
                "RAG_FETCH_DELAY_S": "0",
            },
            **{name: str(path) for name, path in outputs.items()},
        }
        try:
            answer = self._answer(request, within_s)
        except BaseException:  # of the test's own time limit, too: nobody would read the answer that still comes
            self.end()
            raise
        told = {name: path.read_text() for name, path in outputs.items()}
        for path in outputs.values():
            path.unlink()
        return Ended(status=answer["status"], calls=answer["calls"], **told)

    def _answer(self, request: dict[str, object], within_s: float) -> dict[str, int]:
        if self._process is None:
            self._process = self._started()
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        deadline, line = time.monotonic() + within_s, b""
        while not line.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"{request['command']} did not end within {within_s} s")
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            if not read:
                raise EOFError("the server has ended")
            line += read
        answer = json.loads(line)
        assert answer["id"] == request["id"], (request, answer)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.full_disk_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=HERE.parents[1],
            env={**os.environ, "LD_PRELOAD": str(self._library), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # so that what it has forked can be killed with it
        )

    def end(self) -> None:
        """Kill the server, and the command that it may be running; there is none if it is not."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


@contextmanager
def full_disk(scratch: Path) -> Iterator[FullDisk]:
    """Skips the test where there is no C compiler, or no way to load a library before all others."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a disk is filled up by a library compiled for Linux, and there is no C compiler")
    library = scratch / "full_disk.so"
    source = HERE / "full_disk.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    disk = FullDisk(library, scratch)
    try:
        yield disk
    finally:
        disk.end()
