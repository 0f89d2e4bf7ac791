"""A command group that imports its subcommands on use: ``--help`` must not wait for what it does not need."""

from __future__ import annotations

import atexit
import codecs
import gc
import io
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from rag.commands.errors import ErrorHandlingGroup

if TYPE_CHECKING:
    from collections.abc import Mapping


# Imports make a hundred thousand objects that stay, and Python looks for cycles among them whenever there are 700 more.
_WHILE_IMPORTING: Final = 100_000
_AS_USUAL: Final = gc.get_threshold()


def _accept_all_letters(output: object) -> None:
    """Where the locale's encoding has no quotation marks, say, they are question marks; JSON is UTF-8 anyway."""
    if isinstance(output, io.TextIOWrapper) and codecs.lookup(output.encoding).name != "utf-8":
        if "--json" in sys.argv[1:]:
            output.reconfigure(encoding="utf-8")
        else:
            output.reconfigure(errors="replace")


class LazyGroup(ErrorHandlingGroup):
    """``targets`` names each subcommand's object as ``package.module:attribute``."""

    def __init__(self, *args: Any, targets: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self._targets = targets

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own
        gc.set_threshold(_WHILE_IMPORTING)
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)  # with torch it takes a second to find the cycles in what ends with the process
        _accept_all_letters(sys.stdout)
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return sorted(self._targets)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := get_close_matches(args[0], self._targets, n=1):
                raise click.UsageError(f"{error.message} Did you mean {near[0]}?", ctx) from error
            raise

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = self._targets.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(import_module(module), name)
        gc.freeze()
        gc.set_threshold(*_AS_USUAL)
        return command
