"""Captions that stand beside a table, for formats that mark captions and do not say of what."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from indexer.parsers.blocks import Block, BlockKind, short_caption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from indexer.parsers.blocks import Parsed

_TABLE = re.compile(
    r"^:\s|^[*_]*(?:table|tab|tabelle|tableau|tabla|tabella|tabela|tabel|tabell|tabulka|taulukko|táblázat|tablo|πίνακας|таблица|"
    r"таблиця|табл)\b|^(?:表|표)",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"^!\[|^[*_]*(?:fig|figure|figura|figuur|figur|abbildung|abb|bild|illustration|image|photo|picture|chart|graph|diagramm?|"
    r"scheme|map|plate|drawing|kuva|obrázek|rysunek|ábra|şekil|εικόνα|рисунок|рис|equation|formula|listing|code|"
    r"algorithm)\b|^(?:図|图|圖|그림)",
    re.IGNORECASE,
)

# A caption, and no sentence that begins with what it speaks of.
_NUMBERED = re.compile(
    r"^[*_]*(?:table|figure|fig|tab|tabelle|abbildung|abb|tableau|tabla|figura|tabella)\.?\s*"
    r"[A-Z]?\d+(?:[.\-]\d+)*[a-z]?\s*(?:[:.|–—*_]|\s(?=(?-i:[A-Z]))|$)",
    re.IGNORECASE,
)
# As Pandoc reads it in Markdown.
_MARKED = re.compile(r"^(?:table)?:\s+\S", re.IGNORECASE)


def is_caption(text: str) -> bool:
    """Whether a paragraph calls itself a numbered table or figure, where a format has no other mark for captions."""
    return _NUMBERED.match(text) is not None


def is_marked_caption(text: str) -> bool:
    """Whether a paragraph of Markdown begins as the caption of a table does."""
    return is_caption(text) or _MARKED.match(text) is not None


def by_their_words(found: Iterable[Parsed]) -> Iterator[Parsed]:
    """As ``beside_tables``, with paragraphs that call themselves a table's or a figure's as captions."""
    yield from beside_tables(
        replace(item, kind=BlockKind.CAPTION)
        if isinstance(item, Block) and item.kind is BlockKind.PARAGRAPH and is_caption(item.text)
        else item
        for item in found
    )


def beside_tables(found: Iterable[Parsed]) -> Iterator[Parsed]:
    """Yield all that is found, with what a caption says on the table that it stands next to.

    A caption below a table has to call itself a table's; one above may also say nothing of what it is of. Where both
    sides have a table, it is that of the one above, if nothing stands above that.
    """
    held: list[Block] = []  # a table without a caption, until it is known what follows
    above, reached = "", False  # what stands above, and whether its table has begun
    for item in found:
        if not isinstance(item, Block):
            yield item
        elif item.kind is BlockKind.TABLE:
            if item.header is None or item.caption:  # another table; pieces of one have a header
                yield from held
                held, above = [], "" if reached else above
            if item.caption or above:
                reached = True
                yield replace(item, caption=item.caption or above)
            else:
                held.append(item)
        else:
            caption = item.text.strip() if item.kind is BlockKind.CAPTION else ""
            below = _called(caption) if held and _TABLE.match(caption) else ""
            yield from (replace(block, caption=below) if below else block for block in held)
            held = []
            reached = False
            above = "" if below or _OTHER.match(caption) else _called(caption)
            yield item
    yield from held


def _called(caption: str) -> str:
    return short_caption(caption.removeprefix(":"))
