"""Formulas of Word and PowerPoint (OMML) on one line: ``(a+b)/2``, ``x^2``, ``sqrt(n)``.

Source: ECMA-376 part 1, section 22.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from indexer.parsers.xml_parts import attribute, child, name_of

if TYPE_CHECKING:
    from lxml.etree import _Element

_PROPERTIES: Final = frozenset({"m:ctrlPr", "m:rPr", "w:rPr", "a:rPr"})


def math_text(element: _Element) -> str:
    """A formula, or a part of one, as a line of text."""
    name = name_of(element.tag)
    if name in {"m:t", "w:t", "a:t"}:
        return element.text or ""
    if name in _PROPERTIES or (name.startswith("m:") and name.endswith("Pr")):
        return ""
    if (write := _WRITERS.get(name)) is not None:
        return write(element)
    return "".join(math_text(inner) for inner in element)


def _part(element: _Element, name: str) -> str:
    found = child(element, name)
    return "" if found is None else math_text(found).strip()


def _grouped(text: str) -> str:
    """In brackets, unless it is one word or one number, or stands in some."""
    return text if text.isalnum() or len(text) < 2 else f"({text})"


def _fraction(element: _Element) -> str:
    return f"{_grouped(_part(element, 'm:num'))}/{_grouped(_part(element, 'm:den'))}"


def _scripts(element: _Element) -> str:
    base, low, high = _part(element, "m:e"), _part(element, "m:sub"), _part(element, "m:sup")
    text = base if base.isalnum() or len(base) < 2 else _grouped(base)
    text += f"_{_grouped(low)}" if low else ""
    return text + (f"^{_grouped(high)}" if high else "")


def _limits(element: _Element) -> str:
    return f"{_part(element, 'm:e')}_{_grouped(_part(element, 'm:lim'))}"


def _root(element: _Element) -> str:
    degree = _part(element, "m:deg")
    return f"{f'root{degree}' if degree else 'sqrt'}({_part(element, 'm:e')})"


def _sum(element: _Element) -> str:
    sign = child(element, "m:naryPr", "m:chr")
    text = "∫" if sign is None else attribute(sign, "m:val")
    low, high = _part(element, "m:sub"), _part(element, "m:sup")
    text += f"_{_grouped(low)}" if low else ""
    text += f"^{_grouped(high)}" if high else ""
    return f"{text} {_part(element, 'm:e')}"


def _brackets(element: _Element) -> str:
    opening, closing = child(element, "m:dPr", "m:begChr"), child(element, "m:dPr", "m:endChr")
    parts = [math_text(inner).strip() for inner in element if name_of(inner.tag) == "m:e"]
    left = "(" if opening is None else attribute(opening, "m:val")
    right = ")" if closing is None else attribute(closing, "m:val")
    return f"{left}{', '.join(parts)}{right}"


def _function(element: _Element) -> str:
    return f"{_part(element, 'm:fName')} {_part(element, 'm:e')}"


def _matrix(element: _Element) -> str:
    rows = [[math_text(cell).strip() for cell in row] for row in element if name_of(row.tag) == "m:mr"]
    return "[" + "; ".join(", ".join(row) for row in rows) + "]"


def _lines(element: _Element) -> str:
    return "; ".join(math_text(inner).strip() for inner in element if name_of(inner.tag) == "m:e")


_WRITERS: Final = {
    "m:f": _fraction,
    "m:sSup": _scripts,
    "m:sSub": _scripts,
    "m:sSubSup": _scripts,
    "m:limLow": _limits,
    "m:limUpp": _limits,
    "m:rad": _root,
    "m:nary": _sum,
    "m:d": _brackets,
    "m:func": _function,
    "m:m": _matrix,
    "m:eqArr": _lines,
}
