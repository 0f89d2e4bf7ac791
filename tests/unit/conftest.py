"""Fixtures of the tests of the stores: a database of its own for each, and the documents in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rag.stores.documents import SqlDocumentStore
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import settings_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(settings_in(tmp_path / "home"))
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SqlDocumentStore:
    return SqlDocumentStore(database)
