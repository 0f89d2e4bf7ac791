"""Filters as SQL conditions. What they mean is written in ``rag.retrieval.filters``."""

from __future__ import annotations

import operator as operators
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from sqlalchemy import and_, false, func, not_, or_, select, true, union_all

from rag.retrieval.filters import METADATA
from rag.stores.tables import ChunkRow, DocumentRow, MetadataRow, VersionRow
from rag.types import Comparison
from rag.unicode import equivalents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy.orm import InstrumentedAttribute

    from rag.types import Filter, FilterValue, MetadataValue, Scalar

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

_ORDERED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">": operators.gt,
    ">=": operators.ge,
    "<": operators.lt,
    "<=": operators.le,
}


def condition(where: Filter) -> ColumnElement[bool]:
    """The filter over the columns of chunks, versions and documents; it is never NULL."""
    if isinstance(where, Comparison):
        if where.field.startswith(METADATA):
            return _metadata_compared(where.field.removeprefix(METADATA), where.operator, where.value)
        return _compared(_COLUMNS[where.field], where.operator, where.value)
    parts = [condition(part) for part in where.conditions]
    if where.operator == "OR":
        return or_(*parts)
    return and_(*parts) if where.operator == "AND" else not_(and_(*parts))


def matching_chunks(
    connection: Connection, collection_id: int, where: Filter | None, versions: ColumnElement[bool]
) -> NDArray[np.int64]:
    """Ids, ascending, of a collection's chunks that the filter lets through, of those versions."""
    # As one text: a row for each of 300,000 chunks takes longer to bring to Python than to find.
    ids = connection.scalar(
        select(func.group_concat(ChunkRow.id))
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .join(DocumentRow, DocumentRow.id == VersionRow.document_id)
        .where(VersionRow.collection_id == collection_id, versions, true() if where is None else condition(where))
    )
    return np.sort(np.fromstring(ids or "", dtype=np.int64, sep=","))


def metadata_row(version_id: int, key: str, value: MetadataValue) -> dict[str, Any]:
    """The row that lets filters find one metadata value."""
    empty: dict[str, Any] = {"version_id": version_id, "key": key, "text": None, "number": None, "truth": None}
    return {**empty, _column_of(value).key: value}


def _metadata_compared(key: str, operator: str, value: FilterValue) -> ColumnElement[bool]:
    """As ``_compared``, of a value that may be of any type: values of two types are unequal and in no order."""
    if operator in {"!=", "not in"}:
        return not_(_metadata_compared(key, "==" if operator == "!=" else "in", value))
    having = select(MetadataRow.version_id).where(MetadataRow.key == key)
    if operator == "in":
        return _metadata_listed(having, cast("tuple[Scalar, ...]", value))
    if value is None:
        return VersionRow.id.not_in(having)
    return VersionRow.id.in_(having.where(_found(_column_of(value), operator, value)))


def _metadata_listed(having: Select[int], values: Sequence[Scalar]) -> ColumnElement[bool]:
    """One part for all values, and one for null: however long the list, the expression gets no deeper."""
    columns = {_column_of(value) for value in values if value is not None}
    of_types = [
        having.where(column.in_(_equivalents(value for value in values if _column_of(value) is column)))
        for column in sorted(columns, key=lambda column: column.key)
    ]
    found = VersionRow.id.in_(union_all(*of_types)) if of_types else false()
    return or_(found, VersionRow.id.not_in(having)) if None in values else found


def _column_of(value: object) -> InstrumentedAttribute[Any]:
    if isinstance(value, bool):  # first, for a bool is an int
        return MetadataRow.truth
    return MetadataRow.text if isinstance(value, str) else MetadataRow.number


def _compared(column: Any, operator: str, value: FilterValue) -> ColumnElement[bool]:  # noqa: ANN401  # any column
    if operator in {"!=", "not in"}:
        return not_(_compared(column, "==" if operator == "!=" else "in", value))
    found = _found(column, operator, value)
    if not column.property.columns[0].nullable:
        return found
    known = func.coalesce(found, false())
    return or_(known, column.is_(None)) if value is None or (isinstance(value, tuple) and None in value) else known


def _found(column: Any, operator: str, value: FilterValue) -> ColumnElement[bool]:  # noqa: ANN401  # any column
    """NULL where there is no value: a condition that an index answers."""
    if operator in _ORDERED:
        return cast("ColumnElement[bool]", _ORDERED[operator](column, value))
    values = value if isinstance(value, tuple) else (value,)
    return cast("ColumnElement[bool]", column.in_(_equivalents(values)))


def _equivalents(values: Iterable[Scalar]) -> list[Scalar]:
    """All but null; texts in every form that looks the same."""
    return [
        form
        for value in values
        if value is not None
        for form in (equivalents(value) if isinstance(value, str) else (value,))
    ]
