"""Full-text search by SQLite's FTS5 over the terms of chunks. The triggers of the migration keep its index.

BM25 looks at every chunk that holds any term of the query, so the terms that many chunks hold are what takes long, and
they say least. Where they are too many, the rare terms find the chunks, and the frequent ones only weigh what these
have found (docs/decisions/0021-rare-terms-find.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from sqlalchemy import Float, Integer, bindparam, column, func, literal_column, select, table

from rag.ranking import Ranking
from rag.stores.filtering import condition, matching_chunks
from rag.stores.full_text.analysis import languages_of, scope_term
from rag.stores.full_text.postings import Lengths, Lists
from rag.stores.full_text.query_terms import QueryTerm, query_terms
from rag.stores.full_text.term_statistics import COUNTED, FULL_TEXT_TABLE, TermStatistics, listed_numbers
from rag.stores.tables import ChunkRow, ChunkTermsRow, DocumentRow, VersionRow
from rag.stores.visibility import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Select

    from rag.stores.full_text.postings import Postings
    from rag.stores.full_text.term_statistics import TermRows
    from rag.stores.sqlite.database import Database
    from rag.types import Collection, Filter

_Query = TypeVar("_Query", bound="Select[*tuple[Any, ...]]")

__all__ = ["FULL_TEXT_TABLE", "FtsIndex"]

# Weights of the columns in BM25: a chunk's own words, those of the title and headings it stands under, its collection.
_TEXT_WEIGHT = 1.0
_CONTEXT_WEIGHT = 1.0
_SCOPE_WEIGHT = 0.0

# Chunks that are scored for the terms which find: so many in any case, and further ones up to the other number as long
# as the terms that do not find weigh more than a share of those that do (docs/lab-log.md, 2026-11-25 and 2026-12-02).
_SCORED = 100_000
_SCORED_AT_MOST = 200_000
_REST = 0.5

# How many more of the best than are wanted are asked whether they count; where too few do, so many times as many.
_SPARE = 8  # an eighth
_FURTHER = 4
# To ask whether a chunk counts takes as long as to list so many that do.
_ASKING = 5

# Candidates for each of the k: frequent terms change the order of what rare ones found, and some chunks do not count.
_CANDIDATES = 2

_FTS = table(FULL_TEXT_TABLE, column("rowid", Integer))
_SCORE = literal_column(f"-bm25({FULL_TEXT_TABLE}, {_TEXT_WEIGHT}, {_CONTEXT_WEIGHT}, {_SCOPE_WEIGHT})", Float)

# In one value: SQLite takes a bounded number of them.
_IDS = select(func.json_each(bindparam("ids")).table_valued("value").c.value)
_ASKED = select(func.group_concat(ChunkRow.id)).where(ChunkRow.id.in_(_IDS))
_TERMS = select(ChunkTermsRow.chunk_id, ChunkTermsRow.text, ChunkTermsRow.context).where(
    ChunkTermsRow.chunk_id.in_(_IDS)
)


def _counting(query: _Query, where: Filter | None, as_of: datetime | None) -> _Query:
    """With only the chunks that searches of the collection are about, and that the filter lets through."""
    query = query.join(VersionRow, VersionRow.id == ChunkRow.version_id)
    # Without its index: what was found leads to the versions, not the other way round.
    query = query.where(VersionRow.collection_id + 0 == bindparam("collection_id"), visible(as_of))
    if where is None:
        return query
    return query.join(DocumentRow, DocumentRow.id == VersionRow.document_id).where(condition(where))


# Made once: that takes as long as to ask of a hundred chunks.
_ACTIVE = _counting(_ASKED, None, None)


class FtsIndex:
    """Implements ``rag.protocols.LexicalIndex``. Scores are BM25 (k1 = 1.2, b = 0.75), higher is better."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statistics = TermStatistics()
        self._lengths = Lengths()
        self._lists = Lists()

    def search(
        self,
        collection: Collection,
        query: str,
        k: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> Ranking:
        """At most ``k`` chunks, active now or at a moment, that hold a part of the query and pass the filter."""
        with self._database.read(filtered=where is not None) as connection:
            terms = query_terms(query, languages_of(connection, collection.id))
            if not terms or k < 1:
                return Ranking.of(())
            counted = self._statistics.read(connection)
            found = _Search(connection, counted, self._lengths, self._lists, collection, k, where, as_of).best(terms)
        return Ranking.best(found, k)


class _Weighed(NamedTuple):
    rows: float  # chunks that hold it
    term: QueryTerm


class _Search:
    """One search, in one transaction."""

    def __init__(
        self,
        connection: Connection,
        counted: TermRows,
        lengths: Lengths,
        lists: Lists,
        collection: Collection,
        k: int,
        where: Filter | None,
        as_of: datetime | None,
    ) -> None:
        self._connection = connection
        self._counted = counted
        self._lengths = lengths
        self._lists = lists
        self._collection = collection
        self._k = k
        self._depth = _CANDIDATES * k
        self._where = where
        self._as_of = as_of
        self._scope = f'"{scope_term(collection.id)}"'
        all_, self._own = counted.statistics, counted.of(self._scope)
        self._small = self._own < min(COUNTED, all_.chunks / 2)
        self._statistics = all_
        if all_.shared or self._small:
            self._first = counted.first(self._scope)  # all of them if they are few
        if all_.shared:
            average = float(lengths.of(connection, self._first).mean()) if len(self._first) else 1.0
            self._statistics = replace(all_, chunks=self._own, average_length=max(1.0, average))

    def best(self, terms: Sequence[QueryTerm]) -> dict[int, float]:
        """Chunks and their scores: at least ``k``, if there are so many, and the best among them."""
        weighed = sorted((_Weighed(self._rows(term), term) for term in terms), key=attrgetter("rows"))
        finding = self._finding(weighed)
        frequent = weighed[len(finding) :]
        found = self._found([each.term for each in finding], frequent) if finding else {}
        for expression in _fillers([each.term for each in frequent], together=not finding):
            if len(found) >= self._k:
                break
            found = self._newest(expression, frequent) | found
        return found

    def _rows(self, term: QueryTerm) -> float:
        """How many chunks hold it, of the collection: what others hold is not to change what is found in this one."""
        shared = self._statistics.shared
        return self._counted.of(f"{self._scope} AND {term.expression}" if shared else term.expression)

    def _finding(self, weighed: Sequence[_Weighed]) -> Sequence[_Weighed]:
        """The rarest terms: all chunks that hold one are scored.

        A chunk that holds none of them is hardly among the best where the rest weigh little beside them: the bound of
        MaxScore (Turtle and Flood, IPM 1995), taken loosely.
        """
        weights = [self._statistics.weight(each.rows) for each in weighed]
        rest, scored, finding = sum(weights), 0.0, 0.0
        for number, (each, weight) in enumerate(zip(weighed, weights, strict=True)):
            scored += each.rows
            enough = scored > (_SCORED if rest < _REST * finding else _SCORED_AT_MOST)
            if each.rows > _SCORED_AT_MOST or (number and enough and not self._small):
                return weighed[:number]
            finding += weight
            rest -= weight
        return weighed

    def _found(self, terms: Sequence[QueryTerm], frequent: Sequence[_Weighed]) -> dict[int, float]:
        """The best of the chunks that hold one of the terms; the frequent ones weigh, and do not find."""
        telling = [each for each in frequent if self._statistics.tells(each.rows)]
        wanted = self._depth if telling else self._k
        return self._scored(self._best_that_count(*self._sums(terms), wanted), telling)

    def _best_that_count(self, ids: NDArray[np.int64], scores: NDArray[np.float64], wanted: int) -> dict[int, float]:
        """The ``wanted`` chunks with the highest scores of those that searches of the collection are about."""
        found: dict[int, float] = {}
        asked, further = 0, wanted + wanted // _SPARE
        while len(found) < wanted and asked < len(ids):
            some = Ranking.ordered(ids, scores, further)[asked:]
            parameters = {"ids": json.dumps(some.ids.tolist()), "collection_id": self._collection.id}
            (counting,) = self._connection.execute(self._that_count(), parameters).one()
            among = np.isin(some.ids, listed_numbers(counting), assume_unique=True)
            found |= dict(zip(some.ids[among].tolist(), some.scores[among].tolist(), strict=True))
            asked, further = further, _FURTHER * further
            share = (len(found) + 1) / asked
            if len(found) < wanted and share * self._own < _ASKING * min(len(ids), wanted / share):
                every = matching_chunks(self._connection, self._collection.id, self._where, visible(self._as_of))
                among = np.isin(ids, every, assume_unique=True)
                best = Ranking.ordered(ids[among], scores[among], wanted)
                return dict(zip(best.ids.tolist(), best.scores.tolist(), strict=True))
        return dict(islice(found.items(), wanted))

    def _sums(self, terms: Sequence[QueryTerm]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All chunks that hold one of the terms, of whatever collection, and what the terms in them weigh in this one:
        two arrays of shape ``(n,)``.
        """
        words = [term.words[0] for term in terms if term.is_word and self._is_listed(term)]
        held = self._lists.of(self._connection, self._counted.state, words)
        parts = [self._weighed(term, held.get(term.words[0]) if term.is_word else None) for term in terms]
        ids, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(ids, kind="stable")  # which merges: each term's ids are in order
        first = np.flatnonzero(np.diff(ids[order], prepend=-1))
        if not len(first):
            return ids, scores
        return ids[order][first], np.add.reduceat(scores[order], first)

    def _is_listed(self, term: QueryTerm) -> bool:
        """Whether to read a word's whole list, and not only what FTS5 finds of it within the collection."""
        return not self._small or self._counted.of(term.expression) < COUNTED

    def _weighed(self, term: QueryTerm, held: Postings | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The chunks that hold a term, and the term's part in their scores, as FTS5 would compute it if there were no
        other collection.
        """
        if held is None:
            ids, occurrences, length = self._by_fts5(term)
            rows = self._rows(term)
        else:
            ids, occurrences = held.ids.astype(np.int64), held.occurrences.astype(np.float64)
            rows = self._rows(term) if self._statistics.shared else len(ids)
            if self._small:
                mine = np.isin(ids, self._first, assume_unique=True)
                ids, occurrences = ids[mine], occurrences[mine]
            length = self._length(ids)
        return ids, self._statistics.weight(rows) * self._statistics.saturated(occurrences, length)

    def _by_fts5(self, term: QueryTerm) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Of a phrase, of a beginning of words, or of a word in a small collection: the chunks, how often each holds it
        and how long it is. FTS5 tells scores alone, which follow from these and the whole database's statistics.
        """
        # bm25 is for a SELECT whose MATCH it is
        scored = self._matching(term.expression).add_columns(_SCORE.label("score")).cte().prefix_with("MATERIALIZED")
        listed = select(func.group_concat(scored.c.chunk_id), func.group_concat(scored.c.score))
        ids, scores = self._connection.execute(listed).one()
        found, length = listed_numbers(ids), np.empty(0)
        if len(found):
            length = self._length(found)
            everywhere = self._counted.statistics
            weight = everywhere.weight(self._counted.exactly(term.expression))
            occurrences = everywhere.occurrences(np.fromstring(scores, np.float64, sep=",") / weight, length)
            return found, occurrences, length
        return found, length, length

    def _length(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        length = self._lengths.of(self._connection, ids)
        length[length == 0] = self._statistics.average_length  # of one that is damaged it is not known
        return length

    def _newest(self, expression: str, terms: Sequence[_Weighed]) -> dict[int, float]:
        """Chunks that match: the newest, for terms that so many chunks hold do not tell which are the best."""
        matching = self._matching(expression).join(ChunkRow, ChunkRow.id == _FTS.c.rowid)
        counting = _counting(matching, self._where, self._as_of).order_by(_FTS.c.rowid.desc()).limit(self._depth)
        newest = self._connection.scalars(counting, {"collection_id": self._collection.id})
        return self._scored(dict.fromkeys(newest, 0.0), terms)

    def _matching(self, expression: str) -> Select[*tuple[Any, ...]]:
        if self._small:  # the collection's own chunks are fewer than those that the terms match elsewhere
            expression = f"{self._scope} AND ({expression})"
        matches = literal_column(FULL_TEXT_TABLE).op("MATCH")(expression)
        return select(_FTS.c.rowid.label("chunk_id")).where(matches)

    def _that_count(self) -> Select[*tuple[Any, ...]]:
        if self._where is None and self._as_of is None:
            return _ACTIVE
        return _counting(_ASKED, self._where, self._as_of)

    def _scored(self, found: dict[int, float], terms: Sequence[_Weighed]) -> dict[int, float]:
        """Chunks with their scores, to which those of the terms are added."""
        if not terms or not found:
            return found
        rows = self._connection.execute(_TERMS, {"ids": json.dumps(list(found))}).all()
        weights = [(each.term.pattern, self._statistics.weight(each.rows)) for each in terms]
        saturated = self._statistics.saturated
        scores: dict[int, float] = {}
        for chunk_id, text, context in rows:  # a thousand times: what is here takes as long as the query
            length = 1 + text.count(" ") + context.count(" ") + bool(text) + bool(context)  # the first is its scope
            spaced = f" {text} \n {context} ".replace(" ", "  ")  # no phrase goes from one to the other
            counts = [(spaced.count(pattern), weight) for pattern, weight in weights]
            added = sum(weight * saturated(count, length) for count, weight in counts if count)
            scores[chunk_id] = found[chunk_id] + added
        return scores


def _fillers(terms: Sequence[QueryTerm], *, together: bool) -> Iterator[str]:
    """What finds further chunks: if ``together``, those that hold all of the terms come first."""
    if together and len(terms) > 1:
        yield _joined(terms, "AND")
    if terms:
        yield _joined(terms, "OR")


def _joined(terms: Iterable[QueryTerm], operator: str) -> str:
    return f" {operator} ".join(term.expression for term in terms)
