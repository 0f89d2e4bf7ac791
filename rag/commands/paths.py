"""Paths on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import rich_click as click

_NO_PATH: Final = "A path is empty: see whether the variable that it comes from is set, and write . for this directory."
_NO_STREAM: Final = "- stands for no standard input or output here: name a file, or write ./- for one of that name."


def misnamed(path: str) -> str | None:
    """Why a text names no path that anybody meant: an empty one would be the working directory, ``-`` a file."""
    return {"": _NO_PATH, "-": _NO_STREAM}.get(path)


class NamedPath(click.Path):
    """A file or folder that is named."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay, readable=False)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if (why := misnamed(os.fspath(value))) is not None:
            self.fail(why, param, ctx)
        return super().convert(value, param, ctx)
