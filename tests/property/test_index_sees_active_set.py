"""Whatever two processes do to a collection, in any order, either finds exactly what is active, exactly scored."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rag.errors import Conflict
from rag.stores.documents import SqlDocumentStore
from rag.stores.index.vectors import decode, encode
from rag.stores.live_vectors import LiveVectors
from rag.stores.sqlite.database import Database
from rag.stores.writing.staging import SqlStagedVersion
from tests.contracts.store_builders import DIMENSION, drafts, fingerprint, settings_in, source, unit_vectors

WHO = st.sampled_from([0, 1])
URI = st.sampled_from(["/a", "/b", "/c", "/d"])
QUERY = unit_vectors(1, seed=1234)[0]


class TwoProcesses(RuleBasedStateMachine):
    """The model: for each uri the vectors of its active version."""

    @initialize()
    def start(self):
        self.home = tempfile.TemporaryDirectory()
        self.active = {}
        self.staged = []
        self.seed = 0
        self.database, self.store, self.vectors = [None] * 2, [None] * 2, [None] * 2
        for who in (0, 1):
            self.open(who)
        self.collection = self.store[0].ensure_collection("c", fingerprint())

    def open(self, who):
        self.database[who] = Database.open(settings_in(Path(self.home.name)))
        self.store[who] = SqlDocumentStore(self.database[who])
        self.vectors[who] = LiveVectors(self.database[who], Path(self.home.name) / "indexes")

    @rule(who=WHO, uri=URI, count=st.integers(0, 6))
    def ingest(self, who, uri, count):
        self.seed += 1
        pieces = [f"{uri} {self.seed} {number}" for number in range(count)]
        vectors = unit_vectors(count, seed=self.seed)
        with self.store[who].stage(self.collection, source(uri)) as version:
            version.add_text(0, "".join(pieces))
            version.add_chunks(drafts(pieces), vectors)
            version.activate()
        self.active[uri] = dict(zip(pieces, vectors, strict=True))

    @rule(who=WHO, uri=URI)
    def crash_while_staging(self, who, uri):
        self.seed += 1
        version = SqlStagedVersion(self.database[who], self.collection, source(uri))
        version.add_chunks(drafts(["never seen"]), unit_vectors(1, seed=self.seed))
        version._spill()

    @rule(who=WHO, uri=URI)
    def delete(self, who, uri):
        document = self.store[who].document_by_uri(self.collection, uri)
        assert (document is not None) == (uri in self.active)
        if document is not None:
            self.store[who].delete(self.collection, [document.id])
            del self.active[uri]

    @rule(who=WHO, force=st.booleans())
    def flush(self, who, force):
        self.vectors[who].flush(self.collection, force=force)

    @rule(who=WHO)
    def rollback(self, who):
        with contextlib.suppress(Conflict):  # there may be nothing to go back to
            self.vectors[who].rollback(self.collection)

    @rule(who=WHO)
    def rebuild(self, who):
        self.vectors[who].rebuild(self.collection)

    @rule(who=WHO)
    def restart(self, who):
        self.vectors[who].close()
        self.database[who].close()
        self.open(who)

    @rule(who=WHO, k=st.integers(1, 30))
    def search(self, who, k):
        """Not an invariant: a process that does not search for a while must catch up from further behind."""
        expected = {text: vector for version in self.active.values() for text, vector in version.items()}
        texts = list(expected)
        stored = decode(encode(np.array([expected[text] for text in texts]).reshape(-1, DIMENSION)), DIMENSION)
        scores = dict(zip(texts, (stored @ QUERY).tolist(), strict=True))
        hits = self.vectors[who].search(self.collection, QUERY, k)
        found = self.store[who].hydrate(self.collection, [hit.chunk_id for hit in hits])
        assert len(found) == len(hits) == min(k, len(expected))
        best = sorted(scores.values(), reverse=True)[:k]
        for (chunk, _), hit, score in zip(found, hits, best, strict=True):
            assert abs(hit.score - score) < 1e-5
            assert abs(scores[chunk.text] - hit.score) < 1e-5

    @invariant()
    def documents_are_those_of_the_model(self):
        if hasattr(self, "collection"):
            listed = {document.uri for document in self.store[0].documents(self.collection)}
            assert listed == set(self.active)

    def teardown(self):
        for who in (0, 1):
            self.vectors[who].close()
            self.database[who].close()
        self.home.cleanup()


TestTwoProcesses = TwoProcesses.TestCase
TestTwoProcesses.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
