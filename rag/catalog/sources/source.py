"""What every source offers, and how it says that it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rag.catalog.entries import Piece


class SourceFailure(Exception):
    """One source did not give a piece. ``advice`` says what could make it work; the next source is tried."""

    def __init__(self, cause: str, *, advice: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.advice = advice


class FetchPiece(Protocol):
    def __call__(self, piece: Piece, target: Path, advance: Callable[[int], None], /) -> None:
        """Bring ``target`` to ``piece.bytes`` bytes, going on from what a run before this one left of it.

        ``advance`` is told how many bytes of the piece have arrived in all. The content is not verified here.

        Raises:
            SourceFailure: the source is out of reach, lacks the piece, or serves another size.
            OSError: the target cannot be written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What sources may use: a scratch ``folder`` of their own, and the command that runs pip."""

    folder: Path
    pip_command: tuple[str, ...]


class OpenLocation(Protocol):
    def __call__(self, target: str, workplace: Workplace, /) -> AbstractContextManager[FetchPiece]:
        """Open a location; what it downloaded beside the pieces is removed when the context ends."""
