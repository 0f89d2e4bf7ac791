"""A new database as the statements that make it: all migrations take a tenth of a second, and tests make hundreds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.stores.sqlite import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

migrate = schema.upgrade

# SQLite makes these with the table they belong to: its statistics, and those in which an index of full text is kept.
_MADE_ALONG = """
    name LIKE 'sqlite_%' OR type = 'table' AND EXISTS (
        SELECT 1 FROM sqlite_master AS whole
        WHERE whole.sql LIKE 'CREATE VIRTUAL TABLE%' AND sqlite_master.name LIKE whole.name || '_%'
    )
"""


class Upgrade:
    """Stands in for ``schema.upgrade``: migrations are run for the first new database, the others get what came out."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], list[str]] = {}

    def __call__(self, connection: Connection, *, retention_days: float) -> None:
        new = schema.revision_of(connection) is None
        program = (schema.SCRIPTS, *schema.REVISIONS)  # a test may be of an older one or a newer one
        if new and program in self._made:
            for statement in self._made[program]:
                connection.exec_driver_sql(statement)
            return
        migrate(connection, retention_days=retention_days)
        if new:
            self._made[program] = list(_statements(connection))


def _statements(connection: Connection) -> Iterator[str]:
    """What makes the tables, and the rows in them, of a database without documents."""
    query = f"SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND NOT ({_MADE_ALONG}) ORDER BY rowid"  # noqa: S608
    made = connection.exec_driver_sql(query).all()
    yield from (sql for _, _, sql in made)
    for kind, name, sql in made:
        if kind != "table" or sql.startswith("CREATE VIRTUAL"):
            continue
        for row in connection.exec_driver_sql(f"SELECT * FROM {name}").all():  # noqa: S608
            yield f"INSERT INTO {name} VALUES ({', '.join(map(_literal, row))})"  # noqa: S608


def _literal(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    assert isinstance(value, int | float), value
    return repr(value)
