"""Whether the vector index files agree with the database they were made from.

A search or an ingest may replace them at any time, so a file that cannot be read counts only while SQL points to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select

from rag.errors import DatabaseDamaged, IndexDamaged
from rag.plurals import plural
from rag.stores.changes import (
    added_since,
    collection_state,
    forget_indexes,
    generations,
    removed_since,
    withdraw,
)
from rag.stores.collection_rows import collection_row
from rag.stores.index import flat_base
from rag.stores.index.generations import load_generation
from rag.stores.index.recall import LEAST
from rag.stores.reading import to_collection
from rag.stores.tables import ChunkRow, TombstoneRow, VersionRow, VersionStatus
from rag.stores.verification.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from rag.stores.changes import GenerationPointer
    from rag.stores.index.generations import Generation, Manifest
    from rag.stores.sqlite.database import Database
    from rag.types import Collection

# Of float16 in the table, made unit length in either: the same numbers but for rounding.
_SAME = 1e-5

_REPAIR = "Run `indexer verify --repair`."
_ANOTHER_MODEL = "Searches by meaning miss some passages. Embed with another model: `indexer reembed --embedder NAME`."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What is wrong with a generation; ``as_built``: its build is whole, and another would find as little."""

    generation_id: int
    message: str
    as_built: bool = False


def verify_index(
    database: Database, directory: Path, collection: Collection, *, anew: str | None = None
) -> Iterator[Finding]:
    """The removals that indexes follow, and every generation that SQL points to: its files, and its vectors.

    ``anew`` is the advice where embeddings are missing or wrong: files are compared with none of them then, and what
    is wrong with files goes with what it says, for no right index can be made before.
    """
    contradicted, problems = _damaged(database, directory, collection, compared=anew is None)
    if contradicted:
        message = f"{plural(contradicted, 'active chunk')} listed as removed, too: dense search does not find what is."
        yield _finding(collection, message, anew=anew)
    for problem in problems:
        yield _finding(collection, problem.message, as_built=problem.as_built, anew=anew)


def _finding(collection: Collection, message: str, *, as_built: bool = False, anew: str | None) -> Finding:
    return Finding(
        area="index",
        collection=collection.name,
        message=message,
        advice=_ANOTHER_MODEL if as_built else anew or _REPAIR,
        repairable=not as_built and anew is None,
    )


def forget_damaged(database: Database, directory: Path, collection: Collection) -> None:
    """Let nobody load or follow what ``verify_index`` calls repairable. The caller writes a new generation."""
    _, problems = _damaged(database, directory, collection)
    damaged = [problem.generation_id for problem in problems if not problem.as_built]
    with database.write() as connection:
        if _contradicted(connection, collection):
            forget_indexes(connection, collection.id)  # other processes have followed the wrong removals
        if damaged:
            withdraw(connection, collection.id, damaged)


def _damaged(
    database: Database, directory: Path, collection: Collection, *, compared: bool = True
) -> tuple[int, list[_Problem]]:
    """How many active chunks have a tombstone, and what is wrong with which generation."""
    # Embeddings that are not finite are told of by verify_documents; here they compare with nothing.
    with np.errstate(invalid="ignore"), database.read() as connection:  # one snapshot: all compared is of one moment
        # As of this moment: it may have been embedded anew since the caller read it.
        collection = to_collection(collection_row(connection, collection.id, collection.name))
        state = collection_state(connection, collection.id, collection.name)
        contradicted = _contradicted(connection, collection)
        problems = []
        for pointer in generations(connection, collection.id):
            generation = _load(database, directory, collection, pointer)
            if isinstance(generation, str):
                problems.append(_Problem(generation_id=pointer.id, message=generation))
            elif generation is not None:
                try:
                    floor = state.feed_floor if compared else None
                    problem = _problem(connection, collection, pointer, generation, floor=floor)
                except DatabaseDamaged:
                    continue  # embeddings that nothing can be compared with; verify_documents names them
                named = f"The index file {pointer.directory}"
                if problem is not None:
                    problems.append(_Problem(generation_id=pointer.id, message=f"{named} {problem}."))
                elif generation.manifest.recall_at_10 < LEAST:
                    problems.append(_poor(pointer.id, named, generation.manifest))
    return contradicted, problems


def _poor(generation_id: int, named: str, manifest: Manifest) -> _Problem:
    found = f"found only {manifest.recall_at_10:.3f} of the nearest neighbours when it was written"
    message = f"{named} is whole and {found}: its codes tell these embeddings apart badly."
    return _Problem(generation_id=generation_id, message=message, as_built=True)


def _contradicted(connection: Connection, collection: Collection) -> int:
    query = (
        select(func.count())
        .select_from(TombstoneRow)
        .join(ChunkRow, ChunkRow.id == TombstoneRow.chunk_id)
        .join(VersionRow, VersionRow.id == ChunkRow.version_id)
        .where(VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE)
    )
    return connection.scalars(query).one()


def _load(
    database: Database, directory: Path, collection: Collection, pointer: GenerationPointer
) -> Generation | str | None:
    """The generation; what is wrong with its files; or ``None`` if it was replaced while they were opened."""
    embedder = collection.fingerprint.embedder
    try:
        return load_generation(directory, pointer.directory, sha256=pointer.sha256, embedder=embedder)
    except IndexDamaged as error:
        with database.read() as connection:  # a snapshot of its own: what holds by now
            current = {generation.id for generation in generations(connection, collection.id)}
        return error.message if pointer.id in current else None


def _problem(
    connection: Connection,
    collection: Collection,
    pointer: GenerationPointer,
    generation: Generation,
    *,
    floor: int | None,
) -> str | None:
    """Without a ``floor``, the vectors are not compared."""
    manifest = generation.manifest
    told = (manifest.count, manifest.seq, manifest.size)
    if told != (pointer.count, pointer.seq, pointer.size):
        return f"is described otherwise by its manifest (count, seq, size: {told}) than by the database"
    if manifest.kind == flat_base.KIND and manifest.recall_at_10 < LEAST:
        return f"compares every vector, and found only {manifest.recall_at_10:.3f} of the nearest neighbours"
    if floor is None or pointer.seq < floor:
        return None  # the feed no longer leads from it to what is stored, and nobody loads it
    return _vectors_problem(connection, collection, pointer.seq, generation)


def _vectors_problem(connection: Connection, collection: Collection, seq: int, generation: Generation) -> str | None:
    base, dimension = generation.base, collection.fingerprint.dimension
    expected = np.setdiff1d(base.ids, removed_since(connection, collection.id, seq))
    seen = 0
    for ids, vectors in added_since(connection, collection.id, 0, dimension):
        rows = np.searchsorted(base.ids, ids)
        rows[rows == len(base.ids)] = 0
        inside = base.ids[rows] == ids if len(base.ids) else np.zeros(len(ids), np.bool_)
        seen += int(inside.sum())
        if inside.any() and (np.abs(base.take(rows[inside]) - vectors[inside]) > _SAME).any():
            return "holds other vectors than the database"
    later = sum(len(ids) for ids, _ in added_since(connection, collection.id, seq, dimension))
    active = connection.scalars(
        select(func.coalesce(func.sum(VersionRow.chunk_count), 0)).where(
            VersionRow.collection_id == collection.id, VersionRow.status == VersionStatus.ACTIVE
        )
    ).one()
    if seen != len(expected) or seen + later != active:
        return (
            f"with what came after it stands for {seen + later} of {plural(active, 'chunk')}, "
            f"and holds {len(expected) - seen} that are gone"
        )
    return None
