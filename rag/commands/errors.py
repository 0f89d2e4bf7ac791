"""How the command line reports errors: a stable code, what happened and what to do, and an exit status."""

from __future__ import annotations

import json
import sys
from typing import Any

import rich_click as click
from rich.console import Console
from rich.markup import escape

from rag.errors import RagError

EXIT_FAILED = 1


_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Text from documents or file names, unable to steer a terminal: control characters become U+FFFD."""
    return text.translate(_CONTROLS)


def report(error: RagError, *, as_json: bool) -> None:
    """Print an error: an object on standard output with ``--json``, otherwise lines on standard error."""
    if as_json:
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        click.echo(json.dumps(body, ensure_ascii=False))
        return
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]error\\[{error.code}][/]: {escape(printable(error.message))}")
    if error.hint:
        console.print(f"  {escape(printable(error.hint))}")


class ErrorHandlingGroup(click.RichGroup):
    """A command group that turns ``RagError`` into a report and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except RagError as error:
            report(error, as_json="--json" in sys.argv[1:])
            ctx.exit(EXIT_FAILED)
