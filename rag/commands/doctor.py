"""``rag doctor``: what is installed, configured, present and working on this machine."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.markup import escape

from indexer.parsing.confinement import confinement, described
from rag import __version__
from rag.commands.errors import EXIT_FAILED
from rag.commands.generator_checks import generator_checks
from rag.commands.json_output import json_option, print_json
from rag.config import load_settings, unknown_settings, variable
from rag.errors import RagError
from rag.factory import open_library
from rag.readiness import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from rag.config import Settings

_LIBRARIES = ("llama-cpp-python", "torch", "sentence-transformers", "faiss-cpu", "sqlalchemy", "litestar")


@click.command()
@json_option
@click.option("--quick", is_flag=True, help="Do not load the models.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, quick: bool) -> None:  # noqa: FBT001
    """Check this installation; exit status 1 if something would keep questions from being answered."""
    settings = load_settings()
    checks = [
        Check(
            name="program",
            ok=True,
            detail=f"Plumbline {__version__}, Python {platform.python_version()}, {platform.machine()}, "
            f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores",
        ),
        Check(name="libraries", ok=True, detail=", ".join(f"{name} {version(name)}" for name in _LIBRARIES)),
        Check(name="settings", ok=True, detail=_set(settings)),
        Check(name="models directory", ok=settings.models_dir.is_dir(), detail=str(settings.models_dir)),
        Check(name="parsers", ok=True, detail=described(*confinement())),
    ]
    try:
        with open_library(settings) as library:
            checks.append(Check(name="data directory", ok=True, detail=str(settings.home)))
            if not quick:
                checks += _loading(library.warm_up)
            # What --quick has not loaded is no fault.
            checks += [
                replace(check, ok=check.ok or (quick and "not loaded yet" in check.detail))
                for check in library.readiness()
            ]
            checks += generator_checks(library)
    except RagError as error:
        checks.append(Check(name="data directory", ok=False, detail=str(error)))
    healthy = all(check.ok for check in checks)
    if as_json:
        body = {"ok": healthy, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]}
        print_json(body)
    else:
        console = Console(file=sys.stdout, soft_wrap=True)
        for check in checks:
            mark = "[green]ok[/]  " if check.ok else "[red]fail[/]"
            console.print(f"{mark} [bold]{escape(check.name)}[/]: {escape(check.detail)}")
    if not healthy:
        ctx.exit(EXIT_FAILED)


def _set(settings: Settings) -> str:
    """Which are not the default, without their values: some are secrets."""
    names = ", ".join(sorted(map(variable, settings.model_fields_set)))
    none = "".join(f"; {name} is no setting" for name in unknown_settings())
    return f"{f'set: {names}' if names else 'the defaults'}{none}"


def _loading(warm_up: Callable[[], None]) -> list[Check]:
    """Load the models; a failure is one line of the report, not the end of it."""
    try:
        warm_up()
    except RagError as error:
        return [Check(name="models", ok=False, detail=str(error))]
    return []
