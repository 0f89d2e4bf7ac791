"""``indexer verify``: whether what is stored agrees with itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from indexer.commands.options import storable
from rag.commands.errors import EXIT_FAILED, on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.errors import DatabaseDamaged, UnknownCollection
from rag.factory import open_library
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.config import Settings
    from rag.factory import Library
    from rag.stores.verification.findings import Finding
    from rag.types import Collection

_TOLD: Final = 10  # of one cause; a collection may have a million documents
_MARKS: Final = {"damage": "wrong", "leftover": "leftover"}


@click.command()
@click.option(
    "-c", "--collection", default=None, callback=storable, help="Verify this collection only; all if left out."
)
@click.option("--repair", is_flag=True, help="Make full text and index files anew where wrong; remove leftovers.")
@json_option
@click.pass_context
def verify(ctx: click.Context, collection: str | None, repair: bool, as_json: bool) -> None:  # noqa: FBT001
    """Read everything that is stored and tell what does not agree.

    Verified are the database's structure and its write-ahead log, the checksum of every row, what full text and
    filters compare against what it is made of, every index file, and the uploads that wait; leftovers are told of too.
    Exits with 1 if something is wrong that was not repaired; a leftover is not wrong. Without --repair nothing is
    changed, and a database of an older revision is not migrated but refused.
    """
    settings = load_settings()
    lost = _mend_log(settings) if repair else []
    # What is not there is not repaired by making it: the path may be mistyped.
    with open_library(settings, migrate=repair and _database_of(settings).exists()) as library:
        collections = _collections(library, collection)
        found = _verify(library, collections)
        left = _repair(library, collections, found) if repair else found
    repaired = lost + [finding for finding in found if finding.repairable and finding not in left]
    damage = [finding for finding in left if finding.severity == "damage"]
    if as_json:
        findings = [{**asdict(finding), "repaired": finding not in left} for finding in repaired + left]
        print_json({"ok": not damage, "collections": [c.name for c in collections], "findings": findings})
    else:
        _tell("repaired", repaired)
        _tell("", left)
        wrong = plural(len(damage), "thing") if damage else "nothing"
        click.echo(f"{settings.home}: {plural(len(collections), 'collection')} verified: {wrong} wrong")
    if damage:
        ctx.exit(EXIT_FAILED)


def _tell(mark: str, findings: list[Finding]) -> None:
    """A line each, but for all beyond ten of one cause; with what to do about it once, if there is no ``mark``."""
    causes: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        causes.setdefault((each.severity, each.area, each.collection or "", each.advice), []).append(each)
    for (severity, area, collection, advice), of_one in causes.items():
        begin = f"{mark or _MARKS[severity]}: {area}{f' ({collection})' if collection else ''}: "
        for each in of_one[:_TOLD]:
            click.echo(on_one_line(begin + each.message))
        if len(of_one) > _TOLD:
            click.echo(f"{on_one_line(begin)}and {len(of_one) - _TOLD:,} more, which --json lists")
        if not mark:
            click.echo(f"  {on_one_line(advice)}")


def _database_of(settings: Settings) -> Path:
    from rag.stores.sqlite.database import sqlite_path

    return sqlite_path(settings.sqlalchemy_url)


def _mend_log(settings: Settings) -> list[Finding]:
    """Have a database whose write-ahead log is damaged go on with what can be read of it."""
    from rag.stores.sqlite.write_ahead import require_whole_log, set_log_aside
    from rag.stores.verification.findings import Finding

    database = _database_of(settings)
    try:
        require_whole_log(database)
    except DatabaseDamaged as error:
        kept = set_log_aside(database)
        advice = "Ingest again what was ingested last, and delete again what was deleted."
        message = f"{error.message} A copy of it is {kept}. {advice}"
        return [Finding(area="database", message=message, advice=advice, repairable=True)]
    return []


def _collections(library: Library, name: str | None) -> list[Collection]:
    """All that can be verified, or the one of this name. Raises UnknownCollection unless a damaged one may be it."""
    from rag.stores.verification.collections import whole_collections

    whole, damaged = whole_collections(library.database)
    if name is None:
        return whole
    return [each for each in whole if each.name == name] or ([] if damaged else [library.store.collection(name)])


def _verify(library: Library, collections: list[Collection]) -> list[Finding]:
    """What is found. Collections that could not be verified, or were dropped since, are taken from the list."""
    from rag.stores.jobs.waiting_uploads import verify_uploads
    from rag.stores.removal.stray_files import find_strays
    from rag.stores.verification.collections import whole_collections
    from rag.stores.verification.findings import verify_database

    console = Console(stderr=True)
    columns = (TextColumn("verifying {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        found = list(verify_database(library.database))
        if any(finding.area == "database" for finding in found):
            collections.clear()  # nothing that is read from it could be trusted
            return found
        found += whole_collections(library.database)[1]
        found += find_strays(library.database, library.settings.home, library.index_directory)
        found += verify_uploads(library.jobs, library.blobs)
        for collection in tuple(collections):
            try:
                found += list(_verify_collection(library, collection, progress))
            except UnknownCollection:
                collections.remove(collection)
    return found


def _verify_collection(library: Library, collection: Collection, progress: Progress) -> Iterator[Finding]:
    from rag.stores.removal.leftovers import find_leftovers
    from rag.stores.verification.collections import verify_collection
    from rag.stores.verification.documents import embed_anew, verify_documents
    from rag.stores.verification.index_files import verify_index

    task = progress.add_task(on_one_line(collection.name), total=library.store.status(collection).chunks)
    yield from verify_collection(library.database, collection)
    documents = list(verify_documents(library.database, collection, partial(progress.advance, task)))
    advice = embed_anew(collection)
    anew = advice if any(finding.advice == advice for finding in documents) else None
    yield from documents
    yield from verify_index(library.database, library.index_directory, collection, anew=anew)
    yield from find_leftovers(library.database, library.settings.home, library.index_directory, collection)


def _repair(library: Library, collections: list[Collection], found: list[Finding]) -> list[Finding]:
    """Repair what can be; returns what is found after it."""
    from rag.stores.removal.leftovers import remove_leftovers
    from rag.stores.removal.stray_files import remove_strays
    from rag.stores.verification.documents import repair_documents
    from rag.stores.verification.findings import rebuild_full_text
    from rag.stores.verification.index_files import forget_damaged

    if not any(finding.repairable for finding in found):
        return found
    if any(finding.area == "full text" for finding in found):
        rebuild_full_text(library.database)
    if any(finding.area == "jobs" for finding in found):
        library.jobs.end_damaged()
    if any(finding.area == "files" for finding in found):
        remove_strays(library.database, library.settings.home, library.index_directory)
    for collection in collections:
        mine = [finding for finding in found if finding.collection == collection.name]
        wrong = {finding.area for finding in mine if finding.severity == "damage"}
        if any(finding.area == "index" and finding.repairable for finding in mine if finding.severity == "damage"):
            with suppress(UnknownCollection):  # dropped since
                forget_damaged(library.database, library.index_directory, collection)
                library.vectors.rebuild(library.store.status(collection).collection)
        if wrong & {"documents", "full text"}:
            repair_documents(library.database, collection)
        if any(finding.severity == "leftover" for finding in mine):
            remove_leftovers(library.database, library.settings.home, library.index_directory, collection)
    return _verify(library, collections)
