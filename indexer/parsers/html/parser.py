"""HTML: the main text of a page as blocks; navigation, scripts and other furniture left out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Parsed, Title, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.html.blocks import BlockWriter
from indexer.parsers.html.exports import normalise
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from lxml.html import HtmlElement, HTMLParser

_NEVER_TEXT: Final = (
    "script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "canvas", "audio", "video", "map",
    "button", "select", "input", "textarea", "datalist", "dialog", "head", "annotation", "annotation-xml",
)  # fmt: skip
_FURNITURE: Final = ("nav", "footer", "menu", "aside")
_FURNITURE_ROLES: Final = frozenset(
    {"navigation", "banner", "contentinfo", "search", "dialog", "alertdialog", "complementary"}
)
_FURNITURE_NAMES: Final = frozenset(
    {
        "nav", "navbar", "navigation", "navbox", "breadcrumb", "breadcrumbs", "menu", "sidebar", "toc", "skip-link",
        "footer", "site-footer", "site-header", "cookie", "cookies", "cookie-banner", "cookie-consent", "cookie-notice",
        "newsletter", "share", "share-buttons", "social", "social-share", "promo", "advert", "ads", "related",
        "mw-editsection", "noprint", "headerlink",
    }
)  # fmt: skip
_REMOVED: Final = "removed"
# A list of links may be called a menu and be the page.
_GUESSED_ROLES: Final = frozenset({"menu", "menubar"})
# Furniture by name only: a guess, taken back where it would remove most of the page.
_MAX_GUESSED_SHARE: Final = 0.5
_SIGNS: Final = frozenset({"§", "¶", "#", "↩", "↩\ufe0e", "↑", "🔗"})
# A main element that holds less of the page's text than this is not the main text.
_MIN_MAIN_SHARE: Final = 0.2
_MIN_LANGUAGES: Final = 3
# A mark of the article's quality, or the number of a footnote, may stand beside a link.
_MIN_LANGUAGE_SHARE: Final = 0.9


def parse_html(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield headings, paragraphs, lists, tables (rows as lines, cells between bars) and code of a page.

    Raises:
        SourceDamaged: it cannot be read to its end.
    """
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    reader = _Utf8Reader(file, encoding)
    try:
        root = html.parse(reader, parser).getroot()
    except etree.LxmlError as error:
        _refuse_torn(parser)
        raise SourceDamaged(f"This is not readable as HTML: {error}.") from error
    _refuse_torn(parser)
    if root is None:
        return
    page_title = one_line(root.findtext(".//title") or "")
    body = root.find("body") if root.find("body") is not None else root
    no_text = (e for e in body.iter() if e is not body and (_hidden(e) or _is_sign(e)))
    _remove(body, [*body.iter(*_NEVER_TEXT), *no_text])
    normalise(body)
    content = _content(body)
    headings = [one_line("".join(h.itertext())) for h in content.iter("h1")]
    title = headings[0] if len(headings) == 1 and headings[0] else page_title
    if title:
        yield Title(text=title)
    for block in BlockWriter().blocks(content):
        yield from bounded(block)
    yield from reader.text.notices()


def _is_sign(element: HtmlElement) -> bool:
    """A link to the place where it stands, or back from a note."""
    if element.tag != "a" or not (element.get("href") or "").startswith("#"):
        return False
    return "".join(element.itertext()).strip() in _SIGNS


class _Utf8Reader:
    """Reads any encoding that Python knows as UTF-8; libxml2 knows fewer, and some by other names."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.text = TextReader(file, encoding)

    def read(self, size: int = -1) -> bytes:
        # A character is at most four bytes. NUL, which would end the page for libxml2, is left out.
        return self.text.read(size // 4 if size >= 4 else size).encode("utf-8", errors="replace")


def _refuse_torn(parser: HTMLParser) -> None:
    """Slips of any kind are mended, but what made the reader give up has cost the rest of the page."""
    for entry in parser.error_log:
        if entry.type_name == "ERR_NO_MEMORY":
            raise MemoryError
        if entry.level_name == "FATAL":
            reason = entry.message.partition(", use ")[0]  # an option of libxml2 follows
            raise SourceDamaged(
                f"The page cannot be read beyond line {entry.line}: {reason}.",
                hint="Save it from a browser anew, or copy its text into a file.",
            )


def _content(body: HtmlElement) -> HtmlElement:
    """The part of the page that is its text, without furniture."""
    stripped = copy.deepcopy(body)
    _remove(stripped, [e for e in stripped.iter() if e is not stripped and _is_furniture(e)])
    if not _text_length(stripped):
        return body
    guessed = copy.deepcopy(stripped)
    _remove(guessed, [e for e in guessed.iter() if e is not guessed and _is_named_furniture(e)])
    if _text_length(guessed) >= _MAX_GUESSED_SHARE * _text_length(stripped):
        stripped = guessed
    return _main(stripped)


def _main(body: HtmlElement) -> HtmlElement:
    total = _text_length(body)
    mains = [e for e in body.iter() if e.tag == "main" or e.get("role") == "main"] or list(body.iter("article"))
    if len(mains) == 1 and _text_length(mains[0]) >= _MIN_MAIN_SHARE * total:
        return mains[0]
    return body


def _is_furniture(element: HtmlElement) -> bool:
    if element.get("role") in _FURNITURE_ROLES:
        return True
    if element.tag == "aside":
        # Asides hold notes that belong to the text as often as advertisements do; links tell them apart.
        return _is_named_furniture(element) or _link_share(element) > 0.5
    if element.tag == "header":
        inside = any(a.tag in {"main", "article", "section"} for a in element.iterancestors())
        return not inside and (element.find(".//nav") is not None or element.find(".//h1") is None)
    return element.tag in _FURNITURE or _is_choice_of_languages(element)


def _is_choice_of_languages(element: HtmlElement) -> bool:
    """A list of nothing but links to the page in other languages, which may stand within the main text."""
    if element.tag not in {"ul", "ol"} or _link_share(element) < _MIN_LANGUAGE_SHARE:
        return False
    links = list(element.iter("a"))
    languages = {link.get("hreflang") for link in links}
    return None not in languages and len(languages) == len(links) >= _MIN_LANGUAGES


def _is_named_furniture(element: HtmlElement) -> bool:
    if element.tag in {"html", "body", "main", "article"}:
        return False
    names = {*(element.get("class") or "").lower().split(), (element.get("id") or "").lower()}
    return element.get("role") in _GUESSED_ROLES or not names.isdisjoint(_FURNITURE_NAMES)


def _hidden(element: HtmlElement) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return "hidden" in element.attrib or "display:none" in style or element.get("aria-hidden") == "true"


def _link_share(element: HtmlElement) -> float:
    total = _text_length(element)
    return sum(_text_length(link) for link in element.iter("a")) / total if total else 1.0


def _text_length(element: HtmlElement) -> int:
    return sum(len(text.strip()) for text in element.itertext())


def _remove(root: HtmlElement, elements: Iterable[HtmlElement]) -> None:
    """Take elements out and leave the text that follows each.

    By libxml2 itself: lxml's own ``drop_tree`` joins texts and refuses the control characters that pages may hold.
    """
    from lxml import etree

    for element in elements:
        element.tag = _REMOVED
    etree.strip_elements(root, _REMOVED, with_tail=False)
