"""The tables of queued jobs: they name collections and documents, and refer to none."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLAlchemy reads the annotations
from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from rag.stores.sqlite.column_types import StoredJson, UtcDateTime
from rag.stores.tables import Base, Key


class JobRow(Base):
    """Work that is queued. ``owner`` is the worker that has it, until ``lease_until`` or for as long as it says so."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state", "state", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection: Mapped[str] = mapped_column(Text)
    request: Mapped[dict[str, Any]] = mapped_column(StoredJson)
    state: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)  # files that need no row of their own
    files_known: Mapped[int | None]
    chunks: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    owner: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))


class JobFileRow(Base):
    """What came of one file of a job, the last time it was tried."""

    __tablename__ = "job_files"
    __table_args__ = (UniqueConstraint("job_id", "uri"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    uri: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    document_id: Mapped[int | None] = mapped_column(BigInteger)
    chunks: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    notices: Mapped[list[str]] = mapped_column(StoredJson)
    quality: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))
