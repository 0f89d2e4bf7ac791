"""``indexer sync``: a collection made to hold what a folder holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import rich_click as click

from indexer.commands.ingest import metadata_option
from indexer.commands.interruption import Interruption
from indexer.commands.options import collection_option
from indexer.commands.sync_run import SyncRun
from indexer.parsing.isolation import IsolatedParsers
from indexer.web.urls import is_url
from rag.commands.errors import EXIT_FAILED
from rag.commands.json_output import json_lines_option
from rag.commands.paths import NamedPath
from rag.config import load_settings
from rag.factory import open_library

if TYPE_CHECKING:
    from pathlib import Path

    from rag.types import MetadataValue


class _Folder(NamedPath):
    """A folder; a web address, which none is, says where pages are taken in."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if is_url(given := os.fspath(value)):
            self.fail(
                f"{given} is no folder: take pages in with `indexer ingest`, which skips unchanged ones.", param, ctx
            )
        return super().convert(value, param, ctx)


folder_argument = click.argument("folder", metavar="DIR", type=_Folder())
prune_option = click.option(
    "--prune", is_flag=True, help="Delete documents whose files are proved to be gone; without it they are only named."
)


@click.command()
@folder_argument
@collection_option
@prune_option
@click.option("--dry-run", is_flag=True, help="Show every step and why, and do nothing.")
@metadata_option
@json_lines_option
@click.pass_context
def sync(
    ctx: click.Context,
    folder: Path,
    collection: str,
    prune: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    metadata: dict[str, MetadataValue] | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring a collection in step with a folder: take in what is new or changed; what moved keeps its embeddings.

    A file counts as changed by its size and time. One that is gone is named, and deleted from the collection with
    --prune: not where its folder is empty or cannot be read, as when a disk is not mounted. What a .plumblineignore in
    any folder names (written as in a .gitignore) is left out, and gone if it was there.

    With --json, one JSON object is printed for each step and one for the whole run. Exits with 1 if something could not
    be read or taken in; the rest is done. Ctrl-C finishes the files that are being embedded, or ends the looking for
    files at once; the next run goes on from there.
    """
    settings = load_settings()
    parsers = IsolatedParsers.limited_by(settings)
    with open_library(settings, embeds_apart=True) as library, parsers, Interruption() as interruption:
        run = SyncRun(
            library,
            parsers,
            folder,
            collection,
            metadata=metadata,
            prune=prune,
            as_json=as_json,
            interruption=interruption,
        )
        done = run.show() if dry_run else run.run()
    ctx.exit(0 if done else EXIT_FAILED)
