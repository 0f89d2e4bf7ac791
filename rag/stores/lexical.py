"""Full-text search by SQLite's FTS5. The triggers of the migration keep its index; everything else of it is here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from rag.stores.stopwords import STOP_WORDS
from rag.stores.tables import VersionStatus
from rag.types import Hit

if TYPE_CHECKING:
    from rag.stores.database import Database
    from rag.types import Collection

# Weights of the columns in BM25: a chunk's own words, and those of the title and headings it stands under.
_TEXT_WEIGHT = 1.0
_CONTEXT_WEIGHT = 1.0

_WORD = re.compile(r"\w+")

# Ties are broken by id so that the same query gives the same ranking in every process.
_SEARCH = text(
    f"""
    SELECT chunks_fts.rowid AS chunk_id, -bm25(chunks_fts, {_TEXT_WEIGHT}, {_CONTEXT_WEIGHT}) AS score
    FROM chunks_fts
    JOIN chunks ON chunks.id = chunks_fts.rowid
    JOIN document_versions ON document_versions.id = chunks.version_id
    WHERE chunks_fts MATCH :query
      AND document_versions.collection_id = :collection_id
      AND document_versions.status = '{VersionStatus.ACTIVE}'
    ORDER BY score DESC, chunk_id
    LIMIT :k
    """  # noqa: S608  # constants of this module; what the user says is bound
)


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

    def search(self, collection: Collection, query: str, k: int) -> list[Hit]:
        """At most ``k`` active chunks of the collection that hold a word of the query, best first."""
        expression = match_expression(query)
        if expression is None:
            return []
        values = {"query": expression, "collection_id": collection.id, "k": k}
        with self._database.read() as connection:
            return [Hit(chunk_id=row.chunk_id, score=row.score) for row in connection.execute(_SEARCH, values)]
