"""What is kept of fetches from web servers: what a server said of a version, to ask it for a newer one."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from rag.source_types import WebFetch
from rag.stores.tables import VersionRow
from rag.stores.visibility import OF_PRESENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.stores.sqlite.database import Database
    from rag.types import Collection


def note_fetch(database: Database, collection: Collection, document_id: int, fetch: WebFetch) -> None:
    """Write it to the active version and its cuts; nothing happens if there is none."""
    present = (
        VersionRow.collection_id == collection.id,
        VersionRow.document_id == document_id,
        OF_PRESENT,
    )
    with database.write() as connection:
        connection.execute(update(VersionRow).where(*present).values(web=asdict(fetch)))


def web_fetch(stored: Mapping[str, Any] | None) -> WebFetch | None:
    """What was written; None if that is not what one looks like, and then the document is asked for anew."""
    if not isinstance(stored, dict) or set(stored) != {field.name for field in fields(WebFetch)}:
        return None
    return WebFetch(**stored) if all(isinstance(value, str) for value in stored.values()) else None
