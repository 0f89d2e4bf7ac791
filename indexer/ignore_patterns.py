"""Lines of ignore files as regular expressions that take time in proportion to a path, whoever wrote them."""

from __future__ import annotations

from typing import Final

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# As pathspec writes wildcards. What a line says literally is escaped, and no slash is within brackets.
_ANY_CHARACTER: Final = "[^/]"
_ANY_CHARACTERS: Final = f"{_ANY_CHARACTER}*"
_ANY_FOLDERS_FIRST: Final = "^(?:.+/)?"
_ANY_FOLDERS: Final = "(?:/.+)?"


class IgnorePattern(GitIgnoreSpecPattern):
    """A line whose wildcards are not tried again: what lies between two of them is taken where it comes first.

    If it matches anywhere it matches so, as the next wildcard takes all that comes before what follows it.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: str) -> tuple[str | None, bool | None]:  # type: ignore[override] # of any string
        regex, include = super().pattern_to_regex(pattern)
        return None if regex is None else _by_folders(regex), include


def _by_folders(regex: str) -> str:
    first, *others = map(_by_characters, regex.split(_ANY_FOLDERS))
    if not others:
        return first
    if first.startswith(_ANY_FOLDERS_FIRST):
        first = f"^(?:.+?/)??{first.removeprefix(_ANY_FOLDERS_FIRST)}"
    *between, last = others
    return f"(?>{first}(?=/))" + "".join(f"(?>(?:/.+?)??{part}(?=/))" for part in between) + f"{_ANY_FOLDERS}{last}"


def _by_characters(regex: str) -> str:
    first, *others = regex.split(_ANY_CHARACTERS)
    if not others:
        return first
    *between, last = others
    return first + "".join(map(_after_any_characters, between)) + f"{_ANY_CHARACTERS}{last}"


def _after_any_characters(part: str) -> str:
    """What follows a wildcard and is followed by one; where a name ends in between, there is one way only."""
    ends_a_name = "/" in part.replace(_ANY_CHARACTER, "")
    return f"{_ANY_CHARACTERS}{part}" if ends_a_name else f"(?>{_ANY_CHARACTERS}?{part})"
