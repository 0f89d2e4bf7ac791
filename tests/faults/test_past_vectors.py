"""Damaged embeddings of versions that have ended: questions about the past say so, and questions of today go on."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import numpy as np
import pytest

from rag.errors import DatabaseDamaged
from rag.factory import Library
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import fingerprint, ingest, settings_in, unit_vectors


@pytest.mark.parametrize("place", [0, 1, 7])
def test_a_flipped_byte_in_a_retired_embedding_is_no_wrong_answer(tmp_path, place) -> None:
    settings = settings_in(tmp_path)
    with Library(settings, Database.open(settings)) as library:
        collection = library.store.ensure_collection("c", fingerprint())
        for number in range(3):
            ingest(library.store, collection, f"/{number}", [f"text {number}"], seed=number)
        then = datetime.now(UTC)
        for number in range(3):
            ingest(library.store, collection, f"/{number}", [f"another {number}"], seed=10 + number)
        wanted = unit_vectors(1, seed=0)[0]
        before = library.vectors.search(collection, wanted, 3, as_of=then)
        assert len(before) == 3
        assert before[0].score == pytest.approx(1, abs=1e-3)
        with sqlite3.connect(library.database.path) as connection:
            chunk, vector = connection.execute("SELECT chunk_id, vector FROM embeddings ORDER BY chunk_id").fetchone()
            assert chunk == before[0].chunk_id
            flipped = bytearray(vector)
            flipped[place] ^= 0x40
            connection.execute("UPDATE embeddings SET vector = ? WHERE chunk_id = ?", (bytes(flipped), chunk))
        with pytest.raises(DatabaseDamaged, match="1 stored embedding not as written"):
            library.vectors.search(collection, wanted, 3, as_of=then)
        today = library.vectors.search(collection, wanted, 3)
        assert len(today) == 3
        assert np.isfinite([hit.score for hit in today]).all()
