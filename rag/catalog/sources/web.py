"""``https:`` sources: a folder on a web server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from rag.catalog.sources.transfer import Transfer, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rag.catalog.entries import Piece
    from rag.catalog.sources.source import FetchPiece, Workplace


@contextmanager
def open_web(target: str, workplace: Workplace) -> Iterator[FetchPiece]:  # noqa: ARG001 - the protocol's signature
    """Implements ``OpenLocation``; ``target`` is the folder's URL."""
    with open_client() as client:

        def fetch(piece: Piece, file: Path, advance: Callable[[int], None]) -> None:
            url = f"{target.rstrip('/')}/{quote(piece.name)}"
            Transfer(client, url, piece, file).run(advance)

        yield fetch
