"""Whatever two programs do to two collections, in any order: either finds what there is, and what there was."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from indexer.chunking.outlines import outline_of
from indexer.commands.verify import _verify
from indexer.reembedding import Reembedding, Watcher
from rag.errors import Conflict, EmbedderChanged, HistoryGone, SourcePurged
from rag.factory import open_library
from rag.stores.embeddings import embedding_sets
from rag.stores.index.vectors import decode, encode
from rag.stores.source_moves import move_sources
from rag.stores.tables import CollectionRow, SetState
from rag.types import Comparison
from tests.contracts.store_builders import DIMENSION, fingerprint, settings_in, source
from tests.faults.killed_writer import (
    CHUNKERS,
    EMBEDDERS,
    KnownEmbedder,
    blocks_in,
    cut,
    pieces,
    vector,
    vectors,
)

WHO = st.sampled_from([0, 1])
WHERE = st.sampled_from(["one", "two"])
URI = st.sampled_from(["/a", "/b", "/c", "/d"])
YEAR = st.sampled_from([2023, 2024])
ONE_TICK = timedelta(microseconds=1)


@dataclass(eq=False)
class Document:
    uri: str


@dataclass(eq=False)
class Version:
    document: Document
    text: tuple[str, int, int]  # what ``pieces`` makes it of
    year: int
    chunker: str
    begun: datetime | None = None
    ended: datetime | None = None

    @property
    def chunks(self) -> list[str]:
        return [chunk.text for chunk in cut(*self.text, self.chunker)]


@dataclass
class Model:
    """What a collection should be."""

    versions: list[Version] = field(default_factory=list)
    floor: datetime | None = None
    keeps: bool = True

    def active(self, uri: str | None = None) -> list[Version]:
        return [each for each in self.versions if each.ended is None and uri in (None, each.document.uri)]

    def as_of(self, moment: datetime) -> list[Version]:
        return [each for each in self.versions if each.begun <= moment and (each.ended is None or each.ended > moment)]

    def document(self, uri: str) -> Document | None:
        """That has the name, though only in the past."""
        return next((each.document for each in self.versions if each.document.uri == uri), None)

    def end(self, version: Version, at: datetime) -> None:
        version.ended = at
        if not self.keeps:
            self.versions.remove(version)
            self.floor = at

    def events(self) -> list[tuple[datetime, str, str]]:
        """What changed since the history begins."""
        ends = {(each.document, each.ended) for each in self.versions if each.ended is not None}
        begins = {(each.document, each.begun) for each in self.versions}
        events = [(at, "deleted", document.uri) for document, at in ends - begins]
        events += [(at, "replaced" if (of, at) in ends else "added", of.uri) for of, at in begins]
        return sorted(each for each in events if self.floor is None or each[0] > self.floor)


class Stopping(Watcher):
    """Lets a run embed so many batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def stop(self) -> bool:
        self._left -= 1
        return self._left < 0


