"""The ``indexer`` command."""

from __future__ import annotations

import logging

import rich_click as click

from rag import __version__
from rag.commands.lazy import LazyGroup
from rag.telemetry import configure_logging

_COMMANDS = {
    "changes": "indexer.commands.history:changes",
    "delete": "indexer.commands.delete:delete",
    "drop": "indexer.commands.drop:drop",
    "export": "indexer.commands.exchange:export_collection",
    "history": "indexer.commands.history:history",
    "import": "indexer.commands.exchange:import_collection",
    "ingest": "indexer.commands.ingest:ingest",
    "jobs": "indexer.commands.jobs:jobs",
    "list": "indexer.commands.inventory:list_documents",
    "prune": "indexer.commands.history:prune",
    "rebuild": "indexer.commands.rebuild:rebuild",
    "reembed": "indexer.commands.reembed:reembed",
    "rename": "indexer.commands.rename:rename",
    "retain": "indexer.commands.retain:retain",
    "rollback": "indexer.commands.rollback:rollback",
    "sync": "indexer.commands.sync:sync",
    "verify": "indexer.commands.verify:verify",
    "watch": "indexer.commands.watch:watch",
    "worker": "indexer.commands.worker:worker",
    "status": "indexer.commands.inventory:status",
}


@click.group(cls=LazyGroup, targets=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plumbline")
@click.option("-v", "--verbose", is_flag=True, help="Log what the program does to standard error.")
def main(verbose: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Takes documents in, lists them and lets them go."""
    configure_logging(level=logging.DEBUG if verbose else logging.WARNING)


if __name__ == "__main__":
    main()
