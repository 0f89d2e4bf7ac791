"""The composition root over a real data directory."""

from __future__ import annotations

import sqlite3

import pytest

from rag.config import Settings
from rag.errors import EmbedderChanged
from rag.factory import Library, open_library
from rag.types import Fingerprint


@pytest.fixture
def library(tmp_path, models_dir, embedder_path, smollm_path):
    settings = Settings(home=tmp_path / "home", models_dir=models_dir, generator="smollm2-135m-instruct", threads=1)
    with open_library(settings) as opened:
        yield opened


def check(library: Library, name: str):
    return next(found for found in library.readiness() if found.name == name)


def test_readiness_loads_nothing_and_follows_what_is_loaded(library) -> None:
    assert not check(library, "embedder").ok
    assert not check(library, "generator").ok
    library.warm_up()
    assert all(found.ok for found in library.readiness())
    assert "CPU" in check(library, "generator").detail


def test_a_database_another_program_migrated_is_not_ready(library) -> None:
    assert check(library, "database").ok
    with sqlite3.connect(library.database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    assert not check(library, "database").ok
    assert "0099" in check(library, "database").detail


def test_a_generator_that_stopped_is_not_ready(library) -> None:
    library.warm_up()
    library.generator.close()
    assert not check(library, "generator").ok


async def test_a_collection_of_another_embedder_is_refused_with_the_way_out(library) -> None:
    fingerprint = Fingerprint(parser="p", chunker="c", embedder="another@1", dimension=384)
    library.store.ensure_collection("old", fingerprint)
    with pytest.raises(EmbedderChanged, match="indexer rebuild --collection old --embed"):
        await library.pipeline.search("anything", collection="old")
    assert not check(library, "collection old").ok
