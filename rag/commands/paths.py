"""Paths on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import rich_click as click

NO_PATH: Final = "A path is empty: see whether the variable that it comes from is set, and write . for this directory."


class NamedPath(click.Path):
    """A file or folder that is named: an empty text would be the working directory, which nobody meant."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay, readable=False)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if not os.fspath(value):
            self.fail(NO_PATH, param, ctx)
        return super().convert(value, param, ctx)
