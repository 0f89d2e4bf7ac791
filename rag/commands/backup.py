"""``rag backup``: database, index files, settings and the models' names in one archive."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import rich_click as click

from rag import __version__
from rag.catalog import Catalog
from rag.commands.archive_display import reporting
from rag.commands.json_output import json_option, print_json
from rag.commands.paths import NamedPath
from rag.commands.pull_display import human_bytes
from rag.config import load_settings
from rag.errors import RagError
from rag.generators import GeneratorSource
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rag.config import Settings
    from rag.stores.archives.archive import ModelRecord

# May hold secrets: a key, and index addresses with a password in them.
_SECRET = {"generator_api_key", "pip_command"}


@click.command()
@click.argument("file", type=NamedPath(dir_okay=False))
@click.option("--compress", is_flag=True, help="Make it smaller; takes longer.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def backup(file: Path, compress: bool, force: bool, as_json: bool) -> None:  # noqa: FBT001
    """Write all documents, with their embeddings and index files, and the uploads that wait, into one archive.

    Everything else may go on meanwhile: what had been acknowledged when it began is in it. FILE is there when it is
    complete, not before. Models are not in it, only their names and checksums.
    """
    from rag.stores.archives.backup import back_up, places

    settings = load_settings()
    target = file.absolute()
    with reporting() as report:
        manifest = back_up(
            target,
            places=places(settings),
            program=__version__,
            settings=without_secrets(settings),
            models=_models(settings),
            compress=compress,
            force=force,
            report=report,
        )
    size = target.stat().st_size
    if as_json:
        print_json({"file": str(target), "bytes": size, **asdict(manifest)})
        return
    documents = plural(sum(collection.documents for collection in manifest.collections), "document")
    collections = plural(len(manifest.collections), "collection")
    click.echo(f"{target}: {human_bytes(size)}, {collections}, {documents}")
    for directory in manifest.left_out:
        click.echo(f"note: the index generation {directory} is gone or damaged and left out; it is made anew", err=True)


def without_secrets(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, none of which gives access to anything."""
    shown = settings.model_dump(mode="json", exclude=_SECRET)
    shown["generator_url"] = GeneratorSource(settings, lambda: Catalog.load(settings)).remote_address
    return shown


def _models(settings: Settings) -> Iterator[ModelRecord]:
    from rag.stores.archives.archive import ModelRecord

    catalog = Catalog.load(settings)
    for role, name in zip(("embedder", "generator"), catalog.default_names(settings), strict=False):
        try:
            sha256 = catalog.resolve(name).sha256
        except RagError:  # not on this machine, which is no reason against a backup of the documents
            sha256 = None
        yield ModelRecord(role=role, name=name, sha256=sha256)
