"""The files of a folder: which are found in it, in a stable order, and why the others are left out."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.folders.ignoring import IGNORE_FILE, Ignoring, UnusableIgnoreFile

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTSIDE_LINK: Final = "link out of the folder"
BROKEN_LINK: Final = "broken link"
DATA_DIRECTORY: Final = "data directory of Plumbline"
_SPECIAL: Final = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
_JUNK_DIRECTORIES: Final = frozenset(
    {"__pycache__", "node_modules", "bower_components", "__MACOSX", "venv", "$RECYCLE.BIN", "System Volume Information"}
)
# What systems lay into folders, and what package managers write down of the versions they took.
_JUNK_FILES: Final = frozenset(
    {"thumbs.db", "desktop.ini", "icon\r", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"}
    | {
        f"{name}.lock"
        for name in ("cargo", "poetry", "uv", "pdm", "pipfile", "composer", "gemfile", "flake", "pubspec")
    }
)
_BESIDE_DATABASE: Final = ("locks", "plumbline.db.migration.lock")
# What Word, Excel and PowerPoint lay beside a file that is open; Emacs lays ``#name#`` there.
_JUNK_PREFIX: Final = "~$"
_JUNK_SUFFIXES: Final = (".tmp", ".swp", ".bak", "~", ".part", ".crdownload")
# Maps of programs to their source, and what LaTeX writes for its next run.
_KEPT_SUFFIXES: Final = (
    ".js.map", ".css.map", ".aux", ".fls", ".fdb_latexmk", ".synctex", ".synctex.gz", ".blg", ".bcf", ".run.xml",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedPath:
    """A file that was found, or a folder that could not be looked through and why.

    ``left_out``: what it is that is not taken in, though no name or ignore file leaves it out.
    ``uri`` is its absolute path with the links in its folders resolved; ``root`` that of where the walk began.
    """

    path: Path
    uri: str
    root: Path
    error: OSError | UnusableIgnoreFile | None = None
    left_out: str | None = None


class _Entry(NamedTuple):
    name: str
    is_folder: bool
    is_link: bool
    left_out: str | None


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    uri: str  # without a slash at its end
    relative: str  # to where the walk began; empty or with a slash at its end
    ignoring: Ignoring  # by the folders above


def walk(root: Path) -> Iterator[WalkedPath]:
    """Every file below a folder but hidden files, common junk and what ignore files name.

    Links that lead out of it, or nowhere, data directories and what is no file come as left out.
    Of a folder's entries those that are left out are never held in memory together. A folder that cannot be listed,
    or whose ignore file cannot be used, comes with its error, and nothing in it does.
    """
    anchor = root.resolve()
    return _walk(_Folder(root, anchor.as_posix().rstrip("/"), "", Ignoring()), anchor)


def walk_at(root: Path, relative: str) -> Iterator[WalkedPath]:
    """What ``walk`` finds at one path below its root (a file or a folder), with the rules of the folders above it."""
    path, anchor = root / relative, root.resolve()
    uri = (path.parent.resolve() / path.name).as_posix()
    try:
        reason, ignoring = _judge(root, anchor, relative)
        if reason is not None:
            return
        if path.is_dir():
            yield from _walk(_Folder(path, path.resolve().as_posix(), f"{relative}/", ignoring), anchor)
        elif path.is_file():
            yield WalkedPath(path=path, uri=uri, root=anchor)
    except (OSError, UnusableIgnoreFile) as error:
        yield WalkedPath(path=path, uri=uri, root=anchor, error=error)


def _walk(start: _Folder, anchor: Path) -> Iterator[WalkedPath]:
    pending = [start]
    visited = {Path(start.uri or "/")}
    while pending:
        folder = pending.pop()
        if is_data_directory(folder.path):
            yield WalkedPath(path=folder.path, uri=folder.uri or "/", root=anchor, left_out=DATA_DIRECTORY)
            continue
        try:
            ignoring = folder.ignoring.entering(folder.path, folder.relative)
            names = sorted(_names(folder, ignoring, anchor))
        except (OSError, UnusableIgnoreFile) as error:
            yield WalkedPath(path=folder.path, uri=folder.uri or "/", root=anchor, error=error)
            continue
        below = []
        for name, is_folder, is_link, left_out in names:
            path, uri = folder.path / name, f"{folder.uri}/{name}"
            if left_out is not None or not is_folder:
                yield WalkedPath(path=path, uri=uri, root=anchor, left_out=left_out)
                continue
            resolved = path.resolve() if is_link else Path(uri)
            # A link to a folder above would otherwise be walked for ever.
            if resolved not in visited:
                visited.add(resolved)
                below.append(_Folder(path, resolved.as_posix(), f"{folder.relative}{name}/", ignoring))
        pending.extend(reversed(below))


def _names(folder: _Folder, ignoring: Ignoring, anchor: Path) -> Iterator[_Entry]:
    with os.scandir(folder.path) as entries:
        for entry in entries:
            is_folder, is_link, kind = _looked_at(entry, anchor)
            if _left_out(entry.name, is_folder=is_folder) is not None:
                continue
            if ignoring.by(f"{folder.relative}{entry.name}", directory=is_folder) is None:
                yield _Entry(entry.name, is_folder, is_link, kind)


def _looked_at(entry: os.DirEntry[str], anchor: Path) -> tuple[bool, bool, str | None]:
    """Whether it is a folder, whether it is a link, and what it is if it is not to be followed or opened."""
    is_folder = is_link = False
    try:
        is_link = entry.is_symlink()
        is_folder = entry.is_dir()
        regular = is_folder or entry.is_file()  # as the folder has it, mostly: without a look at each
        mode = 0 if regular else entry.stat().st_mode
    except FileNotFoundError:
        return is_folder, is_link, BROKEN_LINK if is_link else None  # a file that vanished is found out later
    except OSError:  # a link that leads back to itself, or where nobody may look
        return is_folder, is_link, BROKEN_LINK if is_link else None
    if is_link and not _inside(Path(entry.path), anchor):
        return is_folder, is_link, OUTSIDE_LINK
    if regular:
        return is_folder, is_link, None
    return is_folder, is_link, _SPECIAL.get(stat.S_IFMT(mode), "device")


def why_left_out(root: Path, relative: str) -> str | None:
    """Why a walk of ``root`` leaves out what is at a path below it, or a folder on the way; None if it does not.

    Raises:
        OSError: it cannot be asked for.
        UnusableIgnoreFile: an ignore file on the way cannot be used.
    """
    return _judge(root, root.resolve(), relative)[0]


def _judge(root: Path, anchor: Path, relative: str) -> tuple[str | None, Ignoring]:
    """Why the path is left out, and what is ignored in its folder."""
    path, folder, ignoring = root, "", Ignoring()
    for name in relative.split("/"):
        if is_data_directory(path):
            return f"it lies in a {DATA_DIRECTORY}", ignoring
        ignoring = ignoring.entering(path, folder)
        path /= name
        is_folder = path.is_dir()
        if (reason := _left_out(name, is_folder=is_folder)) is not None:
            return reason, ignoring
        if path.is_symlink() and not _inside(path, anchor):
            return "a link that leads out of the folder", ignoring
        if (file := ignoring.by(f"{folder}{name}", directory=is_folder)) is not None:
            return f"named by {file}", ignoring
        folder = f"{folder}{name}/"
    return None, ignoring


def left_out(name: str) -> bool:
    """Whether a file with this name within an archive would be left out of a folder: hidden files and common junk."""
    *folders, last = name.split("/")
    parts = [*((folder, True) for folder in folders), (last, False)]
    return any(_left_out(part, is_folder=is_folder) for part, is_folder in parts if part not in {".", ".."})


def is_data_directory(folder: Path) -> bool:
    """Whether it is where documents are stored: what lies there changes with every document that is taken in."""
    try:
        return (folder / "plumbline.db").is_file() and any((folder / name).exists() for name in _BESIDE_DATABASE)
    except OSError:  # where nobody may look
        return False


def concerns(name: str) -> bool:
    """Whether a change to a file or folder with this name can change what a walk finds."""
    return name == IGNORE_FILE or (_left_out(name, is_folder=True) is None and _left_out(name, is_folder=False) is None)


def _left_out(name: str, *, is_folder: bool) -> str | None:
    if name.startswith("."):
        return "hidden"
    if is_folder:
        return "a folder of another program's files" if name in _JUNK_DIRECTORIES else None
    low = name.lower()
    if low in _JUNK_FILES or low.endswith(_KEPT_SUFFIXES):
        return "a file that another program keeps for itself"
    if low.startswith(_JUNK_PREFIX) or low.endswith(_JUNK_SUFFIXES) or (low.startswith("#") and low[1:].endswith("#")):
        return "a temporary or backup file"
    return None


def _inside(path: Path, anchor: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(anchor)
    except (OSError, RuntimeError):
        return False
