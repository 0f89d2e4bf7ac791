"""Options that commands share."""

from __future__ import annotations

from math import isnan

import rich_click as click

from rag.commands.errors import WrongUsage
from rag.config import LONGEST_RETENTION_DAYS
from rag.types import DEFAULT_COLLECTION
from rag.unicode import is_storable


def storable(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    """Callback of an option that names a collection: locks and jobs are called so before any store is asked."""
    if name == "":
        raise WrongUsage(
            "The name of the collection is empty.", hint="See whether the variable that it is from is set."
        )
    if name is not None and not is_storable(name):
        raise WrongUsage(f"{name!r} cannot be the name of a collection.", hint="Write the name as UTF-8.")
    return name


collection_option = click.option(
    "-c",
    "--collection",
    default=DEFAULT_COLLECTION,
    show_default=True,
    callback=storable,
    help="The collection to work on.",
)


class Days(click.FloatRange):
    """An age in days that can be counted back from today."""

    def __init__(self) -> None:
        super().__init__(min=0, max=LONGEST_RETENTION_DAYS)

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        days: float = super().convert(value, param, ctx)
        if isnan(days):  # it is in no range and out of none
            self.fail(f"{value!r} is not a number.", param, ctx)
        return days
