"""Passages that stand in several documents, through the real embedder, both legs and the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update

from rag.embedding.bi_encoder import BiEncoder
from rag.retrieval.retriever import Retriever
from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.jobs.blobs import Blobs
from rag.stores.live_vectors import LiveVectors
from rag.stores.removal.purge import purge
from rag.stores.sqlite.database import Database
from rag.stores.tables import ChunkKeyRow, ChunkRow
from rag.stores.verification.documents import repair_documents, verify_documents
from rag.types import Comparison, Fingerprint
from tests.contracts.store_builders import drafts, settings_in, source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PUMP = (
    "The feed pump runs at 40 bar. It is checked each morning by the shift that leaves. "
    "Nobody may open it while it runs, and the key stays with the foreman."
)
NOTICE = "We use cookies to improve this site. By going on you agree to their use, as our privacy policy explains."


@pytest.fixture(scope="module")
def encoder(embedder_path) -> BiEncoder:
    return BiEncoder(embedder_path, name="all-minilm-l6-v2", sha256="ab" * 32, threads=1)


class Shelf:
    def __init__(self, home: Path, encoder: BiEncoder) -> None:
        self.database = Database.open(settings_in(home))
        self.encoder = encoder
        self.store = SqlDocumentStore(self.database, retention=timedelta(days=30))
        made_with = Fingerprint(parser="p", chunker="c", embedder=encoder.identity, dimension=encoder.dimension)
        self.collection = self.store.ensure_collection("c", made_with)
        self.retriever = Retriever(
            store=self.store,
            embedder_of=lambda _collection: encoder,
            vectors=LiveVectors(self.database, home / "indexes"),
            lexical=FtsIndex(self.database),
        )

    def add(self, uri: str, *pieces: str) -> int:
        with self.store.stage(self.collection, source(uri, "".join(pieces))) as version:
            version.add_text(0, "".join(pieces))
            known: dict[str, int] = {}
            vectors = self.encoder.embed_passages(list(dict.fromkeys(pieces)))
            for piece in pieces:
                known.setdefault(piece, len(known))
            version.add_chunks(drafts(pieces), vectors[[known[piece] for piece in pieces]])
            return version.activate().id

    def search(self, query: str, k: int, **options) -> list[tuple[str, list[str]]]:
        """The documents that are shown, each with those it is also in."""
        found = self.retriever.retrieve(self.store.collection("c"), query, k, **options)
        return [(each.document.uri, [other.document.uri for other in each.also_in]) for each in found.passages]


@pytest.fixture
def shelf(tmp_path, encoder) -> Iterator[Shelf]:
    opened = Shelf(tmp_path / "home", encoder)
    yield opened
    opened.database.close()


def _others(count: int) -> Sequence[str]:
    return [f"Bearing number {number} of the turbine is greased every {number + 2} weeks. " for number in range(count)]


def test_a_passage_of_three_documents_is_shown_once_with_all_three(shelf) -> None:
    for uri, text in (("/a", PUMP), ("/b", PUMP.upper()), ("/c", PUMP.replace(" ", "\n", 5)), ("/d", _others(1)[0])):
        shelf.add(uri, text)
    (first, also), second = shelf.search("at what pressure does the feed pump run", 5)
    assert {first, *also} == {"/a", "/b", "/c"}
    assert second == ("/d", [])


def test_the_fuller_of_two_stands_for_both(shelf) -> None:
    shelf.add("/short", PUMP)
    shelf.add("/full", f"{PUMP} Ask before.")
    assert shelf.search("feed pump pressure", 5) == [("/full", ["/short"])]
    assert shelf.search("feed pump pressure", 1) == [("/full", ["/short"])]


def test_another_figure_is_another_passage(shelf) -> None:
    shelf.add("/old", "In 2019 the revenue was 4.1 million. The board was content with the year.")
    shelf.add("/new", "In 2020 the revenue was 5.2 million. The board was content with the year.")
    assert sorted(shelf.search("what was the revenue", 5)) == [("/new", []), ("/old", [])]


def test_k_different_passages_are_found_below_a_thousand_copies(shelf) -> None:
    """Far more copies than either leg looks deep."""
    shelf.add("/notices", *[f"{NOTICE} " for _ in range(1100)])
    shelf.add("/rest", *_others(6))
    found = shelf.search("cookies on this site", 5)
    assert [uri for uri, _ in found] == ["/notices", "/rest", "/rest", "/rest", "/rest"]
    assert len(found[0][1]) == 20
    assert len(shelf.search("cookies on this site", 50)) == 7
    passages = shelf.retriever.retrieve(shelf.store.collection("c"), "cookies on this site", 50).passages
    fused = [passage.scores.fused for passage in passages]
    assert fused == sorted(fused, reverse=True)


def test_of_thousands_of_copies_few_are_looked_at(shelf, monkeypatch) -> None:
    shelf.add("/a", *[NOTICE] * 3000, *[PUMP] * 3000)
    shelf.add("/b", "A pump that nobody wrote a notice about. ")
    asked: list[int] = []
    likenesses = SqlDocumentStore.likenesses

    def counted(store, collection, chunk_ids, **options):
        asked.extend(chunk_ids)
        return likenesses(store, collection, chunk_ids, **options)

    monkeypatch.setattr(SqlDocumentStore, "likenesses", counted)
    found = shelf.search("Who agreed to the pump and its cookies?", 6)
    assert sorted(uri for uri, _ in found) == ["/a", "/a", "/b"]
    assert len(asked) < 2000


def test_the_ranking_does_not_depend_on_k(shelf) -> None:
    for number in range(4):
        shelf.add(f"/{number}", *_others(5), PUMP)
    longest = shelf.search("how often are bearings greased", 10)
    assert len(longest) == 6
    for k in range(1, 7):
        assert shelf.search("how often are bearings greased", k) == longest[:k]


def test_a_document_that_the_filter_keeps_out_is_not_named(shelf) -> None:
    for uri in ("/a", "/b", "/c"):
        shelf.add(uri, PUMP)
    where = Comparison(field="uri", operator="!=", value="/a")
    assert shelf.search("feed pump", 3, where=where) == [("/b", ["/c"])]


def test_one_that_is_deleted_leaves_the_other_to_be_found_and_the_past_as_it_was(shelf) -> None:
    gone = shelf.add("/a", PUMP)
    shelf.add("/b", PUMP)
    before = datetime.now(UTC)
    assert shelf.search("feed pump", 3) == [("/a", ["/b"])]
    shelf.store.delete(shelf.collection, [gone])
    shelf.add("/c", PUMP)
    assert shelf.search("feed pump", 3) == [("/b", ["/c"])]
    assert shelf.search("feed pump", 3, as_of=before) == [("/a", ["/b"])]
    shelf.store.expire(shelf.collection, older_than=timedelta(0))
    assert shelf.search("feed pump", 3) == [("/b", ["/c"])]


def test_a_purge_of_one_leaves_the_other_and_nothing_to_find_the_first_by(shelf, tmp_path) -> None:
    gone = shelf.add("/a", PUMP)
    shelf.add("/b", PUMP)
    assert shelf.search("feed pump", 3) == [("/a", ["/b"])]
    home = tmp_path / "home"
    vectors = LiveVectors(shelf.database, home / "indexes")
    looked = purge(
        shelf.database,
        vectors,
        shelf.collection,
        [gone],
        home=home,
        indexes=home / "indexes",
        blobs=Blobs(home / "blobs"),
        erase=list,
    )
    assert [each.place for each in looked if each.left] == []
    assert shelf.search("feed pump", 3) == [("/b", [])]
    with shelf.database.read() as connection:
        assert connection.scalar(select(func.count(ChunkKeyRow.chunk_id.distinct()))) == 1


def test_what_is_no_text_is_not_found(shelf) -> None:
    shelf.add("/dump", " ".join(f"{number * 2654435761 % 2**32:08x}" for number in range(80)))
    assert shelf.search("9e3779b1", 5) == []
    shelf.add("/text", "The word 9e3779b1 is a constant of hashing.")
    assert shelf.search("9e3779b1", 5) == [("/text", [])]


def test_verify_notices_and_mends_what_copies_are_found_by(shelf) -> None:
    shelf.add("/a", PUMP)
    assert list(verify_documents(shelf.database, shelf.collection, lambda _: None)) == []
    with shelf.database.write() as connection:
        connection.execute(update(ChunkKeyRow).values(length=ChunkKeyRow.length + 1))
        connection.execute(update(ChunkRow).values(flaw="garbled"))
    (finding,) = verify_documents(shelf.database, shelf.collection, lambda _: None)
    assert finding.repairable
    repair_documents(shelf.database, shelf.collection)
    assert list(verify_documents(shelf.database, shelf.collection, lambda _: None)) == []
    assert shelf.search("feed pump", 3) == [("/a", [])]
