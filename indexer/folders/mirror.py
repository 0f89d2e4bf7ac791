"""What has to be done for a collection to hold what a folder holds: decided before anything is done."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from indexer.folders.absence import CLOCKS_DIFFER_S, Evidence
from rag.errors import SourceLeftOut
from rag.source_types import same_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from indexer.sources import SourcePath
    from rag.source_types import KnownSource
    from rag.types import MetadataValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file in the folder; its times by the file system. ``reason``: why it is taken in.

    ``exchanged``: it has the size and the time of its document and another's content.
    """

    path: Path
    uri: str
    size: int
    mtime_ns: int
    ctime_ns: int
    reason: str = "new"
    exchanged: bool = False

    def same(self, other: FoundFile) -> bool:
        """Whether nothing was done to it in between, with its permissions neither."""
        return (self.size, self.mtime_ns, self.ctime_ns) == (other.size, other.mtime_ns, other.ctime_ns)


class Content(NamedTuple):
    """What a file holds; ``media_type`` by its name, too, and empty where no parser reads it."""

    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A document whose file is gone, and a new one with the same content.

    ``renamed``: its title was the file's name. ``retyped``: by its new name it has another format.
    """

    source: KnownSource
    file: FoundFile
    renamed: bool
    retyped: bool

    @property
    def anew(self) -> bool:
        """Whether it reads otherwise by its new name, and is taken in anew with what was said of it."""
        return self.renamed or self.retyped


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A document whose file was not found, and what proves that it is gone, or why nothing does."""

    source: KnownSource
    reason: str


@dataclass(slots=True, kw_only=True)
class Plan:
    """``gone`` are documents whose files are proved to be gone, ``unsure`` those where nothing proves it.

    ``errors`` is what could not be read, ``left_out`` what rules leave out that no name does.
    """

    add: list[FoundFile] = field(default_factory=list)
    change: list[FoundFile] = field(default_factory=list)
    move: list[Move] = field(default_factory=list)
    gone: list[Missing] = field(default_factory=list)
    unsure: list[Missing] = field(default_factory=list)
    errors: list[SourcePath] = field(default_factory=list)
    left_out: list[SourcePath] = field(default_factory=list)
    unchanged: int = 0

    @property
    def emptied(self) -> bool:
        """Whether nothing was found where documents come from, which proves nothing."""
        return bool(self.unsure) and not (self.add or self.change or self.move or self.unchanged or self.errors)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done or told."""
        return not (self.add or self.change or self.move or self.gone or self.unsure or self.errors)


def plan_mirror(
    root: Path,
    found: Iterable[SourcePath],
    known: Sequence[KnownSource],
    look_into: Callable[[Path], Content | None],
    *,
    metadata: Mapping[str, MetadataValue] | None = None,
) -> Plan:
    """Compare files found in a folder with the documents known there; both may be of a part of the folder.

    ``look_into`` reads a file, None if that cannot be done; it is asked only of new files that have the size of a
    document whose file is gone, and of those that may have exchanged their names. Any other file that has the size and
    time of its document is taken for unchanged, unless ``metadata`` is said of it and was not before.
    """
    plan = Plan()
    known_by_uri = {source.uri: source for source in known}
    seen: set[str] = set()
    new = []
    renamings = _Renamings()
    touched: list[KnownSource] = []  # its file has the same size and time, and yet may have another's name
    for path in found:
        if isinstance(path.error, SourceLeftOut):
            plan.left_out.append(path)
        elif path.error is not None or (file := _stat(path.path, path.uri)) is None:
            plan.errors.append(path)
        elif file.uri not in seen:  # links may lead to one that was found already
            seen.add(file.uri)
            stored = known_by_uri.get(file.uri)
            if stored is None:
                new.append(file)
            elif (reason := _difference(stored, file, metadata)) is None:
                plan.unchanged += 1 + stored.members
                if renamings.may_be_another(file, stored):
                    touched.append(stored)
            else:
                plan.change.append(replace(file, reason=reason))
    evidence = Evidence(root, [error.uri for error in plan.errors])
    gone, plan.unsure = _missing((source for source in known if source.uri not in seen), evidence)
    for stored, file in _exchanged(touched, [missing.source for missing in gone], look_into):
        plan.unchanged -= 1 + stored.members
        plan.change.append(replace(file, reason="it has another file's content", exchanged=True))
    moved = _moves([missing.source for missing in gone], new, look_into)
    plan.move = list(moved.values())
    plan.gone = [missing for missing in gone if missing.source.document_id not in moved]
    taken = {move.file.uri for move in plan.move}
    plan.add = [file for file in new if file.uri not in taken]
    return plan


def _missing(sources: Iterable[KnownSource], evidence: Evidence) -> tuple[list[Missing], list[Missing]]:
    """Those that are proved to be gone, and the others."""
    gone: list[Missing] = []
    unsure: list[Missing] = []
    for source in sources:
        reason, proved = evidence.of(source)
        (gone if proved else unsure).append(Missing(source=source, reason=reason))
    return gone, unsure


def _difference(stored: KnownSource, file: FoundFile, metadata: Mapping[str, MetadataValue] | None) -> str | None:
    if stored.size != file.size:
        return f"its size was {stored.size:,} bytes and is {file.size:,}"
    if stored.mtime_ns != file.mtime_ns:
        return "it was written to"
    if not stored.current:
        return "read in another way before, or not whole"
    return None if says_the_same(stored, metadata) else "something else is said of it"


def says_the_same(stored: KnownSource, metadata: Mapping[str, MetadataValue] | None) -> bool:
    """Whether this is said of a document already; None says nothing."""
    return metadata is None or same_metadata(stored.metadata, metadata)


def _stat(path: Path, uri: str) -> FoundFile | None:
    try:
        status = path.stat()
    except OSError:  # gone again since the folder was listed, or not to be read: it is reported when it is taken in
        return None
    return FoundFile(
        path=path,
        uri=uri,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )


class _Renamings:
    """Which files may have another's name: since they were stored both they and their folder were changed.

    A folder is changed by every new name in it. Files alone are by ``chmod -R``, or as a whole tree is put back.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, float] = {}

    def may_be_another(self, file: FoundFile, stored: KnownSource) -> bool:
        since = stored.stored_at.timestamp() - CLOCKS_DIFFER_S
        return file.ctime_ns / 1e9 > since and self._changed(file.path.parent) > since

    def _changed(self, folder: Path) -> float:
        if folder not in self._folders:
            try:
                self._folders[folder] = folder.stat().st_mtime
            except OSError:  # it was there a moment ago
                self._folders[folder] = math.inf
        return self._folders[folder]


