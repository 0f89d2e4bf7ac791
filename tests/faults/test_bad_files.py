"""Files that hold nothing, too much, or are no files: each has its reason, and the file beside it is taken in."""

from __future__ import annotations

import os
import socket
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from rag.config import Settings
from rag.stores.full_text.language import language_of
from tests.faults.test_ingest_faults import SENTENCE, CountingEmbedder
from tests.integration.ingesting import ingesting

GOOD = "Lakes hold water."
SUFFIXES = (
    "txt md html pdf png jpg tiff bmp webp docx docm pptx xlsx xlsb xls ods odt odp epub rtf doc ppt rst org tex csv "
    "tsv json jsonl xml ipynb srt vtt ass py js eml msg zip tar tar.gz gz bz2 xz 7z rar parquet svg yaml bin"
).split()


@pytest.fixture
def library(tmp_path):
    with ingesting(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "good.txt").write_text(GOOD)
    return folder


def told(library, folder: Path) -> dict[str, str]:
    """What failed in the folder and why, by the name; the good file did not."""
    report = library.ingest(folder)
    assert [document.uri for document in library.documents()] == [str(folder / "good.txt")]
    return {Path(failure.uri).name: failure.code for failure in report.failed}


@pytest.mark.parametrize(("content", "code"), [(b"", "source_empty"), (b" \n\t\r\n", "source_has_no_text")])
def test_what_holds_nothing_is_called_so_whatever_its_name_says(library, docs, content, code):
    for suffix in SUFFIXES:
        (docs / f"a.{suffix}").write_bytes(content)
    assert told(library, docs) == {f"a.{suffix}": code for suffix in SUFFIXES}


def test_five_gigabytes_are_refused_unread(library, docs, monkeypatch):
    monkeypatch.setattr(library, "max_file_bytes", Settings.model_fields["max_file_bytes"].default)
    monkeypatch.setattr("indexer.sources._READ_BYTES", 1 << 10)  # who reads it would not end
    with (docs / "huge.txt").open("wb") as file:
        file.truncate(5 << 30)
    report = library.ingest(docs)
    (failure,) = report.failed
    assert (failure.code, report.ingested) == ("source_too_large", 1)
    assert "has 5,368,709,120 bytes, more than the limit of 1,073,741,824" in failure.message
    assert "RAG_MAX_FILE_BYTES" in failure.hint


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_gigabytes_of_nothing_that_are_allowed_are_read_in_little_memory(tmp_path, docs):
    assert language_of(SENTENCE * 9)  # what it loads stays, and is the same for all texts
    with (docs / "huge.txt").open("wb") as file:
        file.truncate(5 << 30)
    with ingesting(tmp_path / "home", embedder=CountingEmbedder()) as library:
        library.max_file_bytes = 6 << 30
        tracemalloc.start()
        try:
            assert told(library, docs) == {"huge.txt": "source_binary"}
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()


def test_what_is_no_file_is_left_out_of_a_folder_and_refused_by_its_name(library, docs, tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("outside")
    os.mkfifo(docs / "pipe.txt")
    for name, target in {
        "out.txt": tmp_path / "secret.txt",
        "outside": tmp_path / "outside",
        "up": "..",
        "here": ".",
        "itself": "itself",
        "one": "other",
        "other": "one",
        "dangling.txt": "nothing",
        "to-pipe.txt": "pipe.txt",
        "processes": "/proc/self",
        "null.txt": "/dev/null",
        "zero.txt": "/dev/zero",
    }.items():
        (docs / name).symlink_to(target)
    assert told(library, docs) == {}
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")
        named = ["pipe.txt", "to-pipe.txt", "null.txt", "zero.txt", "itself", "one", "dangling.txt"]
        report = library.ingest(Path(short) / "socket", *(docs / name for name in named))
    assert {Path(failure.uri).name: failure.message.rpartition(str(docs))[2] for failure in report.failed} == {
        "socket": f"{short}/socket is a socket, not a file.",
        "pipe.txt": "/pipe.txt is a named pipe, not a file.",
        "to-pipe.txt": "/to-pipe.txt is a named pipe, not a file.",
        "null.txt": "/null.txt is a character device, not a file.",
        "zero.txt": "/zero.txt is a character device, not a file.",
        "itself": "/itself cannot be read: Too many levels of symbolic links.",
        "one": "/one cannot be read: Too many levels of symbolic links.",
        "dangling.txt": "/dangling.txt does not exist.",
    }
