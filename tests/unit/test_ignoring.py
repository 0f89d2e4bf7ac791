"""Ignore files: the rules of .gitignore, in every folder of a tree."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from indexer.folders.ignoring import IGNORE_FILE
from indexer.folders.walking import walk, walk_at, why_left_out
from indexer.sources import expand, sources_of
from rag.errors import SourceUnreadable


def names(root: Path) -> list[str]:
    return [source.path.relative_to(root).as_posix() for source in expand([root])]


def write(root: Path, *paths: str) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)


def ignore(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IGNORE_FILE).write_text("\n".join(lines))


ALL = ["a.log", "a.md", "build/out.md", "sub/b.log", "sub/build/in.md"]


@pytest.mark.parametrize(
    ("lines", "left_out"),
    [
        (["*.log"], {"a.log", "sub/b.log"}),
        (["# *.md", "", "build/"], {"build/out.md", "sub/build/in.md"}),
        (["/build"], {"build/out.md"}),
        (["*.md", "!a.md"], {"build/out.md", "sub/build/in.md"}),
        (["!a.md", "*.md"], {"a.md", "build/out.md", "sub/build/in.md"}),
        (["sub/**/in.md", "[ab].log"], {"sub/build/in.md", "a.log", "sub/b.log"}),
        (["*", "!*/", "!*.md"], {"a.log", "sub/b.log"}),
        (["build/", "!build/out.md"], {"build/out.md", "sub/build/in.md"}),
    ],
)
def test_lines_mean_what_they_mean_in_a_gitignore(tmp_path, lines, left_out):
    write(tmp_path, *ALL)
    ignore(tmp_path, *lines)
    assert set(names(tmp_path)) == set(ALL) - left_out


def test_the_nearest_file_decides_and_its_lines_are_about_its_own_folder(tmp_path):
    write(tmp_path, "a.txt", "sub/a.txt", "sub/b.txt", "sub/deep/a.txt", "other/b.txt")
    ignore(tmp_path, "*.txt")
    ignore(tmp_path / "sub", "!a.txt", "/b.txt")
    assert names(tmp_path) == ["sub/a.txt", "sub/deep/a.txt"]


def test_what_is_left_out_is_left_out_below_a_folder_that_is_walked_alone_too(tmp_path):
    write(tmp_path, "sub/a.txt", "sub/keep/b.txt", "gone/c.txt", ".hidden/d.txt")
    ignore(tmp_path, "a.txt", "gone/")

    def found(relative):
        return [item.path.name for item in walk_at(tmp_path, relative)]

    assert found("sub") == ["b.txt"]
    assert [found(path) for path in ("sub/a.txt", "gone", "gone/c.txt", ".hidden/d.txt", "nothing")] == [[]] * 5
    assert found("sub/keep/b.txt") == ["b.txt"]
    whole = [item for item in walk(tmp_path) if item.uri.startswith(f"{tmp_path.resolve()}/sub/")]
    assert list(walk_at(tmp_path, "sub")) == whole


def test_the_reason_names_the_file_that_left_it_out(tmp_path):
    write(
        tmp_path,
        "sub/a.txt",
        "sub/b.txt",
        ".c",
        "d.tmp",
        "~$e.docx",
        "node_modules/e.md",
        "Yarn.lock",
        "a.js.map",
        "a.aux",
    )
    ignore(tmp_path / "sub", "a.txt")
    assert why_left_out(tmp_path, "sub/a.txt") == f"named by sub/{IGNORE_FILE}"
    assert why_left_out(tmp_path, "sub/b.txt") is None
    reasons = [why_left_out(tmp_path, path) for path in (".c", "d.tmp", "~$e.docx", "node_modules/e.md")]
    assert [why_left_out(tmp_path, path) for path in ("Yarn.lock", "a.js.map", "a.aux")] == [
        "a file that another program keeps for itself"
    ] * 3
    assert reasons == ["hidden", *["a temporary or backup file"] * 2, "a folder of another program's files"]


def test_names_of_any_bytes_can_be_ignored(tmp_path):
    name = os.fsdecode(b"caf\xe9\n.txt")
    write(tmp_path, "a.txt")
    (tmp_path / name).touch()
    (tmp_path / IGNORE_FILE).write_bytes(b"caf\xe9*\n")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to(path)])
def test_where_the_ignore_file_cannot_be_read_nothing_is_taken_in_or_proved(tmp_path, make):
    write(tmp_path, "a.txt", "sub/b.txt")
    make(tmp_path / "sub" / IGNORE_FILE)
    first, second = expand([tmp_path])
    assert (first.path.name, first.error) == ("a.txt", None)
    assert (second.uri, type(second.error)) == (f"{tmp_path.resolve()}/sub", SourceUnreadable)
    assert IGNORE_FILE in str(second.error)
    (alone,) = sources_of(walk_at(tmp_path, "sub/b.txt"))
    assert isinstance(alone.error, SourceUnreadable)


def test_a_line_that_cannot_be_understood_is_told(tmp_path):
    write(tmp_path, "a.txt")
    ignore(tmp_path, "a[")
    (only,) = expand([tmp_path])
    assert "cannot be understood" in str(only.error)


def test_a_folder_of_ignored_files_says_why_it_holds_nothing(tmp_path):
    write(tmp_path, "a.txt")
    ignore(tmp_path, "*")
    (nothing,) = expand([tmp_path])
    assert IGNORE_FILE in nothing.error.hint


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_looked_into_is_not_told_as_an_ignore_file(tmp_path, monkeypatch, number):
    write(tmp_path, "closed/a.md", "open/a.md")
    really = os.open

    def refuse(path, *arguments, **options):
        if "closed" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return really(path, *arguments, **options)

    def refuse_lstat(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "lstat", refuse_lstat)
    errors = [source.error for source in expand([tmp_path]) if source.error]
    assert [error.message for error in errors] == [f"{tmp_path}/closed cannot be read: {os.strerror(number)}."]
    assert IGNORE_FILE not in errors[0].hint
