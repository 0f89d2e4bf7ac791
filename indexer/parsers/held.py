"""Text to be read as it stands: a mark is in its place while what is around it is read."""

from __future__ import annotations

import re
from typing import Final

# Both signs are what Unicode calls noncharacters, and no entity stands for them.
HELD = re.compile("\ufdd0(\\d+)\ufdd1")
_NO_CHARACTERS: Final = dict.fromkeys(map(ord, "\ufdd0\ufdd1"))


def without_marks(text: str) -> str:
    """The text without what could be taken for a mark in it."""
    return text.translate(_NO_CHARACTERS)


class Held:
    """The texts of one source, or of a part of it."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def hold(self, text: str) -> str:
        """The mark that stands for a text."""
        self._texts.append(text)
        return f"\ufdd0{len(self._texts) - 1}\ufdd1"

    def put_back(self, text: str) -> str:
        return HELD.sub(lambda held: self._texts[int(held[1])], text)
