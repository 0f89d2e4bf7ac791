r"""Macros that manual pages define, and conditions: a page's lines as a terminal gets them (groff(7)).

Of a condition that cannot be told from the page both sides are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.manual.characters import split_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_CALL = re.compile(r"^[.'][ \t]*([^\s\\\"]+)[ \t]*(.*)$")
_COMMENT = re.compile(r'(?<!\\)\\["#].*$')
_EMPTY = re.compile(r"^[.'][ \t]*(?:\\[{}][ \t]*)*$")
_PARAMETER = re.compile(r"\\\$(?:\((..)|\[([^\]\n]{1,9})\]|([0-9*@]))|\\n(?:\(\.\$|\[\.\$\])")
_SECTIONS: Final = frozenset({"SH", "Sh", "SS", "Ss"})
_CONDITION = re.compile(
    r"(!*)[ \t]*(?:([notev])(?=[ \t\\]|$)|([drmcFS])[ \t]*([^\s\\]+)|([\"'])(.*?)\5(.*?)\5"
    r"|((?:\\[^{}\s]|[^\s\\])+))[ \t]*"
)
_REGISTER = re.compile(r"\\n([-+])?(?:\((..)|\[([^\]\n]{1,40})\]|(.))")
_COMPARED = re.compile(r"\(?(-?\d{1,9})([-+]\d{1,9})?[a-z]?(?:(>=|<=|==|[<>=])(-?\d{1,9})[a-z]?)?\)?$")
_NUMBER = re.compile(r"(\S+)[ \t]+([-+]?)(\d{1,9})(?:([-+]\d{1,9})|[ \t]+(-?\d{1,9}))?(?![\d.])")
_LEAST_ROOM: Final = 100_000


def expanded(text: str, known: Collection[str]) -> Iterator[str]:
    """Lines without comments and definitions, with what macros stand for.

    Macros whose names are ``known`` stay as they are, unless the page gives them text of their own. What is put in
    is in all no longer than the page. Other signs in front of requests (``.cc``) come as the usual ones.
    """
    return _Lines(text, known).read()


class _Lines:
    def __init__(self, text: str, known: Collection[str]) -> None:
        self._ahead = text.split("\n")[::-1]
        self._raw = ""  # the line before, without arguments put in
        self._known = known
        self._macros: dict[str, list[str]] = {}
        self._calls: list[tuple[int, str, list[str]]] = []  # how much is ahead behind a macro, and its arguments
        self._loops: list[int] = []  # and behind loops
        self._unended: set[str] = set()
        self._control, self._quiet = ".", "'"
        self._numbers: dict[str, int] = {".g": 1, ".H": 24, ".V": 40}
        self._steps: dict[str, int] = {}
        self._branches: list[bool | None] = []
        self._room = max(len(text), _LEAST_ROOM)

    def read(self) -> Iterator[str]:
        acts: dict[str, Callable[[str], None]] = {
            "while": self._repeat, "break": self._break, "shift": self._shift, "nr": self._count,
            "nop": lambda rest: self._put([rest]), "cc": self._begin_requests, "c2": self._begin_quiet_requests,
        }  # fmt: skip
        while self._ahead:
            line = self._told(self._next())
            call = _CALL.match(line)
            if call is None:
                yield from () if _EMPTY.match(line) else (line,)
                continue
            name, rest = call[1], call[2]
            if name in {"de", "de1", "am", "am1", "ig"}:
                self._define(name, rest)
            elif name in {"if", "ie", "el"}:
                self._choose(name, rest)
            elif name in acts:
                acts[name](rest)
            elif name in self._macros:
                self._call(name, split_arguments(rest))
            else:
                yield line

    def _next(self) -> str:
        """A line with those that go on with it, and the arguments of the macro that it is of."""
        parts, raw = [], []
        while self._ahead:
            self._leave_macros()
            raw.append(self._ahead.pop())
            line = _COMMENT.sub("", self._with_arguments(raw[-1]))
            goes_on = (len(line) - len(line.rstrip("\\"))) % 2
            parts.append(line[: len(line) - goes_on])
            if not goes_on:
                break
            raw[-1] = _COMMENT.sub("", raw[-1])[:-1]
        self._raw = "".join(raw)
        return "".join(parts)

    def _with_arguments(self, line: str) -> str:
        if not self._calls:
            return line
        _, name, given = self._calls[-1]

        def value(found: re.Match[str]) -> str:
            place = found[1] or found[2] or found[3]
            if place is None:
                put = str(len(given))
            elif place.isdigit():
                put = ([name, *given][int(place) :] or [""])[0]
            else:
                put = {"*": " ".join(given), "@": " ".join(f'"{each}"' for each in given)}.get(place, "")
            self._room -= len(put)
            return put if self._room >= 0 else ""

        return _PARAMETER.sub(value, line)

    def _told(self, line: str) -> str:
        """A line with the usual signs in front of requests."""
        if line.startswith(self._control):
            return f".{line[1:]}"
        if line.startswith(self._quiet):
            return f"'{line[1:]}"
        return f"\\&{line}" if line.startswith((".", "'")) else line

    def _begin_requests(self, sign: str) -> None:
        self._control = sign[:1] or "."

    def _begin_quiet_requests(self, sign: str) -> None:
        self._quiet = sign[:1] or "'"

    def _put(self, lines: list[str]) -> None:
        """Read these next, if there is room."""
        self._room -= sum(map(len, lines)) + 1
        if self._room >= 0:
            self._ahead.extend(reversed(lines))

    def _define(self, how: str, rest: str) -> None:
        """A macro's text up to its end; where it has none, it is the page's."""
        words = rest.split()
        name, end = ("", words) if how == "ig" else ("".join(words[:1]), words[1:])
        last = (end or ["."])[0]
        body: list[str] = []
        read: list[str] = []
        while last not in self._unended:
            if not self._ahead:
                self._ahead = read[::-1]
                self._unended.add(last)
                return
            line = self._next()
            read.append(self._raw)
            told = self._told(line)
            if told.startswith((".", "'")) and told[1:].split()[:1] == [last]:
                break
            body.append(line.replace("\\\\", "\\"))
        else:
            return
        if name not in self._known or not all(self._told(line).startswith((".", "'")) for line in body):
            if not how.startswith("am"):
                self._macros[name] = []
            self._macros.setdefault(name, []).extend(body)

    def _call(self, name: str, given: list[str]) -> None:
        self._leave_macros()
        if self._room >= 0:
            self._calls.append((len(self._ahead), name, given))
            self._put(self._macros[name])

    def _leave_macros(self) -> None:
        """Forget the arguments of those whose lines are all read."""
        while self._calls and self._calls[-1][0] >= len(self._ahead):
            self._calls.pop()

    def _shift(self, rest: str) -> None:
        """Leave out the first arguments of a macro, or as many as it says."""
        if self._calls:
            del self._calls[-1][2][: int(rest[:9]) if rest.isdecimal() else 1]

    def _repeat(self, rest: str) -> None:
        whole = [self._raw, *self._block(rest)]
        holds, body = self._condition(rest)
        if holds is not False:
            self._loops.append(len(self._ahead))
            self._put([*_first_line(body), *whole[1:], *(whole if holds else [])])

    def _break(self, _rest: str) -> None:
        """Leave the innermost loop, if it is in one."""
        while self._loops and self._loops[-1] >= len(self._ahead):
            self._loops.pop()
        if self._loops:
            del self._ahead[self._loops.pop() :]

    def _is_section(self, line: str) -> bool:
        return (call := _CALL.match(self._told(line))) is not None and call[1] in _SECTIONS

    def _choose(self, name: str, rest: str) -> None:
        if name == "el":
            before = self._branches.pop() if self._branches else None
            holds = None if before is None else not before
        else:
            holds, rest = self._condition(rest)
            if name == "ie":
                self._branches.append(holds)
        if holds is not False:
            self._put(_first_line(rest))
        else:
            self._block(rest)

    def _block(self, rest: str) -> list[str]:
        """What is between braces that a condition opens, as it stands; a section ends it, too. It is passed over."""
        block: list[str] = []
        depth = rest.count("\\{") - rest.count("\\}")
        while depth > 0 and self._ahead:
            line = self._next()
            if self._is_section(line):
                self._ahead.append(self._raw)
                break
            block.append(self._raw)
            depth += line.count("\\{") - line.count("\\}")
        return block

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
        name = found[2] or found[3] or found[4]
        if found[1]:
            step = int(f"{found[1]}{self._steps.get(name, 0)}".replace("--", ""))
            self._numbers[name] = self._numbers.get(name, 0) + step
        return str(self._numbers.get(name, "?" if name.startswith(".") else 0))

    def _count(self, rest: str) -> None:
        if (number := _NUMBER.match(_REGISTER.sub(self._register, rest))) is not None:
            value = int(f"{number[2]}{number[3]}") + int(number[4] or 0)
            self._numbers[number[1]] = value + (self._numbers.get(number[1], 0) if number[2] else 0)
            self._steps[number[1]] = int(number[5] or 0)


def _first_line(rest: str) -> list[str]:
    """What a condition has on its own line."""
    return [rest.removeprefix("\\{").strip(" \t")] if rest.strip("\\{ \t") else []
