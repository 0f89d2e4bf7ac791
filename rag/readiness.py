"""What works in an opened library and what does not, said without loading anything that is not loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import RagError
from rag.plurals import plural
from rag.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.catalog import Catalog
    from rag.protocols import Embedder, Generator
    from rag.stores.sqlite.database import Database
    from rag.stores.verification.inspection import Inspected
    from rag.types import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a readiness report."""

    name: str
    ok: bool
    detail: str


def database_check(database: Database) -> Check:
    from rag.stores.sqlite.schema import REVISIONS

    revision, wanted = database.revision, REVISIONS[-1]
    detail = f"revision {revision}" if revision == wanted else f"revision {revision}, this program needs {wanted}"
    return Check(name="database", ok=revision == wanted, detail=detail)


def inspection_check(last: Inspected | None) -> Check:
    """What a service has found out about what it has stored."""
    if last is None:
        return Check(name="stored data", ok=True, detail="being looked through for the first time")
    detail = " ".join(last.problems) or f"whole at {rfc3339(last.at)}"
    return Check(name="stored data", ok=not last.problems, detail=detail)


def collection_check(collection: Collection, embedder_of: Callable[[Collection], Embedder]) -> Check:
    """Whether the embedder that a collection was made with is there."""
    name = f"collection {collection.name}"
    try:
        embedder_of(collection)
    except RagError as error:
        return Check(name=name, ok=False, detail=str(error))
    return Check(name=name, ok=True, detail=f"seq {collection.seq}, {collection.fingerprint.embedder}")


def generator_check(generator: Generator, address: str | None) -> Check:
    """Of a generator that is loaded; ``address`` is that of a remote one."""
    info = generator.info
    where = f"{plural(info.gpu_layers, 'layer')} on GPU" if info.gpu_layers else "CPU"
    runs = f"{where}, {plural(info.threads, 'thread')}, context {info.context_tokens} ({info.backend})"
    if address is not None:
        runs = f"context {info.context_tokens}, at {address}"
    return Check(name="generator", ok=generator.failure is None, detail=generator.failure or f"{info.model}: {runs}")


def model_check(role: str, name: str, catalog: Callable[[], Catalog], *, loaded: bool) -> Check:
    """Whether a model of the catalog has its files, and is loaded."""
    try:
        path = catalog().resolve(name).path
    except RagError as error:
        return Check(name=role, ok=False, detail=str(error))
    return Check(name=role, ok=loaded, detail=f"{name}: {'loaded' if loaded else 'not loaded yet'} ({path})")
