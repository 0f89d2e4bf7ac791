"""Strings that a document defines and then names."""

from __future__ import annotations

from typing import Final

_LEAST_ROOM: Final = 100_000


class Strings(dict[str, str]):
    """Values of names. What they put in is no longer in all than the document's text, for each may be named often."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._room = max(len(text), _LEAST_ROOM)

    def shown(self, name: str, otherwise: str) -> str:
        """The value of a name; ``otherwise`` where it has none, or no room is left."""
        value = self.get(name, otherwise)
        return value if self.has_room(len(value) - len(otherwise)) else otherwise

    def has_room(self, length: int) -> bool:
        """Whether so much more may be put in. It is taken either way."""
        self._room -= length
        return self._room >= 0
