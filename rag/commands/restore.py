"""``rag restore``: an archive's data into the data directory."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import rich_click as click

from rag.catalog import Catalog
from rag.commands.archive_display import reporting
from rag.commands.errors import printable
from rag.commands.json_output import json_option, print_json
from rag.commands.paths import NamedPath
from rag.config import load_settings
from rag.errors import RagError
from rag.plurals import plural

if TYPE_CHECKING:
    from pathlib import Path

    from rag.config import Settings
    from rag.stores.archives.archive import Manifest, ModelRecord


@click.command()
@click.argument("file", type=NamedPath(dir_okay=False))
@click.option("--force", is_flag=True, help="If there is a database already, move it aside.")
@json_option
def restore(file: Path, force: bool, as_json: bool) -> None:  # noqa: FBT001
    """Bring an archive of `rag backup` up in the data directory (RAG_HOME).

    All of it is checked first; until then, and after any error, what is there stays as it is. Stop what uses the data
    directory before. Settings are not restored; models that are missing here are told.
    """
    from rag.erasure import remove_all
    from rag.stores.archives.backup import places
    from rag.stores.archives.restore import restore as restore_archive

    settings = load_settings()
    forget_states = partial(remove_all, settings.home / "kv")
    with reporting() as report:
        restored = restore_archive(
            file.absolute(), places=places(settings), forget_states=forget_states, force=force, report=report
        )
    manifest = restored.manifest
    notes = _notes(settings, manifest)
    if as_json:
        body = {**asdict(manifest), "home": str(settings.home), "notes": notes}
        print_json(body | {"moved_aside": [str(path) for path in restored.moved_aside]})
        return
    documents = sum(collection.documents for collection in manifest.collections)
    click.echo(
        f"{settings.home}: {plural(len(manifest.collections), 'collection')}, {plural(documents, 'document')}, "
        f"as of {manifest.created}"
    )
    for path in restored.moved_aside:
        click.echo(f"moved aside: {path}")
    for note in notes:
        click.echo(printable(f"note: {note}"), err=True)


def _notes(settings: Settings, manifest: Manifest) -> list[str]:
    """What is to be done before questions are answered here as they were there."""
    catalog = Catalog.load(settings)
    notes = [note for model in manifest.models if (note := _model_note(settings, catalog, model))]
    told = {model.name for model in manifest.models if model.name == settings.embedder}
    for embedder in dict.fromkeys(collection.embedder for collection in manifest.collections):
        names = [collection.name for collection in manifest.collections if collection.embedder == embedder]
        note = _embedder_note(catalog, embedder, names, missing_is_told=embedder.partition("@")[0] in told)
        notes += [note] if note else []
    if manifest.left_out:
        left_out = plural(len(manifest.left_out), "index file")
        notes.append(f"{left_out} left out of the backup: the first searches make anew what is missing.")
    return notes


def _embedder_note(catalog: Catalog, identity: str, collections: list[str], *, missing_is_told: bool) -> str | None:
    """Whether the embedder that made collections' vectors is here: each is searched with its own."""
    name, _, rest = identity.partition("@")
    of = f"The embedder of {', '.join(map(repr, collections))}, {name},"
    again = "; or embed anew: `indexer reembed --collection NAME`."
    try:
        here = catalog.resolve(name, kind="embedder")
    except RagError as error:
        return None if missing_is_told else f"{of} is not here: {str(error).rstrip('.')}{again}"
    if rest.partition("+")[0] != here.sha256[: len(rest.partition("+")[0])]:
        return f"{of} is another file here than the one that they were embedded with. Put that one back{again}"
    return None


def _model_note(settings: Settings, catalog: Catalog, model: ModelRecord) -> str | None:
    configured = settings.embedder if model.role == "embedder" else settings.generator
    if configured != model.name:
        return (
            f"The {model.role} was {model.name}; here RAG_{model.role.upper()} is {configured}. Set it to {model.name}."
        )
    try:
        here = catalog.resolve(model.name)
    except RagError as error:  # what to do is in it: the command that fetches the model
        return str(error)
    if model.sha256 not in (None, here.sha256):
        return f"The {model.role} {model.name} is another file here than where the backup was made."
    return None
