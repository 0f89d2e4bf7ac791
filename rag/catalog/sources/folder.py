"""``file:`` sources: a folder of this machine, such as a mounted share or a memory stick."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rag.catalog.sources.source import SourceFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.catalog.entries import Piece
    from rag.catalog.sources.source import FetchPiece, Workplace

_BLOCK_BYTES = 1 << 20


@contextmanager
def open_folder(target: str, workplace: Workplace) -> Iterator[FetchPiece]:  # noqa: ARG001 - the protocol's signature
    """Implements ``OpenLocation``; ``target`` is the folder's path."""

    def fetch(piece: Piece, file: Path, advance: Callable[[int], None]) -> None:
        copy_file(Path(target) / piece.name, piece, file, advance)

    yield fetch


def copy_file(origin: Path, piece: Piece, target: Path, advance: Callable[[int], None]) -> None:
    """Copy a file of this machine. Raises as ``FetchPiece`` says."""
    try:
        size = origin.stat().st_size
        source = origin.open("rb")
    except OSError as error:
        raise SourceFailure(f"{origin} cannot be read ({error.strerror})") from error
    with source, target.open("wb") as stream:
        if size != piece.bytes:
            raise SourceFailure(f"{origin} has {size} bytes, the catalog's file {piece.bytes}: it is another file")
        done = 0
        while block := source.read(_BLOCK_BYTES):
            stream.write(block)
            done += len(block)
            advance(done)
