"""Lines of ignore files as regular expressions that take time in proportion to a path, whoever wrote them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# As pathspec writes wildcards and ends. What a line says literally is escaped, and no slash is within brackets.
_ANY_CHARACTER: Final = "[^/]"
_ANY_CHARACTERS: Final = f"{_ANY_CHARACTER}*"
_ANY_FOLDERS_FIRST: Final = "^(?:.+/)?"
_ANY_FOLDERS: Final = "(?:/.+)?"
_BELOW: Final = "(?P<ps_d>/)"
_END_OR_BELOW: Final = f"(?:{_BELOW}|$)"


class IgnoreLine(NamedTuple):
    """What a line names: a path itself, not what lies below. ``include``: it leaves that out; else it takes it in."""

    regex: re.Pattern[str]
    include: bool
    only_folders: bool


def ignore_lines(lines: Iterable[str]) -> list[IgnoreLine]:
    """The lines that name anything, in their order.

    Wildcards are not tried again: what lies between two of them is taken where it comes first. If a line matches
    anywhere it matches so, as the next wildcard takes all that comes before what follows it.

    Raises:
        ValueError: a line cannot be understood.
    """
    return [line for written in lines if (line := _ignore_line(written)) is not None]


def verdict(lines: Sequence[IgnoreLine], path: str, *, directory: bool) -> bool | None:
    """What the last line that names the path says, as in git; None if no line does.

    A folder that is left out takes with it what lies below: ask for the folders on the way first.
    """
    for line in reversed(lines):
        if (directory or not line.only_folders) and line.regex.search(path):
            return line.include
    return None


def _ignore_line(written: str) -> IgnoreLine | None:
    line = written if written.endswith("\\ ") else written.rstrip()
    named = line.removesuffix("/")
    if named != line and named in {"", "!"}:
        return None
    regex, include = GitIgnoreSpecPattern.pattern_to_regex(named)
    if regex is None or include is None:
        return None
    # pathspec's own regular expressions go on with what lies below.
    exact = regex.replace(_END_OR_BELOW, r"\Z").replace(_BELOW, r"/\Z")
    return IgnoreLine(re.compile(_by_folders(exact), re.DOTALL), include, named != line)


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
