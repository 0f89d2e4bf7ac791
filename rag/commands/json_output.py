"""What ``--json`` prints: UTF-8, an object a line."""

from __future__ import annotations

import json

import rich_click as click

from rag.unicode import is_storable

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
json_lines_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")


def json_line(value: object) -> str:
    """One line. Bytes of names that are no UTF-8 are escaped, as nothing else could be."""
    line = json.dumps(value, ensure_ascii=False)
    return line if is_storable(line) else json.dumps(value)


def print_json(value: object) -> None:
    """One line on standard output."""
    click.echo(json_line(value))
