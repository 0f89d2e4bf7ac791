"""Alembic's entry: migrates over the connection that the caller has opened."""

from __future__ import annotations

from alembic import context

from rag.stores.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite's DDL is transactional once the driver leaves BEGIN to us
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
