"""What is embedded besides a chunk's own words: where it stands. What is quoted stays the verbatim text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEPARATOR = " › "


def contextual_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Return the text to embed: a line with title and headings, an empty line, the chunk.

    The title is not repeated where the outermost heading equals it; without title and headings it is the text alone.
    """
    headings = [heading for heading in heading_path if heading]
    if title and (not headings or headings[0] != title):
        headings.insert(0, title)
    return f"{_SEPARATOR.join(headings)}\n\n{text}" if headings else text
