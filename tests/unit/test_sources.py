import errno
import hashlib
import os
import socket
import tempfile
from pathlib import Path

import pytest

from indexer.folders.walking import walk_at, why_left_out
from indexer.sources import Source, expand, uri_of
from rag.errors import SourceLeftOut, SourceNotFound, SourceTooLarge, SourceUnreadable
from tests.faults.permissions import heeding_permissions


def names(root: Path) -> list[str]:
    found = (source for source in expand([root]) if not isinstance(source.error, SourceLeftOut))
    return [source.path.relative_to(root).as_posix() for source in found]


def left_out(root: Path) -> dict[str, str]:
    found = ((source.path, source.error) for source in expand([root]))
    return {path.relative_to(root).as_posix(): error.kind for path, error in found if isinstance(error, SourceLeftOut)}


def write(root: Path, *paths: str) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)


def test_a_folder_is_walked_in_a_stable_order_without_hidden_files_and_junk(tmp_path):
    write(tmp_path, "b.md", "a.md", "sub/z.txt", "sub/deep/y.txt", "c/x.txt")
    write(tmp_path, ".hidden.md", ".git/config", "node_modules/m.md", "old.bak", "edit~", "Thumbs.db", "sub/.env")
    write(tmp_path, "#a.md#", "#c")
    assert names(tmp_path) == ["#c", "a.md", "b.md", "c/x.txt", "sub/z.txt", "sub/deep/y.txt"]


def test_a_data_directory_holds_no_documents_to_take_in(tmp_path):
    write(tmp_path, "a.md", "data/plumbline.db", "data/locks/ingest.pid", "other/plumbline.db", "locks/b.md")
    assert names(tmp_path) == ["a.md", "locks/b.md", "other/plumbline.db"]
    assert left_out(tmp_path) == {"data": "data directory of Plumbline"}
    assert left_out(tmp_path / "data") == {".": "data directory of Plumbline"}
    assert list(walk_at(tmp_path, "data/locks/ingest.pid")) == []
    assert why_left_out(tmp_path, "data/locks/ingest.pid") == "it lies in a data directory of Plumbline"
    assert why_left_out(tmp_path, "data") is None  # whoever follows the folder around it is told


def test_what_is_named_itself_is_never_left_out(tmp_path):
    write(tmp_path, ".hidden.md", "old.bak")
    sources = list(expand([tmp_path / ".hidden.md", tmp_path / "old.bak"]))
    assert [source.error for source in sources] == [None, None]


def test_no_file_comes_twice(tmp_path):
    write(tmp_path, "a.md")
    assert len(list(expand([tmp_path, tmp_path / "a.md", tmp_path / "." / "a.md"]))) == 1


def test_links_are_followed_inside_the_folder_only(tmp_path):
    write(tmp_path, "docs/a.md", "outside.md")
    docs = tmp_path / "docs"
    (docs / "inside.md").symlink_to(docs / "a.md")
    (docs / "leak.md").symlink_to(tmp_path / "outside.md")
    (docs / "gone.md").symlink_to(docs / "nothing")
    (docs / "loop").symlink_to(docs)
    assert names(docs) == ["a.md", "inside.md"]
    assert left_out(docs) == {"gone.md": "broken link", "leak.md": "link out of the folder"}


def test_a_missing_path_and_an_empty_folder_carry_their_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    missing, empty = expand([tmp_path / "nothing", tmp_path / "empty"])
    assert isinstance(missing.error, SourceNotFound)
    assert isinstance(empty.error, SourceNotFound)
    assert "no files" in empty.error.message


def test_a_name_that_no_database_can_hold_is_refused(tmp_path):
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.txt"))).write_text("text")
    (source,) = expand([tmp_path])
    assert isinstance(source.error, SourceUnreadable)
    assert source.uri.encode()


def test_a_folder_that_may_not_be_read_carries_its_error(tmp_path):
    write(tmp_path, "closed/a.md", "b.md")
    (tmp_path / "closed").chmod(0)
    try:
        with heeding_permissions():
            errors = [type(source.error) for source in expand([tmp_path])]
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert errors == [type(None), SourceUnreadable]


