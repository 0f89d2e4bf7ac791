"""Alembic's migrations, run from code by ``rag.stores.sqlite.schema``."""