class AnyOrder(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.home = Path(self.scratch.name) / "home"
        self.libraries = [self.opened(), self.opened()]
        self.models, self.staged, self.number = {}, {}, 0
        for name, embedder in (("one", EMBEDDERS[0]), ("two", EMBEDDERS[1])):
            made = fingerprint(embedder=embedder, chunker=CHUNKERS[0])
            collection = self.libraries[0].store.ensure_collection(name, made)
            self.libraries[0].store.set_retention(collection, 30)
            self.models[name] = Model()
            for uri in ("/a", "/b", "/c"):
                self.ingest(0, name, uri, 2, 2023)
        self.steps = 0

    def opened(self):
        library = open_library(settings_in(self.home))
        library.embedder_of = lambda each: KnownEmbedder(each.fingerprint.embedder)
        return library

    def at(self, who, name):
        library = self.libraries[who]
        return library, library.store.collection(name), self.models[name]

    def changed_at(self, name):
        with self.libraries[0].database.read() as connection:
            return connection.scalar(select(CollectionRow.changed_at).where(CollectionRow.name == name))

    # What comes and goes.

    @rule(who=WHO, name=WHERE, uri=URI, count=st.integers(1, 4), year=YEAR, spilled=st.booleans())
    def stage(self, who, name, uri, count, year, spilled):
        """Read now, and activated later; part of it may be written before."""
        library, collection, _ = self.at(who, name)
        self.number += 1
        text = (f"/document{uri}", self.number, count)
        chunker = collection.fingerprint.chunker
        record = replace(source(uri, str(text)), metadata={"year": year})
        open_ = contextlib.ExitStack()
        version = open_.enter_context(library.store.stage(collection, record))
        chunks = cut(*text, chunker)
        version.add_text(0, "".join(pieces(*text)), outline=outline_of(blocks_in(pieces(*text))))
        version.add_chunks(chunks, vectors(collection.fingerprint.embedder, [chunk.text for chunk in chunks]))
        if spilled:
            version._spill()
        if (former := self.staged.pop((who, name), None)) is not None:
            former[0].close()
        self.staged[who, name] = (open_, version, Version(Document(uri), text, year, chunker))

    @rule(who=WHO, name=WHERE)
    def activate(self, who, name):
        if (who, name) not in self.staged:
            return
        model = self.models[name]
        open_, staged, version = self.staged.pop((who, name))
        with open_:
            try:
                staged.activate()
            except (EmbedderChanged, SourcePurged, Conflict):
                return
        at = self.changed_at(name)
        uri = version.document.uri
        version.document, version.begun = model.document(uri) or version.document, at
        for before in model.active(uri):
            model.end(before, at)
        model.versions.append(version)

    @rule(who=WHO, name=WHERE, uri=URI, count=st.integers(1, 4), year=YEAR)
    def ingest(self, who, name, uri, count, year):
        self.stage(who, name, uri, count, year, spilled=False)
        self.activate(who, name)

    @rule(who=WHO, name=WHERE, uri=URI)
    def delete(self, who, name, uri):
        library, collection, model = self.at(who, name)
        document = library.store.document_by_uri(collection, uri)
        assert (document is None) == (not model.active(uri))
        if document is not None:
            assert library.store.delete(collection, [document.id]) == 1
            for version in model.active(uri):
                model.end(version, self.changed_at(name))

    @rule(who=WHO, name=WHERE, uri=URI, to=URI)
    def move(self, who, name, uri, to):
        library, collection, model = self.at(who, name)
        document = library.store.document_by_uri(collection, uri)
        if document is None or self.staged:  # who ingests holds a lock, and so does who moves
            return
        moved = move_sources(library.database, collection, {document.id: (to, 2)})
        assert bool(moved) == (model.document(to) is None)
        if moved:
            model.active(uri)[0].document.uri = to

    @rule(who=WHO, name=WHERE, uri=URI)
    def purge(self, who, name, uri):
        library, collection, model = self.at(who, name)
        document_id = library.history.document_id(collection, uri)
        assert (document_id is None) == (model.document(uri) is None)
        if document_id is not None:
            searched = library.purge(collection, [document_id])
            assert not [place for place in searched if place.left], searched
            model.versions = [each for each in model.versions if each.document.uri != uri]

    @rule(who=WHO, name=WHERE, keep=st.integers(0, 3))
    def expire(self, who, name, keep):
        """All goes that ended before one of the last ends."""
        library, collection, model = self.at(who, name)
        ends = sorted({each.ended for each in model.versions if each.ended is not None})
        if len(ends) <= keep:
            return
        before = ends[-keep] if keep else self.changed_at(name) + ONE_TICK
        gone = [each for each in model.versions if each.ended is not None and each.ended < before]
        # A little more than exactly: time goes by, and each change is at a microsecond of its own.
        assert library.store.expire(collection, older_than=datetime.now(UTC) - before) in {len(gone), len(gone) + 1}
        with library.database.read() as connection:
            model.floor = connection.scalar(select(CollectionRow.history_floor).where(CollectionRow.name == name))
        model.versions = [each for each in model.versions if each.ended is None or each.ended > model.floor]

    @rule(who=WHO, name=WHERE, days=st.sampled_from([0, 30, 30, None]))
    def retain(self, who, name, days):
        """So many days; or drop the collection, and make it again."""
        library, collection, model = self.at(who, name)
        if days is not None:
            library.store.set_retention(collection, days)
            model.keeps = bool(days)
        elif not [key for key in self.staged if key[1] == name]:
            assert not [place for place in library.drop(collection).searched if place.left]
            library.store.set_retention(library.store.ensure_collection(name, collection.fingerprint), 30)
            self.models[name] = Model()

    # Other embeddings, other chunks.

    @rule(
        who=WHO,
        name=WHERE,
        embedder=st.sampled_from(EMBEDDERS),
        chunker=st.sampled_from([None, *CHUNKERS]),
        batches=st.sampled_from([100, 100, 1, 2]),
    )
    def reembed(self, who, name, embedder, chunker, batches):
        library, collection, _ = self.at(who, name)
        embedding_sets.delete_dropped(library.database, collection)
        wanted = (library.database, collection, embedder, DIMENSION)
        try:
            target = embedding_sets.begin(*wanted, chunker=chunker)
        except Conflict:  # something else was stopped: as it says, that is cancelled
            embedding_sets.drop(library.database, collection, SetState.BUILDING)
            target = embedding_sets.begin(*wanted, chunker=chunker)
        self.swap(library, collection, target, batches)

    @rule(who=WHO, name=WHERE, batches=st.sampled_from([100, 100, 1]))
    def back(self, who, name, batches):
        library, collection, _ = self.at(who, name)
        embedding_sets.delete_dropped(library.database, collection)
        with library.database.read() as connection:
            target = embedding_sets.find(connection, collection, SetState.PREVIOUS)
        if target is not None:
            self.swap(library, collection, target, batches)

    def swap(self, library, collection, target, batches):
        made = KnownEmbedder(target.embedder)
        run = Reembedding(library, collection, target, embedder=lambda: made, watcher=Stopping(batches))
        if run.run(sampled=False, force=True).outcome == "swapped":
            now = library.store.collection(collection.name).fingerprint
            assert now.embedder == target.embedder
            assert now.chunker == (target.chunker or collection.fingerprint.chunker)
            for version in self.models[collection.name].active():
                version.chunker = target.chunker or version.chunker

    @rule(who=WHO, name=WHERE, state=st.sampled_from([SetState.BUILDING, SetState.PREVIOUS]))
    def let_go(self, who, name, state):
        library, collection, _ = self.at(who, name)
        embedding_sets.drop(library.database, collection, state)

    # Index files, and programs.

    @rule(who=WHO, name=WHERE, what=st.sampled_from(["flush", "flush", "rebuild", "rollback"]))
    def index_file(self, who, name, what):
        library, collection, _ = self.at(who, name)
        with contextlib.suppress(Conflict):  # there is no file before
            match what:
                case "flush":
                    library.vectors.flush(collection, force=True)
                case "rebuild":
                    library.vectors.rebuild(collection)
                case "rollback":
                    library.vectors.rollback(collection)

    @rule(who=WHO)
    def restart(self, who):
        for key in [key for key in self.staged if key[0] == who]:
            self.staged.pop(key)[0].close()
        self.libraries[who].close()
        self.libraries[who] = self.opened()

    # What is found.

    @invariant()
    def look(self):
        """Not after every step: a program that does not search for a while has to catch up."""
        if not hasattr(self, "steps"):
            return
        self.steps += 1
        for who, every in ((0, 2), (1, 5)):
            if self.steps % every == 0:
                name = ("one", "two")[self.steps // every % 2]
                self.now(who, name)
                self.then(who, name)

    def now(self, who, name):
        library, collection, model = self.at(who, name)
        self.check(library, collection, model.active(), None)
        shown = {document.uri: document for document in library.store.documents(collection)}
        assert {uri: document.metadata["year"] for uri, document in shown.items()} == {
            each.document.uri: each.year for each in model.active()
        }

    def then(self, who, name):
        library, collection, model = self.at(who, name)
        times = {each.begun for each in model.versions} | {each.ended for each in model.versions if each.ended}
        moments = sorted({each for time in times for each in (time - ONE_TICK, time)})
        for moment in moments[self.steps % 4 :: 4][-2:]:
            if model.floor is None or moment >= model.floor:
                self.check(library, collection, model.as_of(moment), moment)
            else:
                with pytest.raises(HistoryGone):
                    library.store.hydrate(collection, [], as_of=moment)
        told = [
            (datetime.fromisoformat(change.at), str(change.kind), change.uri)
            for _, change in library.history.changes(collection)
        ]
        assert sorted(told) == model.events()

    def check(self, library, collection, versions, as_of):
        expected = {text: each for each in versions for text in each.chunks}
        query = vector(collection.fingerprint.embedder, "anything")
        texts = list(expected)
        made = vectors(collection.fingerprint.embedder, texts)
        scores = dict(zip(texts, (decode(encode(made), DIMENSION) @ query).tolist(), strict=True)) if texts else {}
        year = Comparison(field="meta.year", operator="==", value=2024)
        named = Comparison(field="uri", operator="in", value=("/a", "/b"))
        of_year = [each for each in texts if expected[each].year == 2024]
        of_name = [each for each in texts if expected[each].document.uri in named.value]
        filtered = ((year, of_year), (named, of_name))[self.steps % 2]
        for where, let_through in (filtered, (None, texts)):
            hits = library.vectors.search(collection, query, 100, where=where, as_of=as_of)
            found = library.store.hydrate(collection, [hit.chunk_id for hit in hits], where=where, as_of=as_of)
            assert sorted(chunk.text for chunk, _ in found) == sorted(let_through)
            assert all(document.uri == expected[chunk.text].document.uri for chunk, document in found)
            np.testing.assert_allclose([hit.score for hit in hits], [scores[c.text] for c, _ in found], atol=1e-5)
            worded = library.lexical.search(collection, "document", 100, where=where, as_of=as_of)
            assert {hit.chunk_id for hit in worded} == {hit.chunk_id for hit in hits}
        for chunk, document in found:
            assert library.store.source_text(document.id, chunk.span, as_of=as_of) == chunk.text

    def teardown(self):
        if not hasattr(self, "libraries"):
            return
        for open_, _, _ in self.staged.values():
            open_.close()
        library = self.libraries[0]
        damage = [each for each in _verify(library, library.store.collections()) if each.severity == "damage"]
        for each in self.libraries:
            each.close()
        self.scratch.cleanup()
        assert damage == []


SETTINGS = settings(max_examples=2, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))

TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = SETTINGS


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_orders():
    run_state_machine_as_test(AnyOrder, settings=settings(SETTINGS, max_examples=60, stateful_step_count=50))
