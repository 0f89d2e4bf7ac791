"""The text of a Word paragraph as it is shown: deletions, field codes and hidden words left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.office.drawings import DRAWN, alternative_text
from indexer.parsers.office.formulas import math_text
from indexer.parsers.office.symbol_fonts import shown_in, sign_of
from indexer.parsers.raised import is_power
from indexer.parsers.xml_parts import attribute, child, name_of, whole_number

if TYPE_CHECKING:
    from lxml.etree import _Element

COMMENT: Final = "comment"
_NEVER_TEXT: Final = frozenset(
    {
        "w:pPr", "w:rPr", "w:sdtPr", "w:del", "w:moveFrom", "w:delText", "w:instrText", "w:fldData", "w:rt",
        "w:annotationRef",
    }
)  # fmt: skip
_CHARACTERS: Final = {"w:tab": "\t", "w:ptab": "\t", "w:cr": "\n", "w:noBreakHyphen": "-"}
_OFF: Final = frozenset({"0", "false", "off", "none"})


@dataclass(slots=True, kw_only=True)
class ParagraphText:
    """What a paragraph holds. ``text`` has its line breaks and tabs.

    ``breaks_before`` and ``breaks_inside`` count the pages that Word began before and within its text when it last
    laid the document out. ``notes`` are (kind, id) of footnotes, endnotes and comments; ``boxes`` are the contents of
    text boxes; ``drawings`` are ids of relations to charts and diagrams; ``captions`` describe pictures. ``runs`` are
    the texts set in one way, with their ``w:rPr``.
    """

    text: str = ""
    breaks_before: int = 0
    breaks_inside: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[_Element] = field(default_factory=list)
    drawings: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    runs: list[tuple[str, _Element | None]] = field(default_factory=list)

    @property
    def lines(self) -> str:
        """Without white space at the ends of lines or twice in a row, and without empty lines."""
        return "\n".join(line for part in self.text.split("\n") if (line := one_line(part)))


def paragraph_text(paragraph: _Element, note_mark: NoteMark) -> ParagraphText:
    """Read a ``w:p``."""
    reader = _Reader(note_mark)
    reader.walk(paragraph)
    found = reader.found
    found.text = "".join(reader.parts)
    return found


class NoteMark:
    """Numbers foot- and endnotes in the order in which the text names them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def __call__(self, note: tuple[str, str]) -> str:
        return f"[{self._numbers.setdefault(note, len(self._numbers) + 1)}]"


class _Reader:
    def __init__(self, note_mark: NoteMark) -> None:
        self.found = ParagraphText()
        self.parts: list[str] = []
        self._note_mark = note_mark

    def walk(self, element: _Element) -> None:
        for inner in element:
            name = name_of(inner.tag)
            if name in _NEVER_TEXT:
                continue
            if name == "w:r":
                self._run(inner)
            elif name == "w:t":
                self.parts.append(inner.text or "")
            elif name in _CHARACTERS:
                self.parts.append(_CHARACTERS[name])
            elif (read := self._READERS.get(name)) is not None:
                read(self, inner)
            else:
                self.walk(inner)

    def _run(self, run: _Element) -> None:
        properties = child(run, "w:rPr")
        vanish = None if properties is None else child(properties, "w:vanish")
        if vanish is not None and attribute(vanish, "w:val") not in _OFF:
            return
        before = len(self.parts)
        self.walk(run)
        if properties is not None:
            self.parts[before:] = self._set("".join(self.parts[before:]), properties)
        if text := "".join(self.parts[before:]).strip():
            self.found.runs.append((text, properties))

    def _set(self, text: str, properties: _Element) -> list[str]:
        fonts, raised = child(properties, "w:rFonts"), child(properties, "w:vertAlign")
        if fonts is not None:
            text = shown_in(attribute(fonts, "w:ascii") or attribute(fonts, "w:hAnsi"), text)
        above = raised is not None and attribute(raised, "w:val") == "superscript"
        return ["^" if above and is_power("".join(self.parts), text) else "", text]

    def _break(self, element: _Element) -> None:
        self.parts.append("\n" if attribute(element, "w:type") in {"", "textWrapping"} else " ")

    def _page_break(self, _element: _Element) -> None:
        if "".join(self.parts).strip():
            self.found.breaks_inside += 1
        else:
            self.found.breaks_before += 1

    def _symbol(self, element: _Element) -> None:
        self.parts.append(sign_of(attribute(element, "w:font"), attribute(element, "w:char")))

    def _field(self, element: _Element) -> None:
        """What is chosen in a field of a form; what is typed into one is text that follows."""
        if (box := child(element, "w:ffData", "w:checkBox")) is not None:
            state = child(box, "w:checked") if child(box, "w:checked") is not None else child(box, "w:default")
            ticked = state is not None and attribute(state, "w:val") not in _OFF
            self.parts.append("☒" if ticked else "☐")
        elif (listed := child(element, "w:ffData", "w:ddList")) is not None:
            entries = [attribute(entry, "w:val") for entry in listed if name_of(entry.tag) == "w:listEntry"]
            chosen = child(listed, "w:result") if child(listed, "w:result") is not None else child(listed, "w:default")
            place = 0 if chosen is None else whole_number(attribute(chosen, "w:val"))
            self.parts.extend(entries[place : place + 1])

    def _note(self, element: _Element) -> None:
        note = (name_of(element.tag).removeprefix("w:").removesuffix("Reference"), attribute(element, "w:id"))
        self.found.notes.append(note)
        if note[0] != COMMENT:
            self.parts.append(self._note_mark(note))

    def _alternatives(self, element: _Element) -> None:
        # The same picture or box twice, for newer and older programs.
        if (best := child(element, "mc:Choice")) is None:
            best = child(element, "mc:Fallback")
        if best is not None:
            self.walk(best)

    def _control(self, element: _Element) -> None:
        content = child(element, "w:sdtContent")
        properties = child(element, "w:sdtPr")
        prompt = properties is not None and child(properties, "w:showingPlcHdr") is not None
        if content is not None and not prompt:
            self.walk(content)

    def _box(self, element: _Element) -> None:
        self.found.boxes.append(element)

    def _math(self, element: _Element) -> None:
        self.parts.append(math_text(element))

    def _drawing(self, element: _Element) -> None:
        if relation := attribute(element, "r:id") or attribute(element, "r:dm"):
            self.found.drawings.append(relation)

    def _picture(self, element: _Element) -> None:
        if text := alternative_text(element):
            self.found.captions.append(text)

    _READERS: Final = {
        "w:br": _break,
        "w:lastRenderedPageBreak": _page_break,
        "w:sym": _symbol,
        "w:fldChar": _field,
        "w:footnoteReference": _note,
        "w:endnoteReference": _note,
        "w:commentReference": _note,
        "mc:AlternateContent": _alternatives,
        "w:sdt": _control,
        "w:txbxContent": _box,
        "m:oMath": _math,
        "pic:cNvPr": _picture,
        **dict.fromkeys(DRAWN, _drawing),
    }
