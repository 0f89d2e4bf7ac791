"""What is asked of a few documents takes no longer where there are many others: counted in steps of SQLite."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, select

from rag.quality_types import Quality
from rag.stores.documents import SqlDocumentStore
from rag.stores.filtering import condition, matching_chunks
from rag.stores.source_moves import move_sources
from rag.stores.tables import VersionRow
from rag.stores.versions.history import History
from rag.stores.visibility import visible
from rag.types import Comparison
from tests.contracts.store_builders import fingerprint, staged

FEW, MANY = 60, 300
BODY = "The inlet valve of the pump opens at forty degrees. It is checked each morning by the shift that leaves. "


@pytest.fixture
def store(database):
    return SqlDocumentStore(database, retention=timedelta(days=1))


@pytest.fixture
def collection(store):
    return store.ensure_collection("c", fingerprint())


@pytest.fixture
def steps(database):
    """How many steps SQLite takes for what is done, in tens."""

    def counted(do):
        count = 0

        def one_more():
            nonlocal count
            count += 1
            return 0

        def watched(connection, *_):
            connection.connection.driver_connection.set_progress_handler(one_more, 10)

        event.listen(database._engine, "before_cursor_execute", watched)
        do()
        event.remove(database._engine, "before_cursor_execute", watched)
        return count

    return counted


def add(store, collection, numbers, *, text=None):
    """In groups, as an ingestion does."""
    documents = []
    for start in numbers[::20]:
        group = numbers[start : start + 20]
        versions = [staged(store, collection, f"/d/{number}", [text or f"Number {number}. "]) for number in group]
        documents += store.activate(versions)
    return documents


def page(store, _history, collection, documents):
    return lambda: store.documents(collection, limit=5, after=documents[40].id)


def changes(_store, history, collection, documents):
    places = [place for place, _ in history.changes(collection, limit=50)]
    return lambda: history.changes(collection, limit=5, after=places[40])


def move(store, _history, collection, documents):
    return lambda: move_sources(store._database, collection, {documents[0].id: ("/elsewhere", 2)})


def delete(store, _history, collection, documents):
    return lambda: store.delete(collection, [document.id for document in documents[:5]])


def qualities(store, _history, collection, documents):
    return lambda: store.qualities(collection, [document.id for document in documents[:5]])


def qualities_as_they_came(store, _history, collection, documents):
    return lambda: store.qualities(collection, [document.id for document in documents[:5]], as_they_came=True)


def members(store, _history, collection, documents):
    return lambda: store.members(collection, documents[0].uri)


def filtered(store, _history, collection, documents):
    def do():
        with store._database.read() as connection:
            where = Comparison(field="document_id", operator="in", value=(documents[0].id, documents[1].id))
            assert len(matching_chunks(connection, collection.id, where, visible())) == 2

    return do


ASKED = [page, changes, move, delete, qualities, qualities_as_they_came, members, filtered]


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
def test_what_is_asked_of_few_costs_the_same_beside_many_others(store, database, steps, ask):
    took = []
    for name, count in (("few", FEW), ("many", MANY)):
        collection = store.ensure_collection(name, fingerprint())
        documents = add(store, collection, range(count))
        collection = store.collection(name)
        do = ask(store, History(database), collection, documents)
        took.append(steps(do))
    assert took[1] < 1.5 * took[0] + 10, took


def test_ends_of_one_change_are_had_page_by_page_at_the_same_cost(store, database, collection, steps):
    documents = add(store, collection, range(MANY))
    store.delete(collection, [document.id for document in documents])
    history, after, took, told = History(database), None, [], []
    while page := history.changes(collection, after=after, limit=50):
        after = page[-1][0]
        told += [(change.kind.value, change.document_id) for _, change in page]
        took.append(steps(lambda after=after: history.changes(collection, after=after, limit=5)))
    ids = [document.id for document in documents]
    assert told == [(kind, each) for kind in ("added", "deleted") for each in ids]
    ends = took[len(took) // 2 : -1]
    assert max(ends) < 1.5 * min(ends), took


def test_what_many_copies_say_is_looked_up_once(store, collection, steps):
    documents = add(store, collection, range(MANY), text=BODY)
    ids = [document.id for document in documents]
    took = [steps(lambda count=count: store.qualities(collection, ids[:count])) for count in (10, 40)]
    assert took[1] < 2 * took[0], took
    assert store.qualities(collection, ids[:2]) == [Quality(duplicates=1)] * 2


@pytest.mark.parametrize("as_they_came", [True, False])
@pytest.mark.parametrize("copies", [0, 1], ids=["alone", "beside another"])
def test_what_a_document_says_again_and_again_is_looked_up_once(store, steps, as_they_came, copies):
    took = []
    for times in (100, 400):
        collection = store.ensure_collection(str(times), fingerprint())
        add(store, collection, range(copies), text=BODY)
        [document] = store.activate([staged(store, collection, "/log", [BODY] * times)])
        asked = {"as_they_came": as_they_came}
        took.append(steps(lambda c=collection, d=document, a=asked: store.qualities(c, [d.id], **a)))
        assert store.qualities(collection, [document.id], **asked) == [Quality(duplicates=times * copies)]
    assert took[1] < 5 * took[0], took


@pytest.mark.parametrize("value", ["north", 7])
def test_values_of_metadata_are_found_by_their_index(database, value):
    plans = []

    def explain(connection, _cursor, statement, parameters, *_):
        driver = connection.connection.driver_connection
        plans.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    where = Comparison(field="meta.shelf", operator="==", value=value)
    event.listen(database._engine, "before_cursor_execute", explain)
    with database.read() as connection:
        connection.execute(select(VersionRow.id).where(condition(where))).all()
    column = "text" if isinstance(value, str) else "number"
    assert any(f"(key=? AND {column}=?)" in step for step in plans), plans


def test_whether_an_active_passage_is_like_one_takes_no_longer_beside_retired_ones(store, collection, steps):
    text = "The river runs down the valley and turns the old mill wheel every day. "
    documents = add(store, collection, list(range(400)), text=text)
    store.delete(collection, [document.id for document in documents[:-2]])
    last = len(documents)  # each has one passage
    assert store.likenesses(collection, [last])[last].shared
    assert steps(lambda: store.likenesses(collection, [last])) < 100
