"""The terms of stored chunks: what the full-text index is made of, and can be made of again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, exists, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from rag.stores.full_text.language import language_of
from rag.stores.full_text.terms import STEMMED, terms
from rag.stores.tables import ChunkRow, ChunkTermsRow, LanguageRow, TextRow, VersionRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_BATCH = 1000

_NEW_LANGUAGES: Final = {
    dialect.__name__.rpartition(".")[2]: dialect.insert(LanguageRow).on_conflict_do_nothing()
    for dialect in (postgresql, sqlite)
}
# Made once, for a statement takes longer to make than this one to answer.
_LANGUAGES: Final = select(LanguageRow.language).where(LanguageRow.collection_id == bindparam("collection_id"))
_WITHOUT_TERMS = ~exists().where(ChunkTermsRow.chunk_id == ChunkRow.id)


def terms_row(collection_id: int, chunk_id: int, text: str, context: str, language: str | None) -> dict[str, Any]:
    """What ``chunk_terms`` holds of a chunk."""
    return {
        "chunk_id": chunk_id,
        "text": " ".join(terms(text, language)),
        "context": " ".join(terms(context, language)),
        "scope": scope_term(collection_id),
    }


def scope_term(collection_id: int) -> str:
    """What all chunks of a collection have in common, as a term. No word is one: it begins with a private character."""
    return f"\ue000{collection_id}"


def languages_of(connection: Connection, collection_id: int) -> Sequence[str | None]:
    """The languages that words of the collection are, or once were, stemmed in; ``None`` stands for all others."""
    return [*connection.scalars(_LANGUAGES, {"collection_id": collection_id}), None]


def note_language(connection: Connection, collection_id: int, language: str | None) -> None:
    """Remember that the collection has a text of the language, if queries are to be stemmed in it."""
    if language not in STEMMED:
        return
    row = {"collection_id": collection_id, "language": language}
    connection.execute(_NEW_LANGUAGES[connection.dialect.name], row)


def note_languages(connection: Connection) -> None:
    """Find out the language of every version, for those that were stored without."""
    versions = select(VersionRow.id, VersionRow.collection_id).where(VersionRow.language.is_(None))
    for version in connection.execute(versions).all():
        beginning = select(TextRow.text).where(TextRow.version_id == version.id).order_by(TextRow.start).limit(1)
        language = language_of(connection.scalar(beginning) or "")
        connection.execute(update(VersionRow).where(VersionRow.id == version.id).values(language=language))
        note_language(connection, version.collection_id, language)


def missing_terms(connection: Connection) -> int:
    """How many chunks have no terms."""
    return connection.scalars(select(func.count()).select_from(ChunkRow).where(_WITHOUT_TERMS)).one()


def add_missing_terms(connection: Connection) -> None:
    """Make the terms of the chunks that have none."""
    wanted = (
        select(ChunkRow.id, ChunkRow.text, ChunkRow.context, VersionRow.language, VersionRow.collection_id)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .where(_WITHOUT_TERMS)
        .order_by(ChunkRow.id)
        .limit(_BATCH)
    )
    last = 0
    while chunks := connection.execute(wanted.where(ChunkRow.id > last)).all():
        rows = [terms_row(chunk.collection_id, chunk.id, chunk.text, chunk.context, chunk.language) for chunk in chunks]
        connection.execute(insert(ChunkTermsRow), rows)
        last = chunks[-1].id
