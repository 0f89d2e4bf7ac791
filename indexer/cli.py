"""The ``indexer`` command."""

from __future__ import annotations

import logging
from importlib import import_module

import rich_click as click

from rag import __version__
from rag.commands.errors import ErrorHandlingGroup
from rag.telemetry import configure_logging

# Imported when the command is used: `indexer --help` must not wait for libraries it does not need.
_COMMANDS = {
    "delete": "indexer.commands.delete:delete",
    "ingest": "indexer.commands.ingest:ingest",
    "list": "indexer.commands.inventory:list_documents",
    "rebuild": "indexer.commands.rebuild:rebuild",
    "status": "indexer.commands.inventory:status",
}


class LazyGroup(ErrorHandlingGroup):
    """Finds subcommands by name and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plumbline")
@click.option("-v", "--verbose", is_flag=True, help="Log what the program does to standard error.")
def main(verbose: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Takes documents in, lists them and lets them go."""
    configure_logging(level=logging.DEBUG if verbose else logging.WARNING)


if __name__ == "__main__":
    main()
