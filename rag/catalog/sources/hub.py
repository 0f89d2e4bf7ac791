"""``hf:`` sources: a model hub that speaks the Hugging Face protocol.

huggingface_hub knows addresses, tokens, mirrors and the local cache, and is asked for those. The bytes go through
``Transfer``, not ``hf_hub_download``: that one holds up the next source for 23 s where the hub cannot be reached,
asks the hub for more than the file, and starts again from the last 10 MB block after a cut.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache

from rag.catalog.sources.folder import copy_file
from rag.catalog.sources.source import SourceFailure
from rag.catalog.sources.transfer import Transfer, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rag.catalog.entries import Piece
    from rag.catalog.sources.source import FetchPiece, Workplace


@contextmanager
def open_hub(target: str, workplace: Workplace) -> Iterator[FetchPiece]:  # noqa: ARG001 - the protocol's signature
    """Implements ``OpenLocation``; ``target`` is ``OWNER/REPO@REVISION``."""
    repository, _, revision = target.rpartition("@")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    # A mirror inside a closed network may be plain http if its user says so; the sha256 vouches for the content.
    with open_client(allow_http=endpoint is not None and endpoint.startswith("http://")) as client:

        def fetch(piece: Piece, file: Path, advance: Callable[[int], None]) -> None:
            cached = try_to_load_from_cache(repository, piece.name, revision=revision)
            if isinstance(cached, str) and Path(cached).stat().st_size == piece.bytes:
                copy_file(Path(cached), piece, file, advance)
                return
            if constants.is_offline_mode():
                raise SourceFailure("HF_HUB_OFFLINE is set", advice="Unset HF_HUB_OFFLINE to download.")
            url = hf_hub_url(repository, piece.name, revision=revision, endpoint=endpoint)
            Transfer(client, url, piece, file, headers=_authorization()).run(advance)

        yield fetch


def _authorization() -> dict[str, str]:
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return {}
    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}
