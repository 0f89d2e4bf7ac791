"""Full-text search by SQLite's FTS5. The triggers of the migration keep its index; everything else of it is here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import Float, Integer, column, literal_column, select, table

from rag.stores.filtering import condition
from rag.stores.stopwords import STOP_WORDS
from rag.stores.tables import ChunkRow, DocumentRow, VersionRow, VersionStatus
from rag.types import Hit

if TYPE_CHECKING:
    from rag.stores.database import Database
    from rag.types import Collection, Filter

# As the newest migration names it.
FULL_TEXT_TABLE: Final = "chunks_fts"

# Weights of the columns in BM25: a chunk's own words, and those of the title and headings it stands under.
_TEXT_WEIGHT = 1.0
_CONTEXT_WEIGHT = 1.0

_WORD = re.compile(r"\w+")

_FTS = table(FULL_TEXT_TABLE, column("rowid", Integer))
_SCORE = literal_column(f"-bm25({FULL_TEXT_TABLE}, {_TEXT_WEIGHT}, {_CONTEXT_WEIGHT})", Float)


def match_expression(query: str) -> str | None:
    """An FTS5 expression that finds any of the query's words; ``None`` if it has no words.

    Every word is quoted, so nothing in it is syntax. Stop words are left out unless there are no others.
    """
    words = list(dict.fromkeys(_WORD.findall(query)))  # as written: FTS5 folds case in its own way
    telling = [word for word in words if word.lower() not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling) or None


class FtsIndex:
    """Implements ``rag.protocols.LexicalIndex``. Scores are BM25 (k1 = 1.2, b = 0.75), higher is better."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, collection: Collection, query: str, k: int, *, where: Filter | None = None) -> list[Hit]:
        """At most ``k`` active chunks that hold a word of the query and pass the filter, best first."""
        expression = match_expression(query)
        if expression is None:
            return []
        score = _SCORE.label("score")
        # Ties are broken by id so that the same query gives the same ranking in every process.
        found = (
            select(_FTS.c.rowid.label("chunk_id"), score)
            .join(ChunkRow, ChunkRow.id == _FTS.c.rowid)
            .join(VersionRow, VersionRow.id == ChunkRow.version_id)
            .where(literal_column(FULL_TEXT_TABLE).op("MATCH")(expression))
            .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
            .order_by(score.desc(), _FTS.c.rowid)
            .limit(k)
        )
        if where is not None:
            found = found.join(DocumentRow, DocumentRow.id == VersionRow.document_id).where(condition(where))
        with self._database.read() as connection:
            return [Hit(chunk_id=row.chunk_id, score=row.score) for row in connection.execute(found)]
