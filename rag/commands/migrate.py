"""``rag migrate``: bring the database to this program's revision and exit."""

from __future__ import annotations

import rich_click as click

from rag.config import load_settings
from rag.factory import open_library


@click.command()
def migrate() -> None:
    """Create the data directory's database, or bring it to this program's revision."""
    with open_library(load_settings()) as library:
        click.echo(f"The database is at revision {library.database.revision}.", err=True)
