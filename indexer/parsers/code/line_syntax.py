"""Where SQL, make and Docker files are cut, by their lines: statements, rules and stages with their names.

SQL has as many grammars as databases; the one for all of them that there is takes procedures, `DELIMITER` and `GO` for
errors. Statements, targets and stages begin at the margin, and how they begin is the same everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_LINE = re.compile(rb"[^\n]*\n?")
_SQL_NAME: Final = rb"""(?:"[^"\n]+"|`[^`\n]+`|\[[^\]\n]+\]|[\w$@]+)"""
_SQL_NAMES: Final = rb"(?P<name>(?!ON\b)%b(?:[ \t]*\.[ \t]*%b){0,3})" % (_SQL_NAME, _SQL_NAME)
_OBJECT: Final = (
    rb"(?:TABLE|VIEW|FUNCTION|PROC(?:EDURE)?|TRIGGER|INDEX|TYPE(?:[ \t]+BODY)?|PACKAGE(?:[ \t]+BODY)?|SEQUENCE|SCHEMA|"
    rb"DATABASE|EVENT|DOMAIN|EXTENSION|AGGREGATE|OPERATOR[ \t]+CLASS|TEXT[ \t]+SEARCH[ \t]+\w+|ROLE|USER|SYNONYM|"
    rb"POLICY|RULE)\s+"
    rb"(?:(?:IF[ \t]+(?:NOT[ \t]+)?EXISTS|ONLY|CONCURRENTLY)[ \t]+)*"
)
_CREATE = re.compile(rb"CREATE[ \t]+(?P<words>(?:[\w=@`%%.]+[ \t]+){0,8}?)%b%b" % (_OBJECT, _SQL_NAMES), re.IGNORECASE)
_OTHER_STATEMENT = re.compile(
    rb"(?:(?:ALTER|DROP)[ \t]+(?:\w+[ \t]+){0,3}?%b|COPY[ \t]+|LOCK[ \t]+TABLES[ \t]+|"
    rb"(?:INSERT|REPLACE|MERGE)[ \t]+(?:(?:IGNORE|OR[ \t]+\w+)[ \t]+)?INTO[ \t]+)%b" % (_OBJECT, _SQL_NAMES),
    re.IGNORECASE,
)
# These stand with what is above them if they are about it.
_SAYING = re.compile(rb"(?:COMMENT|GRANT|REVOKE)\s", re.IGNORECASE)
_UNLOCK = re.compile(rb"UNLOCK[ \t]", re.IGNORECASE)
_QUOTES = re.compile(rb'["`\[\]]|\s*(\.)\s*')
_SQL_COMMENT: Final = (b"--", b"/*")
_ENDED = re.compile(rb";[ \t]*(?:--.*)?\Z")
_BATCH_END = re.compile(rb"(?:GO|/|\\\.)(?:[ \t]+\d+)?\Z", re.IGNORECASE)
_DELIMITER = re.compile(rb"DELIMITER[ \t]+(\S+)\Z", re.IGNORECASE)
_COPIED = re.compile(rb"COPY\b[^;]{0,2000}?\bFROM[ \t]+STDIN\b", re.IGNORECASE)
_DOLLARS = re.compile(rb"\$(?:[A-Za-z_]\w*)?\$")
_ROUTINE = re.compile(rb"\b(?:FUNCTION|PROC(?:EDURE)?|TRIGGER|PACKAGE|EVENT|TYPE[ \t]+BODY)\s", re.IGNORECASE)
_BODY = re.compile(rb"(?:\A|\s)(?:AS|IS|BEGIN)\Z|\A[ \t]*(?:BEGIN|DECLARE)\b", re.IGNORECASE)
_BODY_END = re.compile(rb"END\b(?![ \t]+(?:IF|LOOP|CASE|WHILE|REPEAT|TRY|CATCH)\b)[^;]*;?\Z", re.IGNORECASE)

_TARGETS = re.compile(
    rb"(?!(?:v?path|export|unexport|-?include)\s)"
    rb"(?P<name>(?:\$(?:\([^)\n]*+\)|\{[^}\n]*+\}|.)|[^:=#\s$]|[ \t]++(?=[^\s=?+!]))++):++(?!=)"
)
_MAX_TARGETS: Final = 1000
_MAKE_ASIDE = re.compile(rb"\t|\s*(?:#.*)?\Z|(?:ifn?(?:eq|def)|else|endif)\b")
_MAKE_SPECIAL = re.compile(rb"\.[A-Z_]+[ \t]*:")
_DEFINE = re.compile(rb"(?:override[ \t]+)?define[ \t]+(?P<name>[^\s=:?+]+)")