def _exchanged(
    touched: Sequence[KnownSource], gone: Sequence[KnownSource], look_into: Callable[[Path], Content | None]
) -> Iterator[tuple[KnownSource, FoundFile]]:
    """Documents and their files that hold something else, where another with the same size and time was beside."""
    lost = {source.document_id for source in gone}
    for _, several in groupby(sorted([*touched, *gone], key=_size_and_time), key=_size_and_time):
        alike = list(several)
        if len({source.sha256 for source in alike}) == 1:
            continue
        for source in alike:
            path = Path(source.uri)
            if source.document_id in lost or (content := look_into(path)) is None or content.sha256 == source.sha256:
                continue
            if (file := _stat(path, source.uri)) is not None:
                yield source, file


def _size_and_time(source: KnownSource) -> tuple[int, int]:
    return source.size, source.mtime_ns


def _moves(
    gone: Sequence[KnownSource], new: Sequence[FoundFile], look_into: Callable[[Path], Content | None]
) -> dict[int, Move]:
    """New files with the content of documents whose files are gone, each used once; same names go first."""
    by_size: dict[int, list[FoundFile]] = defaultdict(list)
    for file in new:
        by_size[file.size].append(file)
    looked_into: dict[str, list[tuple[FoundFile, str]]] = defaultdict(list)
    named: dict[tuple[str, str], deque[tuple[FoundFile, str]]] = defaultdict(deque)
    for size in {source.size for source in gone}:
        for file in by_size.pop(size, ()):
            if (content := look_into(file.path)) is not None:
                looked_into[content.sha256].append((file, content.media_type))
                named[content.sha256, file.path.name].append((file, content.media_type))
    moves = {}
    for source in gone:
        if same_name := named.get((source.sha256, PurePosixPath(source.uri).name)):
            moves[source.document_id] = _move(source, *same_name.popleft())
    taken = {move.file.uri for move in moves.values()}
    left = {sha256: deque(each for each in files if each[0].uri not in taken) for sha256, files in looked_into.items()}
    for source in gone:
        if source.document_id not in moves and (others := left.get(source.sha256)):
            moves[source.document_id] = _move(source, *others.popleft())
    return moves


def _move(source: KnownSource, file: FoundFile, media_type: str) -> Move:
    stem = PurePosixPath(source.uri).stem
    renamed = file.path.stem != stem and source.title == stem
    return Move(source=source, file=file, renamed=renamed, retyped=media_type != source.media_type)
