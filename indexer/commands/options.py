"""Options that commands share."""

from __future__ import annotations

import rich_click as click

from rag.types import DEFAULT_COLLECTION

collection_option = click.option(
    "-c", "--collection", default=DEFAULT_COLLECTION, show_default=True, help="The collection to work on."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
