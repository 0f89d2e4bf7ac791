"""EPUB books: the chapters in reading order, each read as the HTML page that it is.

Source: EPUB 3.3 (package documents, section 5), which readers of EPUB 2 share.
"""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Notice, Parsed, Title, one_line
from indexer.parsers.html.parser import parse_html
from indexer.parsers.xml_parts import local_name, read_xml
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceDamaged, SourceEncrypted
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

    from lxml.etree import _Element

_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
# Fonts are often scrambled, which is no protection of the text.
_FONT_SCRAMBLING: Final = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})
_MAX_TITLE_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chapter:
    part: str
    title: str
    anchor: str  # of the place in the page that has this title; empty for its beginning


def parse_epub(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - the parts say it themselves
    """Yield the blocks of each chapter; one without a heading gets its title in the table of contents.

    Raises:
        SourceEncrypted: its chapters are protected (DRM).
        SourceDamaged, SourceTooLarge: as the container or its contents show.
    """
    with LimitedZip(file) as archive:
        _refuse_protected(archive)
        package_part = _package(archive)
        package = read_xml(archive, package_part)
        for title in _metadata(package, "title")[:1]:
            yield Title(text=title[:_MAX_TITLE_CHARS])
        if about := [f"{label}: {', '.join(found)}" for label, found in _about(package) if found]:
            yield Block(text="\n".join(about) + "\n\n")
        missing = 0
        for chapter in _chapters(archive, package, package_part):
            if chapter.part in archive:
                yield from _blocks(archive, chapter)
            else:
                missing += 1
        if missing:
            yield Notice(message=f"{plural(missing, 'chapter')} listed in this book but not in the file.")


def _refuse_protected(archive: LimitedZip) -> None:
    if _ENCRYPTION not in archive:
        return
    methods = [
        element.get("Algorithm") or ""
        for element in read_xml(archive, _ENCRYPTION).iter()
        if local_name(element) == "EncryptionMethod" and local_name(element.getparent()) == "EncryptedData"
    ]
    if any(method not in _FONT_SCRAMBLING for method in methods):
        raise SourceEncrypted(
            "This book is protected (DRM).", hint="Ingest a copy without protection, if you have one."
        )


def _package(archive: LimitedZip) -> str:
    for element in read_xml(archive, _CONTAINER).iter():
        if local_name(element) == "rootfile" and (path := element.get("full-path")):
            return posixpath.normpath(unquote(path)).lstrip("/")
    raise SourceDamaged("This book does not say what it consists of.", hint="Get or export the file again.")


def _metadata(package: _Element, name: str) -> list[str]:
    found = (e for e in package.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}"))
    return [text for element in found if (text := one_line("".join(element.itertext())))]


def _about(package: _Element) -> list[tuple[str, list[str]]]:
    return [("Author", _metadata(package, "creator")), ("Description", _metadata(package, "description"))]


def _chapters(archive: LimitedZip, package: _Element, package_part: str) -> Iterator[_Chapter]:
    """Pages in reading order, without the one that is the table of contents."""
    folder = posixpath.dirname(package_part)
    items = {e.get("id"): e for e in package.iter() if local_name(e) == "item" and e.get("id")}
    titles = _titles(archive, items, folder)
    for reference in (e for e in package.iter() if local_name(e) == "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
            continue
        part = _resolved(folder, item.get("href") or "")
        title, anchor = titles.get(part, ("", ""))
        yield _Chapter(part=part, title=title, anchor=anchor)


def _titles(archive: LimitedZip, items: Mapping[str | None, _Element], folder: str) -> dict[str, tuple[str, str]]:
    """What the table of contents calls each page first, where there is one, and which place of the page."""
    tables = (
        (_entries_of_ncx, (i for i in items.values() if i.get("media-type") == "application/x-dtbncx+xml")),
        (_entries_of_page, (i for i in items.values() if "nav" in (i.get("properties") or "").split())),
    )
    for entries, found in tables:
        parts = (_resolved(folder, item.get("href") or "") for item in found)
        if part := next((part for part in parts if part in archive), ""):
            titles: dict[str, tuple[str, str]] = {}
            for place, label in entries(archive, part):
                title = one_line(label)[:MAX_HEADING_CHARS]
                page = _resolved(posixpath.dirname(part), place)
                titles.setdefault(page, (title, unquote(place.partition("#")[2])))
            if titles:
                return titles
    return {}


def _entries_of_ncx(archive: LimitedZip, part: str) -> Iterator[tuple[str, str]]:
    """Places and their names in the table of EPUB 2, which many books of EPUB 3 have, too."""
    for point in (e for e in read_xml(archive, part).iter() if local_name(e) == "navPoint"):
        label = next((e for e in point if local_name(e) == "navLabel"), None)
        content = next((e for e in point if local_name(e) == "content"), None)
        if label is not None and content is not None:
            yield content.get("src") or "", "".join(label.itertext())


def _entries_of_page(archive: LimitedZip, part: str) -> Iterator[tuple[str, str]]:
    """Places and their names in the table of EPUB 3, a page (section 7)."""
    page = archive.read(part)
    tree = _tree(page.decode(_encoding(page), "replace"))
    lists = [] if tree is None else list(tree.iter("nav"))
    for nav in [nav for nav in lists if "toc" in (nav.get("epub:type") or "").split()][:1]:
        for link in nav.iter("a"):
            yield link.get("href") or "", "".join(link.itertext())


def _tree(page: str) -> _Element | None:
    """None if there is nothing in it."""
    from lxml import etree

    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    return etree.fromstring(page.encode("utf-8", "replace"), parser)


def _blocks(archive: LimitedZip, chapter: _Chapter) -> Iterator[Parsed]:
    page = archive.read(chapter.part)
    encoding = _encoding(page)
    first, named = True, False
    for item in parse_html(io.BytesIO(page), encoding):
        if isinstance(item, Title):
            continue
        heads = isinstance(item, Block) and item.kind is BlockKind.HEADING
        if first and chapter.title and not heads and _begins_at(chapter, page.decode(encoding, "replace")):
            # Text without a heading must not stand under that of the chapter before.
            yield Block(text=f"{chapter.title}\n\n", kind=BlockKind.HEADING, level=1, heading=chapter.title)
            named = True
        first = False
        # Where the page says its title itself, further down, it is not below itself.
        yield replace(item, level=1) if named and isinstance(item, Block) and item.heading == chapter.title else item


def _begins_at(chapter: _Chapter, page: str) -> bool:
    """Whether no text of the page comes before what its title names: it would belong to the chapter before."""
    tree = _tree(page) if chapter.anchor else None
    body = None if tree is None else tree.find("body")
    places = [] if body is None else list(body.iter())
    named = next((n for n, e in enumerate(places) if chapter.anchor in {e.get("id"), e.get("name")}), 0)
    around = set(places[named].iterancestors()) if named else set()
    texts = [e.text for e in places[:named] if e.tag not in {"script", "style"}]
    texts += [e.tail for e in places[:named] if e not in around]
    return not any(map(str.strip, filter(None, texts)))


def _encoding(page: bytes) -> str:
    # XML without a declaration is UTF-8 or UTF-16 with a mark; books hardly ever declare anything else.
    if page.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig"


def _resolved(folder: str, reference: str) -> str:
    path = unquote(reference.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")
