"""Embedding in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.embedding.bi_encoder import BiEncoder
from rag.errors import ModelError, ModelUnloadable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are looked for in /proc")
TEXTS = ["A cat sleeps.", "word " * 200, "The stock market fell sharply.", ""]


@pytest.fixture
def apart(embedder_path) -> Iterator[BiEncoder]:
    encoder = BiEncoder(embedder_path, name="m", sha256="ab" * 32, threads=1, apart=True)
    yield encoder
    encoder.close()


def child_of(parent: int = os.getpid()) -> int:
    """The process that embeds for it."""
    (found,) = children_of(parent)
    return found


def children_of(parent: int) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            status = (each / "stat").read_text().rpartition(")")[2].split()
            command = (each / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status[1]) == parent and status[0] != "Z" and b"rag.embedding.encoder_process" in command:
            found.append(int(each.name))
    return found


def gone(process: int) -> bool:
    """Whether it has ended with all of its threads, so that its parent can tell."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            ended = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if ended and len(list(Path(f"/proc/{process}/task").iterdir())) == 1:
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_vectors_are_those_of_this_process(apart, embedder_path):
    here = BiEncoder(embedder_path, name="m", sha256="ab" * 32, threads=1)
    assert not apart.loaded
    apart.load()
    assert apart.loaded
    np.testing.assert_array_equal(apart.embed_passages(TEXTS), here.embed_passages(TEXTS))
    np.testing.assert_array_equal(apart.embed_query("a kitten"), here.embed_query("a kitten"))
    assert apart.embed_passages([]).shape == (0, 384)


def test_the_program_itself_never_loads_torch_and_its_end_ends_the_process(embedder_path):
    program = (
        "import sys, time; from pathlib import Path; from rag.embedding.bi_encoder import BiEncoder\n"
        "encoder = BiEncoder(Path(sys.argv[1]), name='m', sha256='0' * 64, apart=True)\n"
        "encoder.embed_passages(['a text'])\n"
        "print('torch' in sys.modules, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(embedder_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"False\n"
        child = child_of(process.pid)
        process.kill()
    assert gone(child)


def test_it_does_not_finish_what_a_program_that_has_ended_wanted(embedder_path):
    program = (
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from rag.embedding.bi_encoder import BiEncoder\n"
        "encoder = BiEncoder(Path(sys.argv[1]), name='m', sha256='ab' * 32, threads=1, apart=True)\n"
        "encoder.load()\n"
        "threading.Thread(target=encoder.embed_passages, args=[['many words ' * 120] * 4000]).start()\n"
        "time.sleep(0.5)\n"
        "print('embedding', flush=True)\n"
        "os.read(0, 1)\n"
        "os._exit(0)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(embedder_path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"embedding\n"
        child = child_of(process.pid)
    assert gone(child)


def test_a_process_that_ended_while_nothing_was_embedded_is_replaced(apart):
    vectors = apart.embed_passages(TEXTS)
    killed = child_of()
    os.kill(killed, signal.SIGKILL)
    assert gone(killed)
    np.testing.assert_array_equal(apart.embed_passages(TEXTS), vectors)
    assert child_of() != killed


def embedding(apart: BiEncoder) -> tuple[threading.Thread, list[ModelError]]:
    """A thread that embeds for long, and what it raises."""
    errors: list[ModelError] = []

    def embed() -> None:
        try:
            apart.embed_passages(["many words " * 120] * 4000)
        except ModelError as error:
            errors.append(error)

    thread = threading.Thread(target=embed)
    thread.start()
    thread.join(timeout=0.5)
    assert thread.is_alive()
    return thread, errors


def test_a_process_that_is_ended_is_told_and_the_next_text_starts_another(apart):
    vectors = apart.embed_passages(TEXTS)
    thread, errors = embedding(apart)
    os.kill(child_of(), signal.SIGKILL)
    thread.join(timeout=30)
    (error,) = errors
    assert "has ended (signal SIGKILL)" in error.message
    assert "is stored" in error.hint
    np.testing.assert_array_equal(apart.embed_passages(TEXTS), vectors)


def test_an_answer_that_was_cut_off_is_told_as_an_end(apart, monkeypatch):
    apart.load()
    child = child_of()

    def receive(_connection: object) -> object:
        os.kill(child, signal.SIGKILL)
        raise OSError("got end of file during message")

    monkeypatch.setattr("rag.embedding.encoder_process.Connection.recv", receive)
    with pytest.raises(ModelError, match="has ended"):
        apart.embed_passages(TEXTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_all_of_a_group_are_for_the_parent(apart, number):
    apart.load()
    child = child_of()
    os.kill(child, number)
    assert apart.embed_passages(TEXTS).shape == (4, 384)
    assert child_of() == child


def test_closing_ends_what_is_being_embedded(apart):
    apart.load()
    child = child_of()
    thread, errors = embedding(apart)
    apart.close()
    thread.join(timeout=30)
    assert [error.code for error in errors] == ["model_error"]
    assert gone(child)


@pytest.mark.parametrize("after_s", [0, 0.05, 0.3])
def test_closing_ends_what_is_being_loaded(apart, after_s):
    errors = []

    def load() -> None:
        try:
            apart.load()
        except ModelError as error:
            errors.append(error.code)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join(timeout=after_s)
    assert thread.is_alive()
    apart.close()
    thread.join(timeout=30)
    assert errors == ["model_error"]
    assert not children_of(os.getpid())


def test_an_answer_that_nobody_waited_for_is_not_that_to_the_next_text(apart):
    vectors = apart.embed_passages(TEXTS)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            apart.embed_passages(["many words " * 120] * 4000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(apart.embed_passages(TEXTS), vectors)


def test_one_that_nobody_has_any_more_is_ended(embedder_path):
    encoder = BiEncoder(embedder_path, name="m", sha256="ab" * 32, threads=1, apart=True)
    encoder.load()
    child = child_of()
    del encoder
    assert gone(child)


def test_ctrl_c_is_for_the_parent_and_other_sessions_come_first(apart):
    apart.load()
    child = child_of()
    assert os.getsid(child) == child
    niceness = os.getpriority(os.PRIO_PROCESS, child)
    assert niceness >= 10
    group = Path(f"/proc/{child}/autogroup")
    if group.exists():
        assert group.read_text().endswith(f" nice {niceness}\n")


def test_a_damaged_model_is_told_as_such(embedder_path, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(embedder_path, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    encoder = BiEncoder(folder, name="m", sha256="ab" * 32, apart=True)
    with pytest.raises(ModelUnloadable, match="cannot be loaded") as told:
        encoder.embed_passages(["a text"])
    assert told.value.hint == "Run: rag models verify model"
    assert not encoder.loaded
