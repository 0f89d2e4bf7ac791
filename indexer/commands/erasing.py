"""What a command tells of the model state that went with the documents it deleted or replaced."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import rich_click as click

from indexer.commands.index_file import warn
from rag.commands.errors import printable
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rag.erasure import ErasureReport
    from rag.version_types import Searched


def as_object(report: ErasureReport) -> dict[str, Any]:
    """A report in ``--json``."""
    return asdict(report)


def tell(report: ErasureReport, *, quiet: bool = False) -> None:
    """For people: what was removed, if anything was and ``quiet`` is off; on standard error, what is left."""
    if report.removed and not quiet:
        click.echo(f"removed {report.removed} of {plural(report.files, 'file')} of model state")
    if report.problem is not None:
        warn(report.problem)


def tell_searched(report: Iterable[Searched]) -> None:
    """For people: where something that is gone for good was looked for."""
    for place in report:
        click.echo(f"{place.place}: {place.searched} searched, {place.removed} removed, {place.left} left")
        if place.note:
            click.echo(f"  {printable(place.note)}")
