"""Types of columns whose values are written in a notation of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Dialect, TypeDecorator
from sqlalchemy import DateTime as SqlDateTime

from rag.stores.checksums import RowDamaged
from rag.times import in_utc

if TYPE_CHECKING:
    from collections.abc import Callable


class _Readable(TypeDecorator[Any]):
    """What is written in a notation of its own. Something that is not in it raises RowDamaged."""

    __abstract__ = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        process = super().result_processor(dialect, coltype)

        def read(value: object) -> object:
            try:
                return value if process is None else process(value)
            except (ValueError, TypeError, AttributeError) as error:
                raise RowDamaged(
                    f"The database is damaged: a stored value cannot be read ({error}).",
                    hint="`indexer verify` tells what is damaged; restore a backup, or ingest the documents anew.",
                ) from error

        return read


class StoredJson(_Readable):
    impl = JSON
    cache_ok = True


class UtcDateTime(_Readable):
    """An aware time in UTC, kept naive because SQLite has no time zones."""

    impl = SqlDateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        return None if value is None else in_utc(value).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        return None if value is None else value.replace(tzinfo=UTC)
