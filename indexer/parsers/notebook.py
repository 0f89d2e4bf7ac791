"""Jupyter notebooks: text cells as Markdown, code cells as code, and what they printed; pictures are left out."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import Block, BlockKind, Notice, Parsed, Title, bounded
from indexer.parsers.decoding import TextReader, storable
from indexer.parsers.markdown.parser import parse_markdown
from rag.errors import SourceDamaged
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What a terminal overwrites: the earlier states of a progress bar.
_OVERWRITTEN = re.compile(r"[^\r\n]*\r+(?=[^\r\n])")
_PLACEHOLDER = re.compile(r"<[^<>\n]*>")
_LEVELS: Final = range(1, 7)
# Longer outputs are logs and dumps; their beginning tells what they are.
_MAX_OUTPUT_CHARS: Final = 4000


def parse_notebook(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the cells of a notebook (nbformat 3 and 4) in order.

    Raises:
        SourceDamaged: it is no notebook.
    """
    with TextReader(file, encoding) as reader:
        text = reader.read()
        if not text.strip():
            return
        try:
            notebook = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SourceDamaged(f"This is not a notebook: {error}.", hint="Open it in Jupyter and save it.") from error
        cells = _cells(notebook)
        title = notebook.get("metadata", {}).get("title") if isinstance(notebook.get("metadata"), dict) else None
        if isinstance(title, str) and title.strip():
            yield Title(text=storable(title))
        clipped = 0
        for cell in cells:
            for found in _cell(cell):
                if isinstance(found, int):
                    clipped += found
                else:
                    yield found
        if clipped:
            yield Notice(message=f"{plural(clipped, 'output')} of more than {_MAX_OUTPUT_CHARS:,} characters cut off.")
        yield from reader.notices()


def _cells(notebook: object) -> list[dict[str, Any]]:
    if isinstance(notebook, dict):
        cells = notebook.get("cells")
        if cells is None and isinstance(notebook.get("worksheets"), list):  # nbformat 3
            sheets = [sheet for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
            cells = [cell for sheet in sheets for cell in _listed(sheet.get("cells"))]
        if isinstance(cells, list):
            return [cell for cell in cells if isinstance(cell, dict)]
    raise SourceDamaged("This is not a notebook: it has no cells.", hint="Open it in Jupyter and save it.")


def _cell(cell: dict[str, Any]) -> Iterator[Parsed | int]:
    source = _text(cell.get("source", cell.get("input", "")))
    kind = _text(cell.get("cell_type"))
    if kind == "code":
        if source.strip():
            yield from bounded(Block(text=source.rstrip("\n") + "\n\n", kind=BlockKind.CODE))
        for output in _listed(cell.get("outputs")):
            text = _output(output) if isinstance(output, dict) else ""
            yield len(text) > _MAX_OUTPUT_CHARS
            if text.strip():
                yield Block(text=text[:_MAX_OUTPUT_CHARS].rstrip() + "\n\n", kind=BlockKind.CODE)
    elif kind in {"markdown", "heading"}:
        if kind == "heading":  # nbformat 3
            level = cell.get("level")
            source = f"{'#' * next((each for each in _LEVELS if each == level), 1)} {source}"
        # Each cell is Markdown of its own, so that an open code fence ends with it.
        for block in parse_markdown(io.BytesIO(f"{source.rstrip()}\n\n".encode()), "utf-8"):
            if isinstance(block, Block):
                yield block
    elif source.strip():
        yield from bounded(Block(text=source.rstrip("\n") + "\n\n"))


def _output(output: dict[str, Any]) -> str:
    if _text(output.get("output_type")) in {"error", "pyerr"}:
        return storable(f"{output.get('ename', '')}: {output.get('evalue', '')}")
    data = output.get("data") if isinstance(output.get("data"), dict) else output
    found = data.get("text/plain", data.get("text", "")) if isinstance(data, dict) else ""
    text = _OVERWRITTEN.sub("", _ESCAPES.sub("", _text(found)).replace("\r\n", "\n"))
    # What stands for a picture where none can be shown: "<Figure size 640x480 with 1 Axes>".
    is_picture = isinstance(data, dict) and any(kind.startswith("image/") for kind in data)
    return "" if is_picture and _PLACEHOLDER.fullmatch(text.strip()) else text


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(source: object) -> str:
    """A text of nbformat: a string or a list of lines."""
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return storable(source) if isinstance(source, str) else ""
