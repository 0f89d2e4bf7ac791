"""The index file after a command has changed a collection: a cache, so failing to write it is only worth a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from rag.commands.errors import printable
from rag.errors import EmbedderChanged, StorageError

if TYPE_CHECKING:
    from rag.errors import RagError
    from rag.factory import Library
    from rag.types import Collection


def write_index(library: Library, collection: Collection) -> StorageError | None:
    """Write an index file if it is worth it, as ``LiveVectors.flush`` does; returns what kept it from being written."""
    try:
        library.vectors.flush(collection)
    except StorageError as error:
        return error
    except EmbedderChanged:
        pass  # embedded anew meanwhile, and whoever did so has written the index
    return None


def warn(problem: RagError) -> None:
    """Tell people, on standard error."""
    click.echo(printable(f"warning[{problem.code}]: {problem.message}\n  {problem.hint}"), err=True)
