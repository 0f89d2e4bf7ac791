"""Write docs/cli.md from the commands' own help; a test compares the two. What stands before the first stays."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indexer.cli import main as indexer
from rag.cli import main as rag

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).with_name("cli.md")
_BEGIN = "\n## rag\n"


def render() -> str:
    """The whole page."""
    head = TARGET.read_text(encoding="utf-8").partition(_BEGIN)[0]
    return head + "".join(_page("rag", rag)) + "".join(_page("indexer", indexer))


def _page(name: str, command: click.Command, parent: click.Context | None = None, depth: int = 2) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    path = context.command_path
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    formatter = click.HelpFormatter(width=100)
    formatter.write_text(inspect.cleandoc(command.help or ""))
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context))]
    if records:
        formatter.write_paragraph()
        formatter.write_dl(records)
    yield f"\n{'#' * depth} {path}\n\n```text\n{usage}\n\n{formatter.getvalue().rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _page(child, found, context, min(depth + 1, 4))


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
