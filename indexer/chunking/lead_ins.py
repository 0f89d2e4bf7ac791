"""Lead-ins: short paragraphs that announce the table, list or code right below them."""

from __future__ import annotations

from typing import Final

from indexer.parsers.blocks import BlockKind

_MAX_CHARS: Final = 300
_LED_TO: Final = frozenset({BlockKind.TABLE, BlockKind.LIST, BlockKind.CODE})
# Of Latin and most others, of Chinese and Japanese, of Ethiopic and of Mongolian.
_COLONS: Final = (":", "：", "︰", "﹕", "︓", "꞉", "፥", "፦", "᠄")
_ENDS: Final = tuple(".!?…。！？｡।॥۔؟։።៖။܀;,")
# Marks of emphasis and quotation that may close a text.
_CLOSING: Final = "*_`\"'”’»›)]"


def leads_in(text: str, kind: BlockKind, following: BlockKind) -> bool:
    """Whether a block announces the one that follows: by its colon, or above a table as a title without an end."""
    if kind is not BlockKind.PARAGRAPH or following not in _LED_TO:
        return False
    said = text.strip()
    if not said or len(said) > _MAX_CHARS:
        return False
    if said.rstrip(_CLOSING).endswith(_COLONS):
        return True
    return following is BlockKind.TABLE and "\n" not in said and not said.rstrip(_CLOSING).endswith(_ENDS)
