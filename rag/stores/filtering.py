"""Filters as SQL conditions. What they mean is written in ``rag.retrieval.filters``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sqlalchemy import and_, false, func, not_, or_, select

from rag.stores.tables import ChunkRow, DocumentRow, VersionRow, VersionStatus
from rag.types import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection

    from rag.types import Filter, FilterValue

_COLUMNS: Final[Mapping[str, Any]] = {
    "document_id": DocumentRow.id,
    "uri": DocumentRow.uri,
    "title": VersionRow.title,
    "media_type": VersionRow.media_type,
    "sha256": VersionRow.sha256,
    "size": VersionRow.size,
    "updated_at": VersionRow.created_at,
    "page": ChunkRow.page,
    "ordinal": ChunkRow.ordinal,
    "token_count": ChunkRow.token_count,
}


def condition(where: Filter) -> ColumnElement[bool]:
    """The filter over the columns of chunks, versions and documents; it is never NULL."""
    if isinstance(where, Comparison):
        return _compared(_COLUMNS[where.field], where.operator, where.value)
    parts = [condition(part) for part in where.conditions]
    if where.operator == "OR":
        return or_(*parts)
    return and_(*parts) if where.operator == "AND" else not_(and_(*parts))


def matching_chunks(connection: Connection, collection_id: int, where: Filter) -> NDArray[np.int64]:
    """Ids, ascending, of a collection's active chunks that the filter lets through."""
    ids = connection.scalars(
        select(ChunkRow.id)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
        .where(VersionRow.collection_id == collection_id, VersionRow.status == VersionStatus.ACTIVE, condition(where))
    )
    return np.sort(np.fromiter(ids, dtype=np.int64))


def _compared(column: Any, operator: str, value: FilterValue) -> ColumnElement[bool]:  # noqa: ANN401  # any column
    if operator in {"!=", "not in"}:
        return not_(_compared(column, "==" if operator == "!=" else "in", value))
    if operator == "in":
        values = value if isinstance(value, tuple) else (value,)
        present = [each for each in values if each is not None]
        found = func.coalesce(column.in_(present), false())
        return or_(found, column.is_(None)) if len(present) < len(values) else found
    if value is None:
        is_null: ColumnElement[bool] = column.is_(None)
        return is_null
    ordered = {"==": column == value, ">": column > value, ">=": column >= value, "<": column < value}
    return func.coalesce(ordered.get(operator, column <= value), false())
