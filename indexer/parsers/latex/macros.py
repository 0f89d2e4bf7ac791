"""What a LaTeX document defines for itself: a macro without parameters stands for its text, others are left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.latex.tokens import Kind
from indexer.parsers.latex.vocabulary import LEVELS

if TYPE_CHECKING:
    from indexer.parsers.latex.arguments import Arguments

DEFINING: Final = frozenset({"newcommand", "renewcommand", "providecommand", "def"})

_MAX_EXPANSIONS: Final = 20_000
_MAX_EXPANSION_DEPTH: Final = 8


class Macros:
    """The bodies of macros, as ranges of the document's tokens."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._bodies: dict[str, tuple[int, int]] = {}
        self._expansions = 0

    def expand(self, name: str, depth: int) -> tuple[int, int] | None:
        """The tokens, from and to, that a macro met ``depth`` expansions deep stands for.

        None if it is not known, or if there are too many expansions, all together or within each other.
        """
        if name not in self._bodies:
            return None
        self._expansions += 1
        allowed = depth < _MAX_EXPANSION_DEPTH and self._expansions <= _MAX_EXPANSIONS
        return self._bodies[name] if allowed else None

    def define(self, name: str, after: int) -> int:
        """Read what follows the macro ``name`` that defines one; returns where to go on."""
        tokens, start = self._arguments.tokens, after
        if name == "def":
            token = tokens[after] if after < len(tokens) else None
            defined = token.text if token is not None and token.kind is Kind.MACRO else ""
            after += 1
            while after < len(tokens) and self._arguments.group_end(after) is None and after - start < 12:
                after += 1
            plain = after == start + 1
        else:
            close = self._arguments.group_end(after)
            group = tokens[after : close or after]
            defined = next((token.text for token in group if token.kind is Kind.MACRO), "")
            after = (close or after) + 1
            body = self._arguments.after_options(after)
            plain, after = body == after, body
        close = self._arguments.group_end(after)
        if close is None:
            return after
        if plain and defined and defined not in LEVELS:
            self._bodies[defined] = (after + 1, close)
        return close + 1
