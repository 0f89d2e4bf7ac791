"""The ``rag`` command."""

from __future__ import annotations

import logging

import rich_click as click

from rag import __version__
from rag.commands.lazy import LazyGroup
from rag.telemetry import configure_logging

_COMMANDS = {
    "ask": "rag.commands.ask:ask",
    "backup": "rag.commands.backup:backup",
    "doctor": "rag.commands.doctor:doctor",
    "eval": "rag.commands.evaluate:evaluate",
    "migrate": "rag.commands.migrate:migrate",
    "models": "rag.commands.models:models",
    "restore": "rag.commands.restore:restore",
    "search": "rag.commands.ask:search",
    "serve": "rag.commands.serve:serve",
    "tune": "rag.commands.tune:tune_collection",
}


@click.group(cls=LazyGroup, targets=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plumbline")
@click.option("-v", "--verbose", is_flag=True, help="Log what the program does to standard error.")
def main(verbose: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Answers from your own documents, every sentence backed by a passage you can open."""
    configure_logging(level=logging.DEBUG if verbose else logging.WARNING)
