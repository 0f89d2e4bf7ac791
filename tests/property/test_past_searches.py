"""Whatever is ingested, replaced, deleted and expired: a search about a moment that is kept finds what was active."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from rag.errors import HistoryGone
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from rag.stores.tables import CollectionRow
from rag.stores.versions.history import History
from rag.types import Comparison
from tests.contracts.store_builders import drafts, fingerprint, settings_in, source, unit_vectors

URI = st.sampled_from(["/a", "/b", "/c"])
QUERY = unit_vectors(1, seed=1234)[0]
RETENTION = timedelta(days=30)


class Past(RuleBasedStateMachine):
    """The model: after each change, its time and the vectors of what was active, by text."""

    @initialize()
    def start(self):
        self.home = tempfile.TemporaryDirectory()
        self.database = Database.open(settings_in(Path(self.home.name)))
        self.store = SqlDocumentStore(self.database, retention=RETENTION)
        self.vectors = LiveVectors(self.database, Path(self.home.name) / "indexes")
        self.lexical = FtsIndex(self.database)
        self.history = History(self.database)
        self.collection = self.store.ensure_collection("c", fingerprint())
        self.active, self.moments, self.gone, self.seed = {}, [], [], 0

    @rule(uri=URI, count=st.integers(1, 4))
    def ingest(self, uri, count):
        self.seed += 1
        pieces = [f"word {uri[1:]} number{self.seed} part{number}. " for number in range(count)]
        vectors = unit_vectors(count, seed=self.seed)
        with self.store.stage(self.collection, source(uri, "".join(pieces))) as version:
            version.add_text(0, "".join(pieces))
            version.add_chunks(drafts(pieces), vectors)
            version.activate()
        self.active = {**self.active, uri: dict(zip(pieces, vectors, strict=True))}
        self.note()

    @rule(uri=URI)
    def delete(self, uri):
        found = self.store.document_by_uri(self.collection, uri)
        assert (found is None) == (uri not in self.active)
        if found is not None:
            self.store.delete(self.collection, [found.id])
            self.active = {other: chunks for other, chunks in self.active.items() if other != uri}
            self.note()

    @rule()
    def flush(self):
        self.vectors.flush(self.collection, force=True)

    @rule(keep=st.integers(0, 3))
    def expire(self, keep):
        """Everything that ended before one of the last moments goes."""
        if len(self.moments) > keep:
            now = self.changed_at()
            floor = self.moments[-keep - 1][0] if keep else now + timedelta(seconds=1)
            self.store.expire(self.collection, older_than=_until_now(floor))
            begins = self.history.begins(self.collection)
            self.gone += [moment for moment, _ in self.moments if moment < begins]
            self.moments = [(moment, active) for moment, active in self.moments if moment >= begins]

    @invariant()
    def every_moment_is_as_it_was(self):
        for moment, active in self.moments[-4:]:
            texts = {text: vector for chunks in active.values() for text, vector in chunks.items()}
            for as_of in {moment, moment + timedelta(microseconds=1)} if active is not self.active else {moment}:
                self.check(as_of, texts)
        for moment in self.gone[-2:]:
            with pytest.raises(HistoryGone):
                self.store.hydrate(self.collection, [], as_of=moment)

    def check(self, as_of, texts):
        hits = self.vectors.search(self.collection, QUERY, 100, as_of=as_of)
        found = self.store.hydrate(self.collection, [hit.chunk_id for hit in hits], as_of=as_of)
        assert sorted(chunk.text for chunk, _ in found) == sorted(texts)
        expected = [float(texts[chunk.text] @ QUERY) for chunk, _ in found]
        np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        best = self.vectors.search(self.collection, QUERY, 2, as_of=as_of)
        assert best == hits[:2]
        worded = self.lexical.search(self.collection, "word", 100, as_of=as_of)
        assert {hit.chunk_id for hit in worded} == {hit.chunk_id for hit in hits}
        for chunk, document in found:
            assert self.store.source_text(document.id, chunk.span, as_of=as_of) == chunk.text
        where = Comparison(field="uri", operator="==", value="/a")
        of_a = {chunk.id for chunk, document in found if document.uri == "/a"}
        for leg in (
            self.vectors.search(self.collection, QUERY, 100, where=where, as_of=as_of),
            self.lexical.search(self.collection, "word", 100, where=where, as_of=as_of),
        ):
            assert {hit.chunk_id for hit in leg} == of_a

    def note(self):
        self.moments.append((self.changed_at(), self.active))

    def changed_at(self):
        with self.database.read() as connection:
            return connection.scalar(select(CollectionRow.changed_at).where(CollectionRow.id == self.collection.id))

    def teardown(self):
        if hasattr(self, "database"):
            self.vectors.close()
            self.database.close()
            self.home.cleanup()


def _until_now(moment):
    """The age of what ended before a moment; a change may have been given a time that is not quite reached yet."""
    return datetime.now(UTC) - moment


Past.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPast = Past.TestCase
