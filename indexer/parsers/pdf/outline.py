"""The outline (bookmarks) of a PDF: which lines are headings, and of which level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.pdf.blocks import folded

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_MAX_ENTRIES: Final = 20_000
_MAX_LEVEL: Final = 6


def outline_levels(document: PdfDocument) -> dict[tuple[int, str], int]:
    """Levels from 1, by page (from 1) and folded title. Empty if there is no outline or it is damaged."""
    import pypdfium2

    levels: dict[tuple[int, str], int] = {}
    try:
        for entry in document.get_toc(max_depth=_MAX_LEVEL):
            target = entry.get_dest()
            page = target.get_index() if target is not None else None
            title = folded(entry.get_title())
            if page is not None and title:
                levels[page + 1, title] = min(_MAX_LEVEL, entry.level + 1)
            if len(levels) >= _MAX_ENTRIES:
                break
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        # Headings are told by their font then.
        return {}
    return levels
