r"""Macros that manual pages define, and conditions: a page's lines as a terminal gets them (groff(7)).

Of a condition that cannot be told from the page both sides are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.manual_characters import split_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_CALL = re.compile(r"^[.'][ \t]*([^\s\\\"]+)[ \t]*(.*)$")
_COMMENT = re.compile(r'(?<!\\)\\["#].*$')
_EMPTY = re.compile(r"^[.'][ \t]*(?:\\[{}][ \t]*)*$")
_PARAMETER = re.compile(r"\\\$(?:\((..)|\[([^\]\n]{1,9})\]|([0-9*@]))|\\n(?:\(\.\$|\[\.\$\])")
_SECTIONS: Final = frozenset({"SH", "Sh", "SS", "Ss"})
_CONDITION = re.compile(
    r"(!*)[ \t]*(?:([notev])(?=[ \t\\]|$)|([drmcFS])[ \t]*([^\s\\]+)|([\"'])(.*?)\5(.*?)\5"
    r"|((?:\\[^{}\s]|[^\s\\])+))[ \t]*"
)
_REGISTER = re.compile(r"\\n[-+]?(?:\((..)|\[([^\]\n]{1,40})\]|(.))")
_COMPARED = re.compile(r"\(?(-?\d{1,9})([-+]\d{1,9})?[a-z]?(?:(>=|<=|==|[<>=])(-?\d{1,9})[a-z]?)?\)?$")
_NUMBER = re.compile(r"(\S+)[ \t]+([-+]?)(\d{1,9})(?![\d.])")
_LEAST_ROOM: Final = 100_000


def expanded(text: str, known: Collection[str]) -> Iterator[str]:
    """Lines without comments and definitions, with what macros stand for.

    Macros whose names are ``known`` stay as they are, unless the page gives them text of their own. What is put in
    is in all no longer than the page.
    """
    return _Lines(text, known).read()


class _Lines:
    def __init__(self, text: str, known: Collection[str]) -> None:
        self._ahead = text.split("\n")[::-1]
        self._known = known
        self._macros: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {".g": 1, ".H": 24, ".V": 40}
        self._branches: list[bool | None] = []
        self._room = max(len(text), _LEAST_ROOM)

    def read(self) -> Iterator[str]:
        while self._ahead:
            line = self._next()
            call = _CALL.match(line)
            if call is None:
                yield from () if _EMPTY.match(line) else (line,)
                continue
            name, rest = call[1], call[2]
            if name in {"de", "de1", "am", "am1", "ig"}:
                self._define(name, rest)
            elif name in {"if", "ie", "el"}:
                self._choose(name, rest)
            elif name == "nr":
                self._count(rest)
            elif name == "nop":
                self._put([rest])
            elif name in self._macros:
                self._call(name, split_arguments(rest))
            else:
                yield line

    def _next(self) -> str:
        """A line with those that go on with it."""
        parts = []
        while self._ahead:
            line = _COMMENT.sub("", self._ahead.pop())
            goes_on = (len(line) - len(line.rstrip("\\"))) % 2
            parts.append(line[: len(line) - goes_on])
            if not goes_on:
                break
        return "".join(parts)

    def _put(self, lines: list[str]) -> None:
        """Read these next, if there is room."""
        self._room -= sum(map(len, lines)) + 1
        if self._room >= 0:
            self._ahead.extend(reversed(lines))

    def _define(self, how: str, rest: str) -> None:
        words = rest.split()
        name, end = ("", words) if how == "ig" else ("".join(words[:1]), words[1:])
        end = end[:1] or ["."]
        body = []
        while self._ahead:
            line = self._next()
            if line.startswith((".", "'")) and line[1:].split()[:1] == end:
                break
            body.append(line.replace("\\\\", "\\"))
        if name not in self._known or not all(line.startswith((".", "'")) for line in body):
            if not how.startswith("am"):
                self._macros[name] = []
            self._macros.setdefault(name, []).extend(body)

    def _call(self, name: str, given: list[str]) -> None:
        values = {str(place): value for place, value in enumerate(given, 1)}
        values |= {"*": " ".join(given), "@": " ".join(f'"{each}"' for each in given), "0": name}

        def value(found: re.Match[str]) -> str:
            place = found[1] or found[2] or found[3]
            put = str(len(given)) if place is None else values.get(place, "")
            self._room -= len(put)
            return put if self._room >= 0 else ""

        if self._room >= 0:
            self._put([_PARAMETER.sub(value, line) for line in self._macros[name]])

    def _choose(self, name: str, rest: str) -> None:
        if name == "el":
            before = self._branches.pop() if self._branches else None
            holds = None if before is None else not before
        else:
            holds, rest = self._condition(rest)
            if name == "ie":
                self._branches.append(holds)
        if holds is not False:
            self._put([rest.removeprefix("\\{").strip(" \t")] if rest.strip("\\{ \t") else [])
            return
        depth = rest.count("\\{") - rest.count("\\}")
        while depth > 0 and self._ahead:
            line = self._next()
            if (call := _CALL.match(line)) is not None and call[1] in _SECTIONS:
                self._ahead.append(line)
                return
            depth += line.count("\\{") - line.count("\\}")

    def _condition(self, text: str) -> tuple[bool | None, str]:
        """Whether what stands before holds, and the rest of the line."""
        found = _CONDITION.match(text)
        if found is None:
            return None, text
        negated, device, kind, name, quote, one, other, number = found.groups()
        holds: bool | None = None
        if device in {"n", "t", "v"}:
            holds = device == "n"
        elif kind is not None:
            holds = {"d": name in self._macros or name in self._known, "r": name in self._numbers}.get(kind)
        elif quote is not None:
            holds = one == other
        elif number is not None:
            holds = self._holds(number)
        return holds if holds is None else holds != bool(len(negated) % 2), text[found.end() :]

    def _holds(self, expression: str) -> bool | None:
        compared = _COMPARED.match(_REGISTER.sub(self._register, expression))
        if compared is None:
            return None
        left, right = int(compared[1]) + int(compared[2] or 0), int(compared[4] or 0)
        sign = compared[3] or ">"
        return (left == right and "=" in sign) or (left < right and "<" in sign) or (left > right and ">" in sign)

    def _register(self, found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[3]
        return str(self._numbers.get(name, "?" if name.startswith(".") else 0))

    def _count(self, rest: str) -> None:
        if (number := _NUMBER.match(rest)) is not None:
            value = int(f"{number[2]}{number[3]}")
            self._numbers[number[1]] = value + (self._numbers.get(number[1], 0) if number[2] else 0)
