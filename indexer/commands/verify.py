"""``indexer verify``: whether what is stored agrees with itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from indexer.commands.options import json_option
from rag.commands.errors import EXIT_FAILED, printable
from rag.config import load_settings
from rag.factory import open_library

if TYPE_CHECKING:
    from rag.factory import Library
    from rag.stores.verification import Finding
    from rag.types import Collection


@click.command()
@click.option("-c", "--collection", default=None, help="Verify this collection only; all if left out.")
@click.option("--repair", is_flag=True, help="Make anew what is derived: full text and index files.")
@json_option
@click.pass_context
def verify(ctx: click.Context, collection: str | None, repair: bool, as_json: bool) -> None:  # noqa: FBT001
    """Read everything that is stored and tell what does not agree.

    Verified are the database's structure, full text, every chunk with its source and its embedding, and every index
    file. Exits with 1 if something is wrong that was not repaired.
    """
    with open_library(load_settings()) as library:
        collections = [library.store.collection(collection)] if collection else library.store.collections()
        found = _verify(library, collections)
        repaired = _repair(library, collections, found) if repair else []
        left = [finding for finding in found if finding not in repaired]
    if as_json:
        findings = [{**asdict(finding), "repaired": finding in repaired} for finding in found]
        click.echo(json.dumps({"ok": not left, "collections": [c.name for c in collections], "findings": findings}))
    else:
        for finding in found:
            done = finding in repaired
            where = f" ({finding.collection})" if finding.collection else ""
            click.echo(printable(f"{'repaired' if done else 'wrong'}: {finding.area}{where}: {finding.message}"))
            if not done:
                click.echo(f"  {finding.advice}")
        counted = f"{len(collections)} collection{'' if len(collections) == 1 else 's'}"
        click.echo(f"{counted} verified: {'nothing' if not left else f'{len(left)} things'} wrong")
    if left:
        ctx.exit(EXIT_FAILED)


def _verify(library: Library, collections: list[Collection]) -> list[Finding]:
    from rag.stores.verification import verify_database, verify_documents, verify_index

    console = Console(stderr=True)
    columns = (TextColumn("verifying {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        found = list(verify_database(library.database))
        if any(finding.area == "database" for finding in found):
            return found  # nothing that is read from it could be trusted
        for collection in collections:
            task = progress.add_task(printable(collection.name), total=library.store.status(collection).chunks)
            found += verify_documents(library.database, collection, partial(progress.advance, task))
            found += verify_index(library.database, library.index_directory, collection)
    return found


def _repair(library: Library, collections: list[Collection], found: list[Finding]) -> list[Finding]:
    from rag.stores.verification import forget_damaged, rebuild_full_text

    repairable = [finding for finding in found if finding.repairable]
    if any(finding.area == "full text" for finding in repairable):
        rebuild_full_text(library.database)
    for collection in collections:
        if any(finding.area == "index" and finding.collection == collection.name for finding in repairable):
            forget_damaged(library.database, library.index_directory, collection)
            library.vectors.rebuild(library.store.collection(collection.name))
    left = set(_verify(library, collections))
    return [finding for finding in repairable if finding not in left]
