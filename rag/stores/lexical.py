"""Full-text search by SQLite's FTS5 over the terms of chunks. The triggers of the migration keep its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import regex
from sqlalchemy import Float, Integer, column, literal_column, select, table

from rag.stores.analysis import languages_of
from rag.stores.filtering import condition
from rag.stores.reading import VISIBLE
from rag.stores.stopwords import STOP_WORDS
from rag.stores.tables import ChunkRow, DocumentRow, VersionRow
from rag.stores.terms import is_character, phrase_terms, word_terms
from rag.types import Hit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rag.stores.database import Database
    from rag.types import Collection, Filter

# As the newest migration names it.
FULL_TEXT_TABLE: Final = "chunk_terms_fts"

# Weights of the columns in BM25: a chunk's own words, and those of the title and headings it stands under.
_TEXT_WEIGHT = 1.0
_CONTEXT_WEIGHT = 1.0

_PART = regex.compile(r'"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+)')
_PREFIX = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d]{2,}\*")
_IDENTIFIER = regex.compile(r"[\p{N}_@/:.]")
_PUNCTUATION = ".,;:!?'()[]{}"
# The letters that a stem may be shorter than the beginning of a word that somebody asks for.
_STEM_ENDINGS = 3
_SHORTEST_STEM = 4

_FTS = table(FULL_TEXT_TABLE, column("rowid", Integer))
_SCORE = literal_column(f"-bm25({FULL_TEXT_TABLE}, {_TEXT_WEIGHT}, {_CONTEXT_WEIGHT})", Float)


def match_expression(query: str, languages: Sequence[str | None] = (None,)) -> str | None:
    """An FTS5 expression that finds any part of the query in texts of these languages; ``None`` if it has no words.

    Parts are words, ``"phrases"`` and the beginnings of words (``begin*``). Those of an identifier, as in ``E-4021``,
    count each and once more together. Stop words are left out unless there is nothing else. Every term is quoted, so
    nothing in it is syntax.
    """
    telling: list[str] = []
    stop_words: list[str] = []
    # Once for each different word: several forms of one word show what the query is about, and count each.
    for part in {match.group().casefold(): match for match in _PART.finditer(query)}.values():
        if part["phrase"] is not None:
            found = _phrases(part["phrase"], languages)
        elif _PREFIX.fullmatch(part["word"]):
            found = _beginnings(part["word"].rstrip("*"), languages)
        else:
            found = _words(part["word"], languages, stop_words)
        telling += found
    return " OR ".join(telling or stop_words) or None


def _phrases(text: str, languages: Sequence[str | None]) -> Iterator[str]:
    for reading in phrase_terms(text, languages):
        yield f"{_quoted(reading)} *" if is_character(reading[-1]) else _quoted(reading)


def _words(part: str, languages: Sequence[str | None], stop_words: list[str]) -> Iterator[str]:
    """Each term of a part; stop words go into the list instead."""
    stops = part.casefold().strip(_PUNCTUATION) in STOP_WORDS
    for reading in word_terms(part, languages):
        for term in reading:
            expression = f"{_quoted([term])} *" if is_character(term) else _quoted([term])
            if stops:
                stop_words.append(expression)
            else:
                yield expression
        if len(reading) > 1 and _IDENTIFIER.search(part.strip(_PUNCTUATION)):
            yield _quoted(reading)


def _beginnings(beginning: str, languages: Sequence[str | None]) -> Iterator[str]:
    """Terms that begin so, and stems of words that do: these may end before it."""
    folded = beginning.casefold()
    first = [_quoted(reading) for reading in word_terms(beginning, languages)]
    for expression in dict.fromkeys([_quoted([folded]), *first]):
        yield f"{expression} *"
    for end in range(max(_SHORTEST_STEM, len(folded) - _STEM_ENDINGS), len(folded)):
        yield _quoted([folded[:end]])


def _quoted(terms: Iterable[str]) -> str:
    return f'"{" ".join(terms)}"'


class FtsIndex:
    """Implements ``rag.protocols.LexicalIndex``. Scores are BM25 (k1 = 1.2, b = 0.75), higher is better."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, collection: Collection, query: str, k: int, *, where: Filter | None = None) -> list[Hit]:
        """At most ``k`` active chunks that hold a part of the query and pass the filter, best first."""
        score = _SCORE.label("score")
        with self._database.read() as connection:
            expression = match_expression(query, languages_of(connection, collection.id))
            if expression is None:
                return []
            # Ties are broken by id so that the same query gives the same ranking in every process.
            found = (
                select(_FTS.c.rowid.label("chunk_id"), score)
                .join(ChunkRow, ChunkRow.id == _FTS.c.rowid)
                .join(VersionRow, VersionRow.id == ChunkRow.version_id)
                .where(literal_column(FULL_TEXT_TABLE).op("MATCH")(expression))
                .where(VersionRow.collection_id == collection.id, VISIBLE)
                .order_by(score.desc(), _FTS.c.rowid)
                .limit(k)
            )
            if where is not None:
                found = found.join(DocumentRow, DocumentRow.id == VersionRow.document_id).where(condition(where))
            return [Hit(chunk_id=row.chunk_id, score=row.score) for row in connection.execute(found)]
