"""What has to be done for a collection to hold what a folder holds: decided before anything is done."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rag.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from indexer.sources import SourcePath
    from rag.types import KnownSource


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file in the folder; ``mtime_ns`` by the file system."""

    path: Path
    uri: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A document whose file has another name now, with the same content.

    ``renamed``: its title was the file's name, so it is taken in anew under the new one, with what was said of it.
    """

    source: KnownSource
    file: FoundFile
    renamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """A document whose file was not found, and why that does not prove that it is gone."""

    source: KnownSource
    reason: str


@dataclass(slots=True, kw_only=True)
class Plan:
    """``gone`` are documents whose files are proved to be gone; ``errors`` what could not be read."""

    add: list[FoundFile] = field(default_factory=list)
    change: list[FoundFile] = field(default_factory=list)
    move: list[Move] = field(default_factory=list)
    gone: list[KnownSource] = field(default_factory=list)
    unsure: list[Unsure] = field(default_factory=list)
    errors: list[SourcePath] = field(default_factory=list)
    unchanged: int = 0


def plan_mirror(
    root: Path, found: Iterable[SourcePath], known: Sequence[KnownSource], digest: Callable[[Path], str | None]
) -> Plan:
    """Compare what was found in a folder with the documents known below it.

    ``digest`` gives a file's SHA-256, None if it cannot be read; it is asked only of new files that have the size of a
    document whose file is missing. A file that has the size and time of its document is taken for unchanged.
    """
    plan = Plan()
    known_by_uri = {source.uri: source for source in known}
    files: dict[str, FoundFile] = {}
    for path in found:
        if path.error is not None or (file := _stat(path)) is None:
            plan.errors.append(path)
        else:
            files[file.uri] = file
    new = []
    for file in files.values():
        stored = known_by_uri.get(file.uri)
        if stored is None:
            new.append(file)
        elif stored.current and (stored.size, stored.mtime_ns) == (file.size, file.mtime_ns):
            plan.unchanged += 1
        else:
            plan.change.append(file)
    missing = [source for source in known if source.uri not in files]
    moved = _moves(missing, new, digest)
    plan.move = list(moved.values())
    taken = {move.file.uri for move in plan.move}
    plan.add = [file for file in new if file.uri not in taken]
    unreadable = [error.uri for error in plan.errors]
    for source in missing:
        if source.document_id in moved:
            continue
        reason = _doubt(source, root, bool(files), unreadable)
        if reason is None:
            plan.gone.append(source)
        else:
            plan.unsure.append(Unsure(source=source, reason=reason))
    return plan


def _stat(source: SourcePath) -> FoundFile | None:
    try:
        status = source.path.stat()
    except OSError:  # gone again since the folder was listed, or not to be read: it is reported when it is taken in
        return None
    return FoundFile(path=source.path, uri=source.uri, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _moves(
    missing: Sequence[KnownSource], new: Sequence[FoundFile], digest: Callable[[Path], str | None]
) -> dict[int, Move]:
    """New files with the content of documents whose files are missing, each used once; same names go first."""
    by_size: dict[int, list[FoundFile]] = defaultdict(list)
    for file in new:
        by_size[file.size].append(file)
    by_content: dict[str, list[FoundFile]] = defaultdict(list)
    for size in {source.size for source in missing}:
        for file in by_size.pop(size, ()):
            if (sha256 := digest(file.path)) is not None:
                by_content[sha256].append(file)
    moves = {}
    for same_name in (True, False):
        for source in missing:
            candidates = by_content.get(source.sha256, [])
            name = PurePosixPath(source.uri).name
            fitting = [each for each in candidates if not same_name or each.path.name == name]
            if fitting and source.document_id not in moves:
                candidates.remove(fitting[0])
                moves[source.document_id] = _move(source, fitting[0])
    return moves


def _move(source: KnownSource, file: FoundFile) -> Move:
    stem = PurePosixPath(source.uri).stem
    return Move(source=source, file=file, renamed=file.path.stem != stem and source.title == stem)


def _doubt(source: KnownSource, root: Path, any_file: bool, unreadable: Sequence[str]) -> str | None:  # noqa: FBT001
    """Why a file that was not found may still be there; None if it is gone, or left out on purpose."""
    if not any_file:
        return f"nothing at all was found in {root}: it may be a disk that is not mounted"
    for folder in unreadable:
        if source.uri == folder or source.uri.startswith(f"{folder.rstrip('/')}/"):
            return f"{folder} could not be read"
    try:
        Path(source.uri).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return f"it could not be looked for: {error}"
    return None  # there, and left out: hidden, or named by an ignore file


def readable_digest(scan: Callable[[Path], str]) -> Callable[[Path], str | None]:
    """``scan`` without its errors: a file that cannot be read is no move; taking it in tells why."""

    def digest(path: Path) -> str | None:
        try:
            return scan(path)
        except SourceError:
            return None

    return digest
