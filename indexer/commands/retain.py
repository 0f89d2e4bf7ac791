"""``indexer retain``: how long a collection keeps what was replaced or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from indexer.commands.options import Days, collection_option
from rag.commands.errors import on_one_line
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings
from rag.factory import open_library
from rag.plurals import plural, plural_days

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rag.config import Settings
    from rag.types import CollectionStatus


@click.command()
@click.argument("days", type=Days(), required=False, metavar="[DAYS]")
@collection_option
@json_option
def retain(days: float | None, collection: str, as_json: bool) -> None:  # noqa: FBT001
    """Set or show how many days replaced and deleted documents can be asked about; 0 keeps none.

    It holds for every program from then on, whatever RAG_RETENTION_DAYS says: that is for new collections. Nothing is
    deleted by this command; the next ingest, a running service within the hour, or `indexer prune` deletes what is
    older. What is gone does not come back with a longer time.
    """
    with open_library(load_settings()) as library:
        target = library.store.collection(collection)
        before = library.store.status(target).retention_days
        if days is not None:
            library.store.set_retention(target, days)
        state = library.store.status(target)
    if as_json:
        print_json({"collection": collection, "retention_days": state.retention_days, "before": before})
        return
    past = f"{plural(state.past_versions, 'past version')} since {state.history_begins}"
    was = "" if before == state.retention_days else f", not {before:g} any more"
    click.echo(f"{on_one_line(collection)}: versions are kept for {plural_days(state.retention_days)}{was}; {past}")


def unlike_setting(settings: Settings, states: Iterable[CollectionStatus]) -> str | None:
    """A note if RAG_RETENTION_DAYS was set to what some collections do not follow: who set it may think they do."""
    if "retention_days" not in settings.model_fields_set:
        return None
    other = [on_one_line(state.collection.name) for state in states if state.retention_days != settings.retention_days]
    if not other:
        return None
    return (
        f"note: RAG_RETENTION_DAYS={settings.retention_days:g} is for new collections, and {', '.join(other)} "
        f"{'keeps' if len(other) == 1 else 'keep'} versions for another time; change it with "
        f"`indexer retain -c {other[0]} {settings.retention_days:g}`"
    )
