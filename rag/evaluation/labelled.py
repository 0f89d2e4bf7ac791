"""Labelled queries for a collection of the user's own: what each should find, and what both legs found for it.

A file has one JSON object a line, ``{"query": ..., "uris": [...], "chunk_ids": [...], "contains": [...]}``; at least
one of the three lists says what is relevant: documents, chunks, or words that stand in a relevant passage. A folder has
``queries.jsonl`` and ``qrels.tsv`` as an evaluation folder has, with documents' uris for corpus ids.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from rag.errors import InvalidRequest, SourceNotFound
from rag.evaluation.dataset import load_judged_queries
from rag.evaluation.fusion import legs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.evaluation.fusion import Legs
    from rag.factory import Library
    from rag.types import Chunk, Collection, Document

_SHAPE: Final = (
    'Each line is like {"query": "how long is the warranty", "uris": ["/docs/terms.pdf"]}; instead of or beside uris, '
    "chunk_ids and contains (words that stand in a relevant passage) may be given. `indexer list` shows the uris."
)
_FOLDER: Final = (
    "A folder for tuning holds queries.jsonl {_id, text} and qrels.tsv (query-id, corpus-id, score), with documents' "
    "uris for corpus ids: `indexer list` shows them."
)

_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]  # what the database can hold


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    query: _Text
    uris: list[str] = []
    chunk_ids: list[_Id] = []
    contains: list[_Text] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuery:
    """A query and what should be found for it: documents by uri with their grades, chunks, and words of passages.

    ``place`` is where it was read first.
    """

    place: str
    text: str
    uris: dict[str, int]
    chunk_ids: tuple[int, ...]
    contains: tuple[str, ...]


def read_labelled(path: Path) -> list[LabelledQuery]:
    """Labelled queries of a file or folder, each once: what several lines say of one query holds for it together.

    Logs repeat queries. One that counted twice would be among those that a weight is chosen on and those that judge it.

    Raises:
        SourceNotFound: there is no such file.
        InvalidRequest: naming the file and line that cannot be used, and why.
    """
    different: dict[str, LabelledQuery] = {}
    for query in _of_folder(path) if path.is_dir() else _of_file(path):
        known = different.setdefault(_plain(query.text), query)
        if known is not query:
            different[_plain(query.text)] = _together(known, query)
    return list(different.values())


def _together(one: LabelledQuery, other: LabelledQuery) -> LabelledQuery:
    return replace(
        one,
        uris={uri: max(one.uris.get(uri, 0), other.uris.get(uri, 0)) for uri in (*one.uris, *other.uris)},
        chunk_ids=tuple(dict.fromkeys((*one.chunk_ids, *other.chunk_ids))),
        contains=tuple(dict.fromkeys((*one.contains, *other.contains))),
    )


def _of_folder(directory: Path) -> Iterator[LabelledQuery]:
    try:
        queries, qrels = load_judged_queries(directory)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, hint=_FOLDER) from error
    for query in queries:
        place = f"{directory / 'qrels.tsv'}, query {query.id!r}"
        yield LabelledQuery(place=place, text=query.text, uris=qrels[query.id], chunk_ids=(), contains=())


def _of_file(path: Path) -> Iterator[LabelledQuery]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise SourceNotFound(f"{path} does not exist.", hint=_SHAPE) from error
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", hint=_SHAPE) from error
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        place = f"{path}:{number}"
        try:
            line = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"{place} cannot be used: {error}.", hint=_SHAPE) from error
        if not (line.uris or line.chunk_ids or line.contains):
            raise InvalidRequest(f"{place} cannot be used: it does not say what is relevant.", hint=_SHAPE)
        yield LabelledQuery(
            place=place,
            text=line.query,
            uris=dict.fromkeys(line.uris, 1),
            chunk_ids=tuple(dict.fromkeys(line.chunk_ids)),
            contains=tuple(dict.fromkeys(_plain(words) for words in line.contains)),
        )


def require_stored(library: Library, collection: Collection, queries: list[LabelledQuery]) -> None:
    """Raises InvalidRequest for a document or chunk that the collection does not have."""
    known: set[str] = set()
    for query in queries:
        for uri in query.uris.keys() - known:
            if library.store.document_by_uri(collection, uri) is None:
                raise _unknown(query.place, f"document {uri!r}", collection)
            known.add(uri)
        stored = {chunk.id for chunk, _ in library.store.hydrate(collection, query.chunk_ids)}
        for chunk_id in query.chunk_ids:
            if chunk_id not in stored:
                raise _unknown(query.place, f"chunk {chunk_id}", collection)


def search_labelled(library: Library, collection: Collection, query: LabelledQuery) -> Legs:
    """What both legs find, and which of it the labels mean."""
    dense, lexical = library.retriever.both_legs(collection, query.text)
    found = list({hit.chunk_id for hit in (*dense, *lexical)})
    judgments = {
        chunk.id: place
        for chunk, document in library.store.hydrate(collection, found)
        if (place := _satisfied(query, chunk, document)) is not None
    }
    grades = [*query.uris.values(), *(1 for _ in (*query.chunk_ids, *query.contains))]
    return legs(dense, lexical, judgments, grades)


def _satisfied(query: LabelledQuery, chunk: Chunk, document: Document) -> int | None:
    """The place, among all labels of a query, of the first that a chunk satisfies."""
    text = _plain(chunk.text) if query.contains else ""
    labels = [
        *(uri == document.uri for uri in query.uris),
        *(chunk_id == chunk.id for chunk_id in query.chunk_ids),
        *(words in text for words in query.contains),
    ]
    return labels.index(True) if True in labels else None


def _plain(text: str) -> str:
    """Case and white space do not count."""
    return " ".join(text.split()).casefold()


def _unknown(place: str, what: str, collection: Collection) -> InvalidRequest:
    return InvalidRequest(
        f"{place} cannot be used: there is no {what} in the collection {collection.name!r}.", hint=_SHAPE
    )
