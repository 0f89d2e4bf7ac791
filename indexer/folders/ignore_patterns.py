"""Lines of ignore files (gitignore(5)), which must not take longer than a moment whatever stands in them.

Source: parse_path_pattern and match_pathname in git's dir.c, and its wildmatch.c; but ``?`` is a character, not a byte.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_ANY_CHARACTER: Final = "[^/]"
_ANY_CHARACTERS: Final = f"{_ANY_CHARACTER}*"
_ANY_FOLDERS: Final = "(?:.*/)?"
_ALL_BELOW: Final = ".*"
# What a line says literally and the sets of characters hold neither these nor, in a set, a slash.
_SLASH: Final = r"\x2f"
_TOKEN = re.compile(
    r"(?P<folders>(?:(?<=/)|\A)\*{2,}/)|(?P<below>(?:(?<=/)|\A)\*{2,}\Z)|(?P<any>\*+)|(?P<one>\?)|(?P<set>\[)"
    r"|\\(?P<escaped>.)|(?P<literal>[^\\])",
    re.DOTALL,
)
_MEMBER = re.compile(
    r"\[:(?P<kind>[^\]]*):(?=\])|(?:\\(?P<first>.)|(?P<plain>[^\\]))(?:-(?!\])(?:\\(?P<last>.)|(?P<end>[^\\])))?",
    re.DOTALL,
)
_KINDS: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\ \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\ \t\n\r\v\f",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class IgnoreLine(NamedTuple):
    """What a line names: a path itself, not what lies below. ``include``: it leaves that out; else it takes it in.

    ``anywhere``: it is about the last name of a path, in whatever folder.
    """

    regex: re.Pattern[str]
    include: bool
    only_folders: bool
    anywhere: bool


def ignore_lines(lines: Iterable[str]) -> list[IgnoreLine]:
    """The lines that name anything, in their order.

    Wildcards are not tried again: what lies between two of them is taken where it comes first. If a line matches
    anywhere it matches so, as the next wildcard takes all that comes before what follows it.

    Raises:
        ValueError: a line cannot be understood, and names nothing to git.
    """
    return [line for written in lines if (line := _ignore_line(written)) is not None]


def verdict(lines: Sequence[IgnoreLine], path: str, *, directory: bool) -> bool | None:
    """What the last line that names the path says, as in git; None if no line does.

    A folder that is left out takes with it what lies below: ask for the folders on the way first.
    """
    name = path.rpartition("/")[2]
    for line in reversed(lines):
        if (directory or not line.only_folders) and line.regex.fullmatch(name if line.anywhere else path):
            return line.include
    return None


def _ignore_line(written: str) -> IgnoreLine | None:
    if written.startswith("#"):
        return None
    line = _without_spaces(written)
    pattern = line.removeprefix("!")
    named = pattern.removesuffix("/")
    if not named:
        return None
    try:
        regex = _by_folders(named.removeprefix("/"))
    except ValueError as error:
        raise ValueError(f"{written!r}: {error}") from None
    return IgnoreLine(re.compile(regex, re.DOTALL), pattern == line, named != pattern, "/" not in named)


def _without_spaces(line: str) -> str:
    """Without the spaces at its end, but for one that is escaped."""
    plain = line.rstrip(" ")
    escapes = len(plain) - len(plain.rstrip("\\"))
    return line[: len(plain) + 1] if escapes % 2 else plain


def _by_folders(pattern: str) -> str:
    # To git the pattern begins where its first wildcard is: `a**/b` names `a/b`, `a/c/b` and `ab`.
    start = min((at for at in map(pattern.find, "*?[\\") if at >= 0), default=len(pattern))
    pieces = [re.escape(pattern[:start]), *_pieces(pattern[start:])]
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece == _ANY_FOLDERS:
            parts.append([])
        else:
            parts[-1].append(piece)
    first, *others = map(_by_characters, parts)
    if not others:
        return first
    *between, last = others
    return f"(?>{first})" + "".join(f"(?>(?:.*?/)??{part})" for part in between) + f"{_ANY_FOLDERS}{last}"


def _by_characters(pieces: Sequence[str]) -> str:
    first, *others = "".join(pieces).split(_ANY_CHARACTERS)
    if not others:
        return first
    *between, last = others
    return first + "".join(map(_after_any_characters, between)) + f"{_ANY_CHARACTERS}{last}"


def _after_any_characters(part: str) -> str:
    """What follows a wildcard and is followed by one; where a name ends in between, there is one way only."""
    ends_a_name = "/" in part.replace(_ANY_CHARACTER, "")
    return f"{_ANY_CHARACTERS}{part}" if ends_a_name else f"(?>{_ANY_CHARACTERS}?{part})"


def _pieces(pattern: str) -> Iterator[str]:
    """The parts of a pattern as regular expressions."""
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise ValueError("nothing is after the backslash")
        at = token.end()
        if token["folders"]:
            yield _ANY_FOLDERS
        elif token["below"]:
            yield _ALL_BELOW
        elif token["any"]:
            yield _ANY_CHARACTERS
        elif token["one"]:
            yield _ANY_CHARACTER
        elif token["set"]:
            negated = pattern[at : at + 1] in {"!", "^"}
            members, at = _members(pattern, at + negated)
            yield f"(?!{_SLASH})[{'^' * negated}{members}]"
        else:
            yield re.escape(token["escaped"] or token["literal"])


def _members(pattern: str, start: int) -> tuple[str, int]:
    """The members of a set, and where it has ended."""
    members = ""
    at = start
    while at == start or pattern[at : at + 1] != "]":
        member = _MEMBER.match(pattern, at)
        if member is None:
            raise ValueError("a bracket is not closed")
        at = member.end()
        if member["kind"] is not None:
            if member["kind"] not in _KINDS:
                raise ValueError(f"no characters are called {member['kind']!r}")
            members += _KINDS[member["kind"]]
            at += 1
            continue
        first, last = member["first"] or member["plain"], member["last"] or member["end"]
        members += _escaped(first)
        if last is not None and first <= last:
            members += f"-{_escaped(last)}"
    return members, at + 1


def _escaped(character: str) -> str:
    return _SLASH if character == "/" else re.escape(character)
