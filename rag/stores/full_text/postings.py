"""Which chunks hold a word, how often, and how long they are, read from FTS5's own tables.

FTS5's ``bm25`` looks up a row for each chunk that matches, which takes ten times as long as finding it. Here a word's
list comes from its vocabulary table in one value (https://sqlite.org/fts5.html#the_fts5vocab_virtual_table_module).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from sqlalchemy import text

from rag.errors import DatabaseDamaged
from rag.stores.full_text.term_statistics import AVERAGES, FULL_TEXT_TABLE, NEWEST, listed_numbers, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from rag.stores.full_text.term_statistics import State

# Of this connection, and written nowhere: SQLite makes it of the index when it is read.
_OCCURRENCES = text(
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.chunk_occurrences"
    f" USING fts5vocab('main', '{FULL_TEXT_TABLE}', 'instance')"
)
_OF_WORDS = text(
    "SELECT value, (SELECT group_concat(doc) FROM temp.chunk_occurrences WHERE term = value) FROM json_each(:words)"
)

# What the lists of one state may take: of some 13 million rows. And what an entry takes beside its numbers.
_MOST_BYTES: Final = 64 << 20
_BESIDE_ARRAYS: Final = 500
_SHORT: Final = 1 << 31

_ROWS: Final = 500_000  # in one value
_COLUMNS: Final = 3  # of each row FTS5 keeps a number for each of them, one after the other
_SIZES = text(
    "SELECT group_concat(id), CAST(group_concat(sz, '') AS BLOB)"  # noqa: S608  # constants
    f" FROM (SELECT id, sz FROM {FULL_TEXT_TABLE}_docsize WHERE id > :known ORDER BY id LIMIT {_ROWS})"
)
_LONGEST: Final = np.iinfo(np.uint16).max
_NONE: Final = np.zeros(1, dtype=np.uint16)


class Postings(NamedTuple):
    """Chunks in the order of their ids, and how often each holds the word: two arrays of shape ``(n,)``."""

    ids: NDArray[np.integer]
    occurrences: NDArray[np.integer]


class Lists:
    """Words' lists, of which those that were asked for last are held, until the index changes. Safe to share between
    threads.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._lock = Lock()
        self._most_bytes = most_bytes
        self._state: State | None = None
        self._held: OrderedDict[str, Postings] = OrderedDict()
        self._bytes = 0

    def of(self, connection: Connection, state: State, words: Sequence[str]) -> dict[str, Postings]:
        """For each word, all chunks that hold it, of all collections, those that no search returns included, as the
        connection's transaction sees the index, whose state this is.
        """
        with self._lock:
            if state != self._state:
                self._state, self._held, self._bytes = state, OrderedDict(), 0
            held = self._held
            found = {word: held[word] for word in words if word in held}
            for word in found:
                held.move_to_end(word)
        missing = [word for word in words if word not in found]
        if missing:
            read = _read(connection, missing)
            found |= read
            with self._lock:
                if held is self._held:
                    self._hold(read)
        return found

    def _hold(self, read: Mapping[str, Postings]) -> None:
        for word in read.keys() - self._held.keys():  # another thread may have read it, too
            self._held[word] = read[word]
            self._bytes += _bytes(read[word])
        while self._bytes > self._most_bytes:
            self._bytes -= _bytes(self._held.popitem(last=False)[1])


class Lengths:
    """How many terms chunks have. Read once, and later what is new: no writer changes a chunk, and ids are never used
    twice. What is read at first must be as many in all as FTS5 has counted: what it weighs the average by. Safe to
    share between threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: NDArray[np.uint16] = _NONE  # by the ids of chunks, two bytes each

    def of(self, connection: Connection, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of chunks that the connection's transaction sees; 0 where FTS5 knows none. Raises DatabaseDamaged."""
        if len(ids) and ids.max() >= len(self._held):
            with self._lock:
                if ids.max() >= len(self._held):
                    self._held = self._grown(connection)
        known = (ids >= 0) & (ids < len(self._held))
        return np.where(known, self._held[np.where(known, ids, 0)], 0).astype(np.float64)

    def _grown(self, connection: Connection) -> NDArray[np.uint16]:
        """With all chunks that came since."""
        held, counted = self._held, np.zeros(1 + _COLUMNS, np.int64)
        newest = connection.execute(NEWEST).scalar() or 0
        while True:
            listed, sizes = connection.execute(_SIZES, {"known": len(held) - 1}).one()
            ids, columns = listed_numbers(listed), _varints(sizes or b"")
            in_order = not np.any(np.diff(ids, prepend=len(held) - 1, append=newest + 1) <= 0)
            if len(columns) != _COLUMNS * len(ids) or not in_order:
                raise _damaged("cannot be read")
            if not len(ids):
                break
            longer = np.zeros(ids[-1] + 1, dtype=np.uint16)
            longer[: len(held)] = held
            of_each = columns.reshape(-1, _COLUMNS)
            longer[ids] = np.minimum(of_each.sum(axis=1), _LONGEST)
            counted += [len(ids), *of_each.sum(axis=0)]
            held = longer
        if self._held is _NONE and counted.tolist() != numbers(connection.execute(AVERAGES).scalar() or bytes(4)):
            raise _damaged("are not those that it has counted")
        return held


def _damaged(how: str) -> DatabaseDamaged:
    return DatabaseDamaged(
        f"Full text is damaged: the lengths of passages {how}.", hint="`indexer verify --repair` makes it anew."
    )


def _read(connection: Connection, words: Sequence[str]) -> dict[str, Postings]:
    connection.execute(_OCCURRENCES)
    return {word: _postings(listed) for word, listed in connection.execute(_OF_WORDS, {"words": json.dumps(words)})}


def _postings(listed: str | None) -> Postings:
    each = listed_numbers(listed)  # a number for every time that the word stands in the chunk
    ends = np.append(np.flatnonzero(each[1:] != each[:-1]) + 1, len(each))[: len(each)]
    ids, occurrences = each[ends - 1], np.diff(ends, prepend=0)
    if not len(ids) or (ids[0] >= 0 and ids[-1] < _SHORT):
        ids = ids.astype(np.int32)
    return Postings(ids, occurrences.astype(np.min_scalar_type(occurrences.max(initial=0))))


def _bytes(postings: Postings) -> int:
    return _BESIDE_ARRAYS + postings.ids.nbytes + postings.occurrences.nbytes


def _varints(block: bytes) -> NDArray[np.int64]:
    """Numbers as ``term_statistics.numbers`` reads them, all at once; none of more than three bytes."""
    each = np.frombuffer(block, np.uint8).astype(np.int64)
    last = np.flatnonzero(each < 0x80)
    size = np.diff(last, prepend=-1)
    values = each[last]
    for place in (1, 2):
        longer = size > place
        values[longer] |= (each[last[longer] - place] & 0x7F) << 7 * place
    return values