def test_pipes_sockets_and_devices_are_refused_at_once():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a socket's path must be short
        pipe, listening = Path(folder) / "pipe", Path(folder) / "socket"
        os.mkfifo(pipe)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(listening))
            for path, kind in ((pipe, "named pipe"), (listening, "socket"), (Path("/dev/null"), "character device")):
                with pytest.raises(SourceUnreadable, match=f"is a {kind}, not a file"), Source(path, max_bytes=100):
                    pass


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path):
    file = tmp_path / "big.txt"
    file.write_bytes(b"x" * 101)
    with pytest.raises(SourceTooLarge, match="101"), Source(file, max_bytes=100):
        pass


def test_a_scan_hashes_and_checks_the_whole_file(tmp_path):
    content = ("naïve " * 400_000).encode()  # longer than one read, with characters across its borders
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with Source(file, max_bytes=1 << 30) as source:
        scan = source.scan()
    assert scan.sha256 == hashlib.sha256(content).hexdigest()
    assert (scan.size, scan.utf8, scan.nul_bytes) == (len(content), True, 0)
    assert content.startswith(scan.head)
    file.write_bytes(content[:-2] + b"\xff\x00")
    with Source(file, max_bytes=1 << 30) as source:
        scan = source.scan()
    assert (scan.utf8, scan.nul_bytes) == (False, 1)


def test_a_change_is_noticed_whether_written_replaced_or_gone(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("one")
    with Source(file, max_bytes=100) as source:
        assert not source.changed()
        other = tmp_path / "other"
        other.write_text("two")
        os.utime(other, ns=(source.opened.mtime_ns, source.opened.mtime_ns))
        other.replace(file)
        assert source.changed()
        file.unlink()
        assert source.changed()


def test_an_address_is_absolute_and_does_not_depend_on_how_it_was_written(tmp_path, monkeypatch):
    write(tmp_path, "docs/a.md")
    monkeypatch.chdir(tmp_path / "docs")
    expected = (tmp_path.resolve() / "docs" / "a.md").as_posix()
    assert uri_of(Path("a.md")) == uri_of(Path("../docs/a.md")) == uri_of(tmp_path / "docs/a.md") == expected


def test_a_path_that_cannot_be_followed_is_unreadable(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    write(tmp_path, "file")
    for path, hint in {
        tmp_path / "loop": "Its link leads back",
        tmp_path / "file" / "below": "Check the path",
        tmp_path / ("n" * 300): "Check the path",
    }.items():
        (source,) = expand([path])
        assert isinstance(source.error, SourceUnreadable)
        assert source.error.hint.startswith(hint)
        with pytest.raises(SourceUnreadable), Source(path, max_bytes=100):
            pass


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EACCES, "permissions"), (errno.EIO, "disk"), (errno.EBUSY, "another program")]
)
def test_the_advice_fits_the_reason(tmp_path, monkeypatch, number, hint):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    write(tmp_path, "a.txt")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceUnreadable) as caught, Source(tmp_path / "a.txt", max_bytes=100):
        pass
    assert os.strerror(number) in caught.value.message
    assert hint in caught.value.hint
    assert number == errno.EACCES or "permissions" not in caught.value.hint


def test_names_that_tear_lines_and_links_that_lead_to_themselves_stop_nothing(tmp_path):
    write(tmp_path, "a\nb.md", "c.md")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / ".hidden")
    assert names(tmp_path) == ["a\nb.md", "c.md"]
    assert left_out(tmp_path) == {"pipe.md": "named pipe", "self": "broken link"}


def test_a_walk_gives_the_address_that_a_named_file_has(tmp_path):
    write(tmp_path, "real/sub/a.md")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "z").symlink_to(tmp_path / "real" / "sub")
    found = list(expand([tmp_path / "link"]))
    assert "a.md" in {source.path.name for source in found}
    assert [source.uri for source in found] == [uri_of(source.path) for source in found]
