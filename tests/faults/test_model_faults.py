"""What the disk, the power and other processes do to a model on its way in and afterwards."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.catalog.progress import PullEvent
from rag.config import Settings
from rag.errors import DataDirectoryUnwritable, ModelCorrupt, ModelSourcesFailed
from tests.integration.model_fetch_server import Hub, describe_model, serving

CONTENT = hashlib.shake_256(b"model").digest(2_000_000)
EXTRA = b'{"of": "the model"}'
FILES = {"tiny.gguf": CONTENT, "config.json": EXTRA}
# A runner in the background of a shell has interrupts ignored, and its children inherit that.
PULL = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from rag.commands.models import models; models(['pull', 'tiny', '--json'])"
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(dict(FILES)) as server:
        yield server


@pytest.fixture
def models_folder(tmp_path: Path, hub: Hub) -> Path:
    describe_model(tmp_path / "m", FILES, f'from = "{hub.cdn}/plain"')
    return tmp_path / "m"


def _catalog(models_folder: Path) -> Catalog:
    return Catalog.load(Settings(models_dir=models_folder))


def _start_pull(models_folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "RAG_MODELS_DIR": str(models_folder)}
    return subprocess.Popen(
        [sys.executable, "-c", PULL], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for_first_half(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if '"downloading"' in line:
            return
    raise AssertionError(f"the pull ended early: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-1], "bytes"),
        (lambda content: content[:1000] + b"?" + content[1001:], "sha256"),
        (lambda content: b"", "0 bytes"),
    ],
    ids=["truncated", "flipped", "emptied"],
)
def test_a_damaged_file_is_refused_and_only_it_is_fetched_again(hub: Hub, models_folder: Path, damage, problem) -> None:
    catalog = _catalog(models_folder)
    path = catalog.pull("tiny").path
    path.write_bytes(damage(CONTENT))
    os.utime(path, ns=(0, 0))
    with pytest.raises(ModelCorrupt, match=problem) as caught:
        catalog.resolve("tiny")
    assert "rag models pull tiny" in caught.value.hint
    hub.requests.clear()
    assert catalog.pull("tiny").path.read_bytes() == CONTENT
    assert [request.path for request in hub.requests] == ["/plain/tiny.gguf"]


def test_a_repair_that_fails_leaves_the_other_files(hub: Hub, models_folder: Path) -> None:
    catalog = _catalog(models_folder)
    path = catalog.pull("tiny").path
    path.write_bytes(b"torn")
    hub.files.clear()
    with pytest.raises(ModelSourcesFailed):
        catalog.pull("tiny")
    assert (path.parent / "config.json").read_bytes() == EXTRA
    assert path.read_bytes() == b"torn"


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_pull_goes_on_where_it_was(hub: Hub, models_folder: Path, stop: signal.Signals) -> None:
    hub.wrong.hold = threading.Event()
    with _start_pull(models_folder) as process:
        _wait_for_first_half(process)
        process.send_signal(stop)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (models_folder / "tiny").exists()
    partial = next((models_folder / ".partial").rglob("tiny.gguf"))
    arrived = partial.stat().st_size
    assert partial.read_bytes() == CONTENT[:arrived]
    hub.wrong.hold.set()
    hub.requests.clear()
    assert _catalog(models_folder).pull("tiny").path.read_bytes() == CONTENT
    assert hub.requests[0].headers.get("range") == (f"bytes={arrived}-" if arrived else None)


def test_two_pulls_at_once_download_once(hub: Hub, models_folder: Path) -> None:
    hub.wrong.hold = threading.Event()
    waiting: list[PullEvent] = []

    def release_when_waiting(event: PullEvent) -> None:
        if event.phase == "waiting":
            waiting.append(event)
            hub.wrong.hold.set()

    with _start_pull(models_folder) as process, ThreadPoolExecutor(1) as second:
        _wait_for_first_half(process)
        model = second.submit(_catalog(models_folder).pull, "tiny", release_when_waiting).result(timeout=60)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(waiting) == 1
    assert model.path.read_bytes() == CONTENT
    assert sorted(request.path for request in hub.requests) == ["/plain/config.json", "/plain/tiny.gguf"]


def test_a_models_directory_that_cannot_be_made_is_an_error(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataDirectoryUnwritable) as caught:
        Catalog.load(Settings(models_dir=tmp_path / "file" / "m")).pull("smollm2-135m-instruct")
    assert "RAG_MODELS_DIR" in caught.value.hint


def test_too_small_a_disk_is_noticed_before_the_download(
    hub: Hub, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(models_folder)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataDirectoryUnwritable, match="needs about"):
        _catalog(models_folder).pull("tiny")
    assert hub.requests == []


def test_a_disk_that_fills_up_is_no_fault_of_the_source(
    tmp_path: Path, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataDirectoryUnwritable, match="No space left"):
        _catalog(models_folder).pull("tiny")
    monkeypatch.undo()
    assert _catalog(models_folder).pull("tiny").path.read_bytes() == CONTENT


def test_models_on_a_read_only_disk_are_used_though_hashes_cannot_be_kept(
    hub: Hub, models_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = _catalog(models_folder)
    catalog.pull("tiny")
    shutil.rmtree(models_folder / ".verified")
    (models_folder / ".verified").write_text("")  # nothing can be written below a file
    assert catalog.resolve("tiny").path.read_bytes() == CONTENT


def test_a_flipped_byte_in_a_remembered_hash_is_no_damage_of_the_model(hub: Hub, models_folder: Path) -> None:
    catalog = _catalog(models_folder)
    path = catalog.pull("tiny").path
    for record in (models_folder / ".verified").iterdir():
        written = record.read_bytes()
        for place in range(len(written)):
            record.write_bytes(written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :])
            assert catalog.resolve("tiny").path == path, (record.name, place)
