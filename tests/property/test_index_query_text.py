"""No question, whatever its characters, is a syntax error to full-text search."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag.stores.documents import SqlDocumentStore
from rag.stores.full_text.lexical import FtsIndex
from rag.stores.sqlite.database import Database
from tests.contracts.store_builders import fingerprint, ingest, settings_in

ANY_TEXT = st.text(st.characters(), max_size=80)  # surrogates and control characters included
WORD = st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0x24F), min_size=2, max_size=12)


@pytest.fixture(scope="module")
def handbook():
    with tempfile.TemporaryDirectory() as home:
        database = Database.open(settings_in(Path(home)))
        store = SqlDocumentStore(database)
        yield database, store, store.ensure_collection("c", fingerprint())
        database.close()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(query=ANY_TEXT)
@example(query='"')
@example(query="a\x00b")
@example(query="\ud800 lone")
@example(query="text:x NEAR/3 {a b} : ^c -d (e OR")
@example(query="١٢٣ ⅷ ² ｆｕｌｌ ʼ ‿ _ __init__")
@example(query=" ".join(f"word{number}" for number in range(5000)))
def test_any_text_can_be_searched(handbook, query):
    database, _, collection = handbook
    assert len(FtsIndex(database).search(collection, query, 3)) <= 3


@settings(max_examples=40, deadline=None, derandomize=True)
@given(word=WORD, around=ANY_TEXT)
@example(word="Größe", around="")
@example(word="Aŉ", around="")
def test_a_word_of_a_chunk_finds_it(handbook, word, around):
    database, store, collection = handbook
    ingest(store, collection, "/a", [f"before {word} after"])
    hits = FtsIndex(database).search(collection, f"{around} {word} {around}", 3)
    assert len(hits) == 1
