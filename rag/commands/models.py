"""``rag models``: what models there are, fetching them, and whether they are intact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from rag.catalog import Catalog
from rag.commands.json_output import json_lines_option, json_option, print_json
from rag.commands.pull_display import JsonLines, TerminalProgress, human_bytes
from rag.config import load_settings
from rag.errors import ModelError

if TYPE_CHECKING:
    from rag.catalog import ModelEntry, ModelState


@click.group()
def models() -> None:
    """List, fetch and check the models Plumbline runs on."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List the models of the catalog and which of them are on this machine.

    A model that was never checked is read once in full; after that, size and modification time decide.
    """
    settings = load_settings()
    catalog = Catalog.load(settings)
    configured = set(catalog.default_names(settings))
    rows = [(entry, catalog.state(entry.name)) for entry in catalog.entries]
    if as_json:
        print_json({"models": [_as_object(entry, state, configured) for entry, state in rows]})
        return
    name_width = max(len(entry.name) for entry, _ in rows)
    for entry, state in rows:
        mark = "*" if entry.name in configured else " "
        size = human_bytes(entry.bytes)
        click.echo(f"{mark} {entry.name:<{name_width}}  {entry.kind:<9}  {size:>8}  {entry.licence:<10}  {state}")
    click.echo("* configured (RAG_EMBEDDER, RAG_GENERATOR)", err=True)


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_lines_option
def pull(names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Fetch models, by default the configured ones; what is there already is only checked.

    A pull that was interrupted goes on where it stopped. With --json, events are printed as JSON lines.
    """
    settings = load_settings()
    catalog = Catalog.load(settings)
    display = JsonLines() if as_json else TerminalProgress()
    with display:
        for name in names or catalog.default_names(settings):
            display.ready(catalog.pull(name, display))


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Read every byte of models, by default the configured ones, and compare with the catalog."""
    settings = load_settings()
    catalog = Catalog.load(settings)
    results: list[dict[str, str]] = []
    for name in names or catalog.default_names(settings):
        try:
            model = catalog.verify(name)
        except ModelError as error:
            result = {"name": name, "state": error.code, "message": error.message, "hint": error.hint}
        else:
            result = {"name": name, "state": "verified", "sha256": model.sha256, "path": str(model.path)}
        results.append(result)
        if not as_json:
            click.echo(f"{name}: {result['state']}")
            if "message" in result:
                click.echo(f"  {result['message']}\n  {result['hint']}", err=True)
    if as_json:
        print_json({"models": results})
    if any(result["state"] != "verified" for result in results):
        ctx.exit(1)


@models.command()
@click.argument("name")
@json_option
def path(name: str, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Print where a model lies, after making sure that it is intact."""
    model = Catalog.load(load_settings()).resolve(name)
    if as_json:
        print_json({"name": model.name, "path": str(model.path), "sha256": model.sha256})
    else:
        click.echo(model.path)


def _as_object(entry: ModelEntry, state: ModelState, configured: set[str]) -> dict[str, object]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "title": entry.title,
        "bytes": entry.bytes,
        "licence": entry.licence,
        "state": state,
        "configured": entry.name in configured,
        "sources": [source.label for source in entry.sources],
    }
