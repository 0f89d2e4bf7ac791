r"""Lines of mdoc(7), in which macros stand among the words: options, functions, quotations, names of systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.manual.characters import plain_text, plain_words
from indexer.parsers.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Sequence

# What macros put around all that follows them on a line, and those that open and close over lines.
_AROUND: Final = {
    "Op": "[]", "Pq": "()", "Bq": "[]", "Brq": "{}", "Aq": "<>", "Dq": "“”", "Sq": "‘’", "Qq": '""', "Ql": "‘’",
}  # fmt: skip
_OPENED: Final = {"Oo": "[", "Po": "(", "Bo": "[", "Bro": "{", "Ao": "<", "Do": "“", "So": "‘", "Qo": '"'}
_CLOSED: Final = {"Oc": "]", "Pc": ")", "Bc": "]", "Brc": "}", "Ac": ">", "Dc": "”", "Sc": "’", "Qc": '"'}
_SYSTEMS: Final = {
    "At": "AT&T UNIX", "Bx": "BSD", "Dx": "DragonFly", "Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD", "Ux": "UNIX",
}  # fmt: skip
_SIMPLE: Final = frozenset(
    "Nm Ar Pa Em Sy Cm Ev Va Vt Dv Er Fn Fa Ft Fd Fo Ic Li Ns No Ap Pf An Mt Lk Lb In Nd Tn Ms Ad Cd Sx St Fl Xr Xo Xc "
    "Ta Tg".split()
)
CALLED: Final = frozenset({*_AROUND, *_OPENED, *_CLOSED, *_SYSTEMS, *_SIMPLE})
_CLOSING: Final = frozenset({*".,:;)]?!", "\\."})
_LISTS: Final = {"-enum": "1.", "-bullet": "•", "-dash": "-", "-hyphen": "-"}
_EXITS: Final = "0 on success, and >0 if an error occurs."
_RETURNS: Final = (
    "the value 0 if successful; otherwise the value -1 is returned and the global variable errno is set to indicate "
    "the error."
)


class Mdoc:
    r"""What lines of a page say, of which some depend on those before them.

    Words are given as they are written: with ``\&`` before it one is no macro.
    """

    def __init__(self, text: str, strings: Strings) -> None:
        self._strings = strings  # that the page defines
        self._own = Strings(text)  # what macros stand for by themselves
        self._own.update({"Ex": _EXITS, "Rv": _RETURNS})
        self._lists: list[str] = []  # that are open, and their items so far
        self._items: list[int] = []
        self.spaced = True  # between macros and words
        self._function: list[str] | None = None  # and its arguments, which a line each names

    def spoken(self, name: str, words: list[str]) -> str | None:
        """The text of a request; None for one that stands for none."""
        if name == "Nm" and words and name not in self._own:
            self._own[name] = plain_text(words[0], self._strings)
        if name in {"Fo", "Fa", "Fc"} and (name == "Fo" or self._function is not None):
            return self._of_function(name, words)
        if name == "Sm":
            self.spaced = not self.spaced if words not in (["on"], ["off"]) else words == ["on"]
        if name.startswith("%"):
            return f"{self.said(words)},"
        if name in {"Ex", "Rv"}:
            about = self._plain(words[1:]) or [self._own.shown("Nm", "")]
            return _sentence(name, about, self._own.shown(name, ""))
        if name == "In":
            return f"#include <{' '.join(self._plain(words))}>"
        return self.said([name, *words]) if name in CALLED and name not in {"Xo", "Xc"} else None

    def said(self, words: Sequence[str]) -> str:
        """Words with the macros among them as the signs that they put."""
        end = len(words)
        while end and words[end - 1] in _CLOSING:
            end -= 1
        line = _Line(self._own, self._strings, spaced=self.spaced)
        for at, word in enumerate(words[:end]):
            if word in CALLED:
                line.macro(word, alone=at + 1 == end or words[at + 1] in _CLOSING or words[at + 1] in CALLED)
            else:
                line.word(word)
        return line.whole() + "".join(self._plain(words[end:]))

    def opens(self, words: Sequence[str]) -> None:
        """A list whose items are numbered or have points, or have words of their own."""
        self._lists.append(next((mark for kind, mark in _LISTS.items() if kind in words), ""))
        self._items.append(0)

    def closes(self) -> None:
        self._lists, self._items = self._lists[:-1], self._items[:-1]

    def item(self, words: Sequence[str]) -> str:
        if words or not self._lists:
            return self.said(words)
        self._items[-1] += 1
        return f"{self._items[-1]}." if self._lists[-1] == "1." else self._lists[-1]

    def _of_function(self, name: str, words: list[str]) -> str:
        if name == "Fo":
            self._function = [self.said(words)]
            return ""
        arguments = self._function or [""]
        if name == "Fa":
            arguments.extend(self._plain(words))
            return ""
        self._function = None
        return f"{arguments[0]}({', '.join(arguments[1:])})" + "".join(self._plain(words))

    def _plain(self, words: Sequence[str]) -> list[str]:
        return plain_words(words, self._strings)


def glued_before(name: str) -> bool:
    """Whether a line of a macro goes on without a space."""
    return name in _CLOSED or name in {"Ns", "Ap"}


def glued_after(words: Sequence[str]) -> bool:
    """Whether what follows a line goes on without a space."""
    return words[-1] in _OPENED or words[-1] in {"Ns", "Ap"}


def _sentence(name: str, about: Sequence[str], what: str) -> str:
    """What the macros of return values stand for."""
    several = len(about) > 1
    if name == "Ex":
        return f"The {', '.join(about)} {'utilities exit' if several else 'utility exits'} {what}"
    called = ", ".join(f"{each}()" for each in about)
    return f"The {called} {'functions return' if several else 'function returns'} {what}"


class _Line:
    def __init__(self, own: Strings, strings: Strings, *, spaced: bool) -> None:
        self._spaced = spaced
        self._own = own
        self._strings = strings
        self._said: list[str] = []
        self._macro = ""
        self._before: list[str] = []  # what the next word begins with
        self._glued = False
        self._closers: list[str] = []
        self._words = 0  # behind the macro

    def macro(self, name: str, *, alone: bool) -> None:
        self._leave()
        self._macro = name
        if name in _AROUND:
            self._before.append(_AROUND[name][0])
            self._closers.append(_AROUND[name][1])
        elif name in _OPENED:
            self._before.append(_OPENED[name])
        elif name in _CLOSED or name == "Ap":
            self._glued = True
            self._put(_CLOSED.get(name, "'"))
            self._glued = name == "Ap"
        elif name == "Ns":
            self._glued = True
        elif name in _SYSTEMS or name == "Ta":
            self._put(_SYSTEMS.get(name, "|"))
        elif alone and name in {"Ar", "Nm"}:
            self._put("file ..." if name == "Ar" else self._own.shown(name, ""))
        elif alone and name == "Fl":
            self._before.append("-")

    def word(self, word: str) -> None:
        if word in _CLOSING:
            macro = self._macro
            self._leave()
            self._macro = "Fl" if macro == "Fl" else ""
            self._glued = True
            self._put(plain_text(word, self._strings))
        elif word in {"(", "["}:
            self._before.append(word)
        elif self._macro == "An" and word in {"-nosplit", "-split"}:
            return
        else:
            self._words += 1
            self._worded(plain_text(word, self._strings))

    def _worded(self, word: str) -> None:
        macro, first = self._macro, self._words == 1
        if macro == "Fl" and word != "|":
            self._put(f"-{word}")
        elif macro == "Fn" and first:
            self._put(f"{word}(")
        elif macro == "Fn":
            self._glued = True
            self._put(word if self._words == 2 else f", {word}")
        elif macro == "Xr" and self._words == 2:
            self._glued = True
            self._put(f"({word})")
        else:
            self._put(word)
            self._glued = macro == "Pf"

    def whole(self) -> str:
        self._leave()
        if self._before:
            self._put("")
        return "".join([*self._said, *reversed(self._closers)])

    def _put(self, text: str) -> None:
        text, self._before = "".join([*self._before, text]), []
        self._said.append(text if self._glued or not (self._said and self._spaced) else f" {text}")
        self._glued = False

    def _leave(self) -> None:
        """What a macro that reaches up to the next one ends with."""
        if self._macro == "Fn" and self._words:
            self._said.append(")")
        self._macro, self._words = "", 0