_MAX_DIRECTIVES: Final = 500
_STAGE = re.compile(rb"FROM[ \t]+(?:--\S+[ \t]+)*(?P<image>\S+)(?:[ \t]+AS[ \t]+(?P<name>\S+))?", re.IGNORECASE)
_HEREDOC = re.compile(rb"(?<!<)<<-?([\"']?)([A-Za-z_]\w*)\1")


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes of a file that are one topic; ``name`` is empty for what defines nothing."""

    start: int
    end: int
    name: str


def cuts(language: str, code: bytes) -> Iterator[Cut]:
    """All of the code, in order. Neighbours of the same name are one."""
    start, name = 0, ""
    for at, found in CUTTERS[language](code):
        if found != name:
            if code[start:at].strip():
                yield Cut(start, at, name)
                start = at
            name = found
    if start < len(code):
        yield Cut(start, len(code), name)


class _Statements:
    """Reads SQL line by line. Strings are not followed: which characters end one differs between databases."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        self._dollars = Counter(_DOLLARS.findall(code))
        self._until = b""  # what ends a comment, a quoted body or the rows of a COPY
        self._ended = True
        self._routine = self._body = False
        self._delimiter = b";"
        self._last = ""

    def starts(self) -> Iterator[tuple[int, str]]:
        comment: int | None = None
        blank = True
        for line in _LINE.finditer(self._code):
            text = line[0].rstrip()
            if self._until:
                self._leave(text)
            elif not text:
                blank = True
                continue
            elif text.lstrip().startswith(_SQL_COMMENT):
                if self._ended and (comment is None or blank):
                    comment = line.start()
                self._until = b"*/" if text.lstrip().startswith(b"/*") and b"*/" not in text else b""
            elif (delimiter := _DELIMITER.match(text)) is not None:
                self._delimiter, self._ended = delimiter[1], True
                if self._delimiter != b";" and (comment is None or blank):
                    comment = line.start()
            else:
                if (name := self._name(text, line.start())) is not None:
                    self._last = name.rpartition(".")[2]
                    yield line.start() if comment is None else comment, name
                self._go_on(text)
                comment = None
            blank = False

    def _leave(self, text: bytes) -> None:
        if self._until == b"\\.":
            if text == self._until:
                self._until = b""
        elif self._until in text:
            dollars = self._until != b"*/"
            after = text[text.rindex(self._until) + len(self._until) :]
            self._until = b""
            if dollars:
                self._ended = bool(_ENDED.search(after))

    def _name(self, text: bytes, at: int) -> str | None:
        """The name of a statement that begins with this line; empty where it has none."""
        create = _CREATE.match(text)
        if create is None and text[:6].upper() == b"CREATE":  # its name may stand on the next line
            create = _CREATE.match(self._code, at)
        if create is not None and not (self._body and b"TEMP" in create["words"].upper()):
            self._ended = False
            self._routine, self._body = bool(_ROUTINE.search(create[0])), False
            return _plain(create["name"])
        if not self._ended or _BATCH_END.match(text):
            return None
        self._ended = self._routine = self._body = False
        if _UNLOCK.match(text) or (self._last and _SAYING.match(text) and self._last.encode() in text):
            return None
        other = _OTHER_STATEMENT.match(text)
        return _plain(other["name"]) if other is not None else ""

    def _go_on(self, text: bytes) -> None:
        if _COPIED.match(text):
            self._until, self._ended = b"\\.", True
            return
        if text.startswith(b"\\"):  # a command of psql
            self._ended = True
            return
        self._body = self._body or (self._routine and bool(_BODY.search(text)))
        if not self._delimiter.startswith(b"$") and self._quotes(text):
            self._body = self._ended = False
        elif _BATCH_END.match(text) or (self._delimiter != b";" and text.endswith(self._delimiter)):
            self._ended = True
        elif self._body:
            self._ended = _BODY_END.match(text) is not None
        else:
            self._ended = _ENDED.search(text) is not None

    def _quotes(self, text: bytes) -> bool:
        """Whether a body between dollars goes on below this line."""
        for mark in _DOLLARS.findall(text):
            self._dollars[mark] -= 1
            if self._until == mark:
                self._until = b""
            elif not self._until and self._dollars[mark] > 0:
                self._until = mark
        return bool(self._until)


def _plain(name: bytes) -> str:
    return _QUOTES.sub(rb"\1", name).decode("utf-8", errors="replace")


def _statements(code: bytes) -> Iterator[tuple[int, str]]:
    yield from _Statements(code).starts()


def _rules(code: bytes) -> Iterator[tuple[int, str]]:
    """Targets and macros; what says something of the next target, as ``.PHONY`` and comments do, stands with it."""
    above: int | None = None
    goes_on = defining = False
    for line in _LINE.finditer(code):
        text = line[0].rstrip()
        if goes_on or defining:
            defining = defining and not text.startswith(b"endef")
        elif (define := _DEFINE.match(text)) is not None:
            defining = True
            yield line.start() if above is None else above, _shown(define["name"])
            above = None
        elif _MAKE_SPECIAL.match(text) or text.startswith(b"#"):
            above = line.start() if above is None else above
        elif _MAKE_ASIDE.match(text):
            above = None if not text or text.startswith(b"\t") else above
        else:
            target = _TARGETS.match(text[:_MAX_TARGETS])
            yield line.start() if above is None else above, _shown(target["name"]) if target is not None else ""
            above = None
        goes_on = text.endswith(b"\\")


def _stages(code: bytes) -> Iterator[tuple[int, str]]:
    lines = {line.strip() for line in code.splitlines()}
    escape = b"`" if b"escape=`" in code[:_MAX_DIRECTIVES] else b"\\"
    comment: int | None = None
    goes_on = blank = False
    within: list[bytes] = []  # what ends the files that stand in this one
    for line in _LINE.finditer(code):
        text = line[0].strip()
        if within:
            if text == within[0]:
                within.pop(0)
        elif text.startswith(b"#"):
            comment = line.start() if comment is None or blank else comment
        elif text:
            if not goes_on and (stage := _STAGE.match(text)) is not None:
                yield line.start() if comment is None else comment, _shown(stage["name"] or stage["image"])
            within = [mark for _, mark in _HEREDOC.findall(text) if mark in lines]
            goes_on, comment = text.endswith(escape), None
        blank = not text


def _shown(name: bytes) -> str:
    return " ".join(name.decode("utf-8", errors="replace").split())


CUTTERS: Final[Mapping[str, Callable[[bytes], Iterator[tuple[int, str]]]]] = {
    "sql": _statements,
    "make": _rules,
    "dockerfile": _stages,
}
