"""What programs mean by classes and links in HTML that they save, made elements of HTML: titles, lists, notes.

Word and Outlook write lists as paragraphs with their marks; Word, Google Docs, Pandoc and GitHub put notes at the end.
Of the bookmarks that browsers save the addresses are the text, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_TITLE: Final = "msotitle"
_GOOGLE_TITLE: Final = "title"
_GOOGLE_ID: Final = "h."
_CAPTION: Final = "msocaption"
_CONTENTS = re.compile(r"mso(?:toc\d|tocheading)")
_LIST: Final = "msolistparagraph"
_LEVEL = re.compile(r"mso-list:[^;]*?level(\d)")
_BULLETS: Final = frozenset("·o§•▪Ø-–●○■v")
_NUMBER = re.compile(r"(\d{1,4})[.)]")
_NOTE = re.compile(r"#((?:user-content-)?(?:_?ftn(?!t)|_?edn|ftnt|fn)(?!_?ref)[:_-]?\w[\w.:-]*)")
_NOTE_BLOCKS: Final = frozenset({"li", "p", "div", "aside", "dd"})
_TEXT_BLOCKS: Final = _NOTE_BLOCKS | {"blockquote", "dt", "td", "th", *(f"h{level}" for level in range(1, 7))}


def normalise(body: HtmlElement) -> None:
    """Change elements in place."""
    lists: list[HtmlElement] = []
    for paragraph in list(body.iter("p")):
        classes = (paragraph.get("class") or "").lower().split()
        google = _GOOGLE_TITLE in classes and (paragraph.get("id") or "").startswith(_GOOGLE_ID)
        if google or _TITLE in classes:
            paragraph.tag = "h1"
        elif _CAPTION in classes:
            paragraph.tag = "figcaption"
        elif any(map(_CONTENTS.fullmatch, classes)):
            paragraph.clear(keep_tail=True)
        elif any(name.startswith(_LIST) for name in classes) and (mark := _first_text(paragraph)) is not None:
            _into_list(paragraph, mark, lists)
    for bookmark in body.iter("a"):
        address = bookmark.get("href") or ""
        if bookmark.get("add_date") and address.startswith("http"):
            bookmark.append(_text_element(f" {address}"))
    _move_notes(body)


def _text_element(text: str) -> HtmlElement:
    from lxml import html

    element = html.Element("span")
    element.text = text
    return element


def _first_text(paragraph: HtmlElement) -> HtmlElement | None:
    """The innermost element that a list's mark is all the text of."""
    element = paragraph
    while not (element.text or "").strip():
        inner = next((inner for inner in element if "".join(inner.itertext()).strip()), None)
        if inner is None:
            return None
        element = inner
    mark = element.text.strip()
    return element if element is not paragraph and (mark in _BULLETS or _NUMBER.fullmatch(mark)) else None


def _into_list(paragraph: HtmlElement, mark: HtmlElement, lists: list[HtmlElement]) -> None:
    """Make a paragraph an item of the list that ends before it, or of a new one."""
    from lxml import html

    found = _LEVEL.search((paragraph.get("style") or "").lower())
    level = max(1, int(found[1])) if found is not None else 1
    number = _NUMBER.fullmatch(mark.text.strip())
    mark.text = None
    before = paragraph.getprevious()
    if not lists or before is not lists[0] or (lists[0].tail or "").strip():
        lists.clear()
    del lists[level:]
    while len(lists) < level:
        attributes = {} if number is None else {"start": number[1]}
        made = html.Element("ul" if number is None else "ol", attributes)
        if lists:
            lists[-1].append(made)
        else:
            paragraph.addprevious(made)
        lists.append(made)
    tail, paragraph.tail = paragraph.tail, None
    lists[-1].append(paragraph)
    paragraph.tag = "li"
    lists[0].tail = tail


def _move_notes(body: HtmlElement) -> None:
    """Put notes from the end of a page behind what refers to them."""
    links = [(link, found[1]) for link in body.iter("a") if (found := _NOTE.fullmatch(link.get("href") or ""))]
    if not links:
        return
    by_name = {name: element for element in body.iter() for name in (element.get("id"), element.get("name")) if name}
    last: dict[HtmlElement, HtmlElement] = {}  # what was put behind an element
    moved: set[str] = set()
    for link, name in links:
        label = "".join(link.itertext()).strip(" []()\n")
        if name not in moved:
            target = by_name.get(name)
            note = None if target is None else _around(target, _NOTE_BLOCKS)
            place = _around(link, _TEXT_BLOCKS)
            if note is None or place is None or note in (place, *place.iterancestors()):
                continue
            moved.add(name)
            _label(note, label)
            place = next(place.iterancestors("table"), place)
            note.tag, note.tail = "div", None
            last.get(place, place).addnext(note)
            last[place] = note
        # A raised number alone would be a power.
        for inner in list(link):
            link.remove(inner)
        link.text = f"[{label}]"


def _label(note: HtmlElement, label: str) -> None:
    """Write the mark of a note before it, where a list alone numbers it."""
    if re.match(rf"\W*{re.escape(label)}\b", "".join(note.itertext())):
        return
    first = note
    while len(first) and not (first.text or "").strip() and first[0].tag in _NOTE_BLOCKS:
        first = first[0]
    first.text = f"[{label}] {first.text or ''}"


def _around(element: HtmlElement, tags: frozenset[str]) -> HtmlElement | None:
    return next((outer for outer in (element, *element.iterancestors()) if outer.tag in tags), None)
