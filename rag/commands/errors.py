"""How the command line reports errors: a stable code, what happened and what to do, and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from rich.console import Console
from rich.markup import escape

from rag.commands.json_output import print_json
from rag.config import load_settings
from rag.errors import DiskFull, InvalidRequest, RagError, UnknownCollection

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # as shells say it of what SIGINT ended

_Read = TypeVar("_Read")
_Given = TypeVar("_Given")

_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
# Half a pair, or a byte that is no UTF-8: a terminal refuses the whole line for it.
_CONTROLS |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
# What else a file's name may not do to its line: end it, or show it in another order than it is in.
_LINE = dict.fromkeys(map(ord, "\n\t\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"), "\ufffd")


def printable(text: str) -> str:
    """Text from documents or file names, that steers no terminal: control characters and surrogates become U+FFFD."""
    return text.translate(_CONTROLS)


def on_one_line(text: str) -> str:
    """As ``printable``, of a name or of what is said with names in it: it stays on its line, in its order."""
    return printable(text).translate(_LINE)


class WrongUsage(InvalidRequest):
    """An option has a value that is wrong whatever is stored."""


def usage(read: Callable[[_Given], _Read]) -> Callable[[click.Context, click.Parameter, _Given], _Read]:
    """An option's callback of a function that reads its value; what that finds invalid is wrong usage."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: _Given) -> _Read:
        try:
            return read(value)
        except InvalidRequest as error:
            raise WrongUsage(error.message, hint=error.hint) from error

    return callback


def report(error: RagError, *, as_json: bool) -> None:
    """Print an error: an object on standard output with ``--json``, otherwise lines on standard error."""
    if isinstance(error, UnknownCollection):  # as all are where the path is mistyped
        error.hint = f"{error.hint} RAG_HOME is {load_settings().home}."
    if as_json:
        body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        print_json(body)
        return
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]error\\[{error.code}][/]: {escape(printable(error.message))}")
    if error.hint:
        console.print(f"  {escape(printable(error.hint))}")


def _as_json() -> bool:
    return "--json" in sys.argv[1:]


class ErrorHandlingGroup(click.RichGroup):
    """A command group that turns ``RagError`` into a report and exit status 1, 2 for ``WrongUsage``, 130 for Ctrl-C."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = error.filename or "the output"
            full = DiskFull(f"The disk is full that {where} is written to.", hint="Free some space and try again.")
            report(full, as_json=False)  # there is no room for it where JSON goes
            sys.exit(EXIT_FAILED)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        if os.environ.get("NO_COLOR"):  # https://no-color.org; Rich heeds it, click does not
            ctx.color = False
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not _as_json():
                raise
            hint = f"`{error.ctx.command_path} --help` says how it is called." if error.ctx else ""
            report(WrongUsage(error.format_message(), hint=hint), as_json=True)
            ctx.exit(EXIT_USAGE)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except RagError as error:
            report(error, as_json=_as_json())
            ctx.exit(EXIT_USAGE if isinstance(error, WrongUsage) else EXIT_FAILED)
