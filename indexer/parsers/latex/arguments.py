"""Where the arguments of LaTeX macros end: groups in braces, options in brackets, white space between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.latex.tokens import Kind, Token, partners
from indexer.parsers.latex.vocabulary import FLOATS

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_OPTION_TOKENS: Final = 400
_STAR: Final = Token(Kind.TEXT, "*")
_CAPTION: Final = Token(Kind.MACRO, "caption")


class Arguments:
    """The tokens of a source with the ends of their groups. Places are numbers of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.partners = partners(tokens)
        # Of environments that hold tables, by the place of their beginning: the place of their caption.
        self.captions = _captions(tokens)

    def group_end(self, at: int) -> int | None:
        """Where the group closes that opens here, if one does."""
        return self.partners.get(at)

    def after_options(self, at: int) -> int:
        """Where ``[…]`` that stands here ends, if it does."""
        at = self._after_space(at, Kind.BRACKET)
        if at < len(self.tokens) and self.tokens[at] == Token(Kind.BRACKET, "["):
            number = at + 1
            while number < min(len(self.tokens), at + _MAX_OPTION_TOKENS):
                if self.tokens[number] == Token(Kind.BRACKET, "]"):
                    return number + 1
                number = self.partners.get(number, number) + 1
        return self._after_space(at, Kind.OPEN)

    def after_arguments(self, at: int, count: int = 9) -> int:
        """Where up to so many groups, and the options among them, end. A star before a group may stand for one."""
        at = self.after_options(at)
        for _ in range(count):
            starred = self.tokens[at : at + 1] == [_STAR] and at + 1 in self.partners
            close = at if starred else self.partners.get(at)
            if close is None:
                break
            at = self.after_options(close + 1)
        return at

    def _after_space(self, at: int, kind: Kind) -> int:
        """Past white space, if what is asked for follows it."""
        is_space = at + 1 < len(self.tokens) and self.tokens[at].kind is Kind.TEXT and self.tokens[at].text.isspace()
        return at + 1 if is_space and self.tokens[at + 1].kind is kind else at


def _captions(tokens: Sequence[Token]) -> dict[int, int]:
    captions: dict[int, int] = {}
    open_at: list[int] = []
    for at, token in enumerate(tokens):
        if token.kind is Kind.BEGIN and token.text.rstrip("*") in FLOATS:
            open_at.append(at)
        elif token.kind is Kind.END and open_at and token.text == tokens[open_at[-1]].text:
            open_at.pop()
        elif token == _CAPTION and open_at:
            captions.setdefault(open_at[-1], at)
    return captions
