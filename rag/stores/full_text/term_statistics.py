"""How many chunks there are, how long they are, and how many of them hold a term: what full text weighs terms by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection, TextClause

_Number = TypeVar("_Number", float, NDArray[np.float64])

# As the newest migration names it.
FULL_TEXT_TABLE: Final = "chunk_terms_fts"

# Rows are counted up to this number, which takes 1 ms; beyond it their share of the chunks so far tells enough.
COUNTED: Final = 20_000
_TERMS_HELD = 10_000

_K1, _B = 1.2, 0.75  # as in FTS5
_LEAST_WEIGHT = 1e-6  # FTS5's, of a term that most chunks hold

# FTS5's "averages" record: varints of the number of rows and of the tokens in each column.
AVERAGES: Final = text(f"SELECT block FROM {FULL_TEXT_TABLE}_data WHERE id = 1")  # noqa: S608  # a constant
NEWEST: Final = text("SELECT max(chunk_id) FROM chunk_terms")
# Its "structure" record, too: it counts the pages that were written, so an index that was made anew has another.
_STATE = text(
    f"SELECT (SELECT block FROM {FULL_TEXT_TABLE}_data WHERE id = 1),"  # noqa: S608  # a constant
    f" (SELECT block FROM {FULL_TEXT_TABLE}_data WHERE id = 10), (SELECT max(chunk_id) FROM chunk_terms)"
)
_SHARED = text(
    "SELECT (SELECT min(collection_id) FROM document_versions)"
    " IS NOT (SELECT max(collection_id) FROM document_versions)"
)
_EXACTLY = text(f"SELECT count(*) FROM {FULL_TEXT_TABLE} WHERE {FULL_TEXT_TABLE} MATCH :term")  # noqa: S608  # a constant


def counting(limit: int) -> TextClause:
    """Of the rows that match, the number and the highest id, of the first so many."""
    return text(
        f"SELECT count(*), max(rowid) FROM (SELECT rowid FROM {FULL_TEXT_TABLE}"  # noqa: S608  # a constant
        f" WHERE {FULL_TEXT_TABLE} MATCH :term ORDER BY rowid LIMIT {limit})"
    )


_COUNT = counting(COUNTED)
_FIRST = text(
    f"SELECT group_concat(rowid) FROM (SELECT rowid FROM {FULL_TEXT_TABLE}"  # noqa: S608  # constants
    f" WHERE {FULL_TEXT_TABLE} MATCH :term ORDER BY rowid LIMIT {COUNTED})"
)


class State(NamedTuple):
    """What tells one state of the index from another: records of FTS5's, and the highest id of a chunk."""

    averages: bytes | None
    structure: bytes | None
    newest: int | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of all chunks of the database or of a collection at one moment, those that no search returns included.

    ``average_length`` and the ``newest`` id are of the database; it is ``shared`` if several collections are in it.
    """

    chunks: float
    average_length: float
    newest: int
    shared: bool = False

    def weight(self, rows: float) -> float:
        """BM25's weight of a term that so many chunks hold."""
        ratio = (self.chunks - rows + 0.5) / (rows + 0.5)
        return max(_LEAST_WEIGHT, math.log(ratio)) if ratio > 0 else _LEAST_WEIGHT

    def tells(self, rows: float) -> bool:
        """Whether a term that so many chunks hold has any weight beside others."""
        return self.weight(rows) > _LEAST_WEIGHT

    def saturated(self, occurrences: _Number, length: _Number) -> _Number:
        """BM25's part of a term for a chunk of so many terms, or for many, to be multiplied by the term's weight."""
        return occurrences * (_K1 + 1) / (occurrences + _K1 * (1 - _B + _B * length / self.average_length))

    def occurrences(self, saturated: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
        """How often chunks hold a term of which this is BM25's part for them."""
        normed = self.saturated(np.ones_like(length), length)  # (k1 + 1) / (1 + n), n being the length's part
        return np.maximum(1.0, np.rint(saturated * ((_K1 + 1) / normed - 1) / (_K1 + 1 - saturated)))


class TermStatistics:
    """What was counted of terms, until the index changes. Safe to share between threads.

    Two moments with as many chunks and the same newest one have the same chunks, for ids are never used twice: what
    came in between would be newer, and what left is not there to be counted. The number alone does not tell, nor the
    tokens: a text that takes the place of another may be as long.
    """

    def __init__(self) -> None:
        self._held = _Held(State(None, None, None), Statistics(0, 1.0, 0), {}, {}, {})

    def read(self, connection: Connection) -> TermRows:
        """The statistics as the connection's transaction sees the index."""
        state, held = State(*connection.execute(_STATE).one()), self._held
        if state != held.state or len(held.rows) > _TERMS_HELD:
            shared = bool(connection.execute(_SHARED).scalar())
            held = self._held = _Held(state, _statistics(state, shared=shared), {}, {}, {})
        return TermRows(connection, held)


class TermRows:
    """How many chunks hold a term, asked within one transaction."""

    def __init__(self, connection: Connection, held: _Held) -> None:
        self.state = held.state
        self.statistics = held.statistics
        self._connection = connection
        self._held = held.rows
        self._exact = held.exact
        self._firsts = held.firsts

    def of(self, expression: str) -> float:
        """How many chunks an FTS5 expression matches; an estimate from ``COUNTED`` on."""
        rows = self._held.get(expression)
        if rows is None:
            count, last = self._connection.execute(_COUNT, {"term": expression}).one()
            rows = float(count) if count < COUNTED else count * self.statistics.newest / last
            self._held[expression] = rows
        return rows

    def exactly(self, expression: str) -> float:
        """As ``of``, counted to the end. FTS5 does the same for every term that it weighs."""
        rows = self._exact.get(expression)
        if rows is None:
            rows = self.of(expression)
            if rows >= COUNTED:
                rows = float(self._connection.execute(_EXACTLY, {"term": expression}).scalar_one())
            self._exact[expression] = rows
        return rows

    def first(self, expression: str) -> NDArray[np.int64]:
        """The ids, ascending, of the first ``COUNTED`` chunks that an expression matches."""
        ids = self._firsts.get(expression)
        if ids is None:
            ids = listed_numbers(self._connection.execute(_FIRST, {"term": expression}).scalar())
            self._firsts[expression] = ids
        return ids


@dataclass(frozen=True, slots=True)
class _Held:
    state: State
    statistics: Statistics
    rows: dict[str, float]
    exact: dict[str, float]
    firsts: dict[str, NDArray[np.int64]]


def _statistics(state: State, *, shared: bool) -> Statistics:
    chunks, *tokens = numbers(state.averages or b"") or [0]
    return Statistics(chunks, max(1.0, sum(tokens) / max(1, chunks)), state.newest or 0, shared)


def numbers(block: bytes) -> list[int]:
    """Numbers of seven bits a byte, the highest first; every byte but the last of a number has its eighth bit set."""
    numbers, number = [], 0
    for byte in block:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    return numbers


def listed_numbers(listed: str | None) -> NDArray[np.int64]:
    """Those of SQLite's ``group_concat``."""
    return np.fromstring(listed or "", dtype=np.int64, sep=",")
