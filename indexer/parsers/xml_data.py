"""XML of any vocabulary: titles as headings, running text as paragraphs, tables by rows, records as named values.

What the elements are called is all that is known of them: the names for titles, paragraphs, rows and cells are those of
DocBook, JATS, TEI, the patent offices' and others' vocabularies.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import (
    MAX_HEADING_CHARS,
    Block,
    BlockKind,
    Notice,
    Parsed,
    Title,
    bounded,
    one_line,
    short_caption,
)
from indexer.parsers.decoding import TextReader
from indexer.parsers.html.parser import parse_html
from indexer.parsers.mediawiki.parser import wiki_blocks
from indexer.parsers.xml_parts import local_name
from rag.errors import SourceDamaged, SourceUnsafe
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element, _ElementTree

_TITLES: Final = frozenset(
    {"title", "article-title", "head", "heading", "subtitle", "invention-title", "title-of-invention"}
)
# Titles of whole documents wherever they stand; others only near the top.
_OWN_TITLES: Final = frozenset({"article-title", "invention-title", "title-of-invention"})
_PARAGRAPHS: Final = frozenset({"p", "para", "simpara", "paragraph", "claim-text", "abstract", "summary", "li", "item"})
_SECTIONS: Final = frozenset(
    {"sec", "section", "chapter", "part", "div", "appendix", "abstract", "item", "entry", "app"}
)
# What holds a table or a figure with its number and its caption, which some vocabularies call its title.
_TABLES: Final = frozenset({"table-wrap", "table", "tbl", "informaltable"})
_FLOATS: Final = _TABLES | {"fig", "figure", "fig-group", "informalfigure"}
_CAPTION: Final = "caption"
_LABEL: Final = "label"
_NUMBERS: Final = frozenset({"num", "enum", _LABEL})  # of sections of laws and papers, and of items of lists
_LOOKED_AT: Final = 20
_ROWS: Final = frozenset({"tr", "row"})
# Of feeds, as of others.
_ENTRIES: Final = frozenset({"item", "entry"})
_CODE: Final = frozenset({"programlisting", "screen", "code-block", "preformat", "literallayout"})
_MARKUP = re.compile(r"<(?:p|br|div|a|ul|ol|li|img|b|i|em|strong|h[1-6]|table|span)\b[^>]*>", re.IGNORECASE)
_NOT_PLAIN = re.compile(r"<|&[\w.:-]+;")
_ENTITY_VALUE_CHARS: Final = 500
_BLOB = re.compile(r"^[A-Za-z0-9+/=\s]+$")
_BLOB_CHARS: Final = 1025
# Drawn lines, coordinates, measurements: long, and hardly a letter in it.
_FIGURES = re.compile(r"[-+.,;:\d\s]+")
_FIGURES_CHARS: Final = 300
_MAX_LETTERS: Final = 0.25
_DRAWING: Final = "svg"
_WIKI: Final = "mediawiki"  # an export of pages with their source
# Points of a way with their heights and times (GPX).
_POINTS: Final = frozenset({"trkseg"})
_MAX_LEVEL: Final = 6
_MIN_TEXT_SHARE: Final = 0.2
_MAX_REFERENCE_CHARS: Final = 80


def parse_xml(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the text of a document. Nothing outside of it is fetched, and entities within entities are refused.

    Raises:
        SourceDamaged: it is not well-formed beyond repair.
        SourceUnsafe: it declares entities that grow or lead to other files, and uses them.
    """
    from lxml import etree

    # Comments and instructions go; an entity stays as it is written until it is known to be harmless.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, recover=True,
        encoding="utf-8",
    )  # fmt: skip
    reader = TextReader(file, encoding)
    text = reader.read().lstrip("\ufeff \t\r\n")
    try:
        tree = etree.parse(io.BytesIO(text.encode("utf-8", errors="replace")), parser)
    except etree.LxmlError as error:
        raise SourceDamaged(f"This is not readable as XML: {error}.", hint="Correct it, or name it .txt.") from error
    root = tree.getroot()
    if root is None:
        raise SourceDamaged("This is not readable as XML: it has no elements.", hint="Correct it, or name it .txt.")
    _replace_entities(tree)
    broken = [entry for entry in parser.error_log if entry.level_name == "FATAL"]
    if any("amplification" in entry.message for entry in broken):
        raise SourceUnsafe("Its entities grow without measure.", hint="Do not trust this file.")
    writer = _Writer(root)
    if writer.title:
        yield Title(text=writer.title)
    empty = True
    for block in writer.blocks():
        empty = False
        yield from bounded(block)
    if broken:
        what = f"It is not well-formed in line {broken[0].line} ({broken[0].message})"
        if empty:
            raise SourceDamaged(f"{what}, and no text could be read.", hint="Correct it, or name it .txt.")
        yield Notice(message=f"{what}.")
    yield from reader.notices()
    if writer.blobs:
        yield Notice(message=f"{plural(writer.blobs, 'value')} of encoded data (base64 or the like) left out.")
    if writer.figures:
        yield Notice(message=f"{plural(writer.figures, 'row')} of figures (points, coordinates, drawn lines) left out.")


def _replace_entities(tree: _ElementTree) -> None:
    """Put in the text of the entities that are a short text and no more."""
    from lxml import etree

    used = list(tree.getroot().iter(etree.Entity))
    if not used:
        return
    dtd = tree.docinfo.internalDTD
    declared = {entity.name: entity.content for entity in dtd.iterentities()} if dtd is not None else {}
    for entity in used:
        if entity.name not in declared:
            continue  # of a DTD that is not here; its name stays
        value = declared[entity.name]
        if value is None or _NOT_PLAIN.search(value) or len(value) > _ENTITY_VALUE_CHARS:
            raise SourceUnsafe(
                f"It uses the entity &{entity.name};, which leads to another file or is made of other entities.",
                hint="If it is to be trusted, expand its entities (`xmllint --noent`) and ingest the result.",
            )
        parent, before = entity.getparent(), entity.getprevious()
        added = value + (entity.tail or "")
        entity.tail = None
        if before is not None:
            before.tail = (before.tail or "") + added
        elif parent is not None:
            parent.text = (parent.text or "") + added
        if parent is not None:
            parent.remove(entity)


class _Writer:
    """Goes through the elements in document order, without recursion: documents nest as deep as they like."""

    def __init__(self, root: _Element) -> None:
        self._root = root
        self._lines: list[str] = []
        self._label = ""  # of the table or figure that is open
        self._caption = ""  # of the tables that come
        self._number = ""  # of the section or item that begins
        self.blobs = self.figures = 0
        self.title = _title(root)
        texts = sum(len(text) for text in _texts(root) if text.strip())
        attributes = sum(len(str(value)) for element in root.iter() for value in element.attrib.values())
        # Beside text, attributes are for programs; where they hold nearly everything, they are the text.
        self._tells_attributes = texts < _MIN_TEXT_SHARE * attributes and _name(root) != _DRAWING

    def blocks(self) -> Iterator[Block]:
        from lxml import etree

        walker = etree.iterwalk(self._root, events=("start", "end"))
        depth = 0
        for event, element in walker:
            if not isinstance(element.tag, str):
                continue
            if event == "end":
                depth -= _name(element) in _SECTIONS
                if len(element) and _name(element) not in _ROWS:
                    yield from self._flush()
                if _name(element) in _FLOATS:
                    yield from self._labelled("")
                    self._caption = ""
                if element is not self._root and (following := _paragraph(element.tail)):
                    yield from self._flush()
                    yield from following
                continue
            block_or_none, whole = self._start(element, depth)
            if whole:
                walker.skip_subtree()
            depth += _name(element) in _SECTIONS
            if block_or_none is not None:
                yield from self._flush()
                yield from map(self._numbered, block_or_none)
        yield from self._flush()

    def _start(self, element: _Element, depth: int) -> tuple[list[Block] | None, bool]:
        """Blocks that the element begins with, and whether nothing of it is left to do."""
        name = _name(element)
        if (titled := self._titled(element, name, depth)) is not None:
            return titled, True
        if self._left_out(element, name) or self._row(element, name):
            return None, True
        if name in _CODE:
            return [Block(text="".join(_texts(element)).strip("\n") + "\n\n", kind=BlockKind.CODE)], True
        if not len(element):
            return self._leaf(element)
        record = name in _ENTRIES and _is_record(element)
        if (record or name not in _PARAGRAPHS) and not _is_mixed(element):
            if value := self._attributes(element):
                self._lines.append(f"{name}: {value}")
            # An entry without a title is not under that of the one before.
            ended = record and not any(_is_title(inner) for inner in element.iterchildren("*"))
            level = min(depth + 2, _MAX_LEVEL)
            return [Block(text="", kind=BlockKind.HEADING, level=level)] if ended else None, False
        return self._running_text(element)

    def _left_out(self, element: _Element, name: str) -> bool:
        """Whether it holds nothing to read; counted."""
        value = "" if len(element) else (element.text or "").strip()
        blob = len(value) >= _BLOB_CHARS and _BLOB.match(value) is not None
        figures = not blob and (name in _POINTS or _is_figures(value))
        self.blobs += blob
        self.figures += figures
        return blob or figures

    def _running_text(self, element: _Element) -> tuple[list[Block] | None, bool]:
        """A paragraph; one that holds tables, titles or paragraphs is taken apart, as ``blocks`` goes on."""
        if any(_is_apart(inner) for inner in element):
            return _paragraph(element.text), False
        return _paragraph(_text(element)), True

    def _leaf(self, element: _Element) -> tuple[list[Block] | None, bool]:
        name = _name(element)
        value = (element.text or "").strip()
        if name == "text" and _name(self._root) == _WIKI:
            return list(wiki_blocks(value)), True
        if _MARKUP.search(value):
            return [
                block for block in parse_html(io.BytesIO(value.encode()), "utf-8") if isinstance(block, Block)
            ], True
        value = one_line(value)
        value = value or self._attributes(element)
        if not value:
            return None, True
        if name in _PARAGRAPHS:
            return [Block(text=f"{value}\n\n")], True
        self._lines.append(f"{name}: {value}")
        return None, True

    def _attributes(self, element: _Element) -> str:
        """What its attributes say, where they are what a document says."""
        # Those around all the rest say which version of the format it is, and for which programs.
        if not self._tells_attributes or (element is self._root and len(element)):
            return ""
        return " ".join(one_line(text) for key, text in element.attrib.items() if _is_told(str(key), str(text)))

    def _heading(self, element: _Element, depth: int) -> list[Block]:
        text = one_line(_text(element))
        if not text:
            return []
        if len(text) > MAX_HEADING_CHARS:
            return [Block(text=f"{text}\n\n")]
        level = min(depth + 1, _MAX_LEVEL)
        return [Block(text=f"{text}\n\n", kind=BlockKind.HEADING, level=level, heading=text)]

    def _titled(self, element: _Element, name: str, depth: int) -> list[Block] | None:
        """What an element says that only gives something a name; None for others."""
        if name == _LABEL and _float_of(element):
            self._label = one_line(_text(element))
            return []
        if name == _CAPTION or (name in _TITLES and _float_of(element)):
            return self._captioned(element)
        if name in _NUMBERS and _numbers_text(element):
            self._number = one_line(f"{self._number} {_text(element)}")
            return []
        return self._heading(element, depth) if _is_title(element) else None

    def _numbered(self, block: Block) -> Block:
        """A heading or paragraph behind the number that was read before it."""
        if not self._number or not block.text or block.kind not in {BlockKind.HEADING, BlockKind.PARAGRAPH}:
            return block
        number, self._number = self._number, ""
        return replace(block, text=f"{number} {block.text}", heading=block.heading and f"{number} {block.heading}")

    def _captioned(self, element: _Element) -> list[Block]:
        parts = [inner for inner in element if isinstance(inner.tag, str) and _name(inner) in _PARAGRAPHS | _TITLES]
        blocks = self._labelled(" ".join(map(_text, parts or [element])))
        above = (_name(outer) for outer in element.iterancestors() if _name(outer) in _FLOATS)
        if blocks and next(above, "") in _TABLES:
            self._caption = short_caption(blocks[0].text)
        return blocks

    def _labelled(self, text: str) -> list[Block]:
        """A caption after the number of what it is of; the number alone where it has none."""
        text, self._label = one_line(f"{self._label} {text}"), ""
        return [Block(text=f"{text}\n\n", kind=BlockKind.CAPTION)] if text else []

    def _row(self, row: _Element, name: str) -> bool:
        """Whether it is a row, which is written."""
        if name not in _ROWS:
            return False
        cells = [one_line(_text(cell)) for cell in row if isinstance(cell.tag, str)]
        if any(cells):
            self._lines.append(" | ".join(cells))
        return True

    def _flush(self) -> Iterator[Block]:
        lines, self._lines = self._lines, []
        if lines:
            table = sum(" | " in line for line in lines) * 2 > len(lines) and len(lines) > 1
            yield Block(
                text="\n".join(lines) + "\n\n",
                kind=BlockKind.TABLE if table else BlockKind.PARAGRAPH,
                caption=self._caption if table else "",
            )


def _title(root: _Element) -> str:
    titles = [e for e in root.iter() if isinstance(e.tag, str) and _is_title(e)]
    own = next((e for e in titles if _name(e) in _OWN_TITLES), None)
    own = own if own is not None else next((e for e in titles if sum(1 for _ in e.iterancestors()) <= 3), None)
    return one_line(_text(own)) if own is not None else ""


def _is_title(element: _Element) -> bool:
    """Whether it is called a title; what holds the title among other things is the head of a file."""
    return _name(element) in _TITLES and all(_name(inner) != "title" for inner in element.iterchildren("*"))


def _name(element: _Element) -> str:
    return local_name(element).lower()


def _float_of(element: _Element) -> bool:
    """Whether it belongs to a table or a figure directly."""
    above = element.getparent()
    return above is not None and _name(above) in _FLOATS


def _numbers_text(element: _Element) -> bool:
    """Whether a title or a paragraph comes next, or begins what comes next; a record's number is a value."""
    following = element.getnext()
    within = () if following is None else islice(following.iter("*"), _LOOKED_AT)
    return any(_name(inner) in _TITLES | _PARAGRAPHS for inner in within)


def _text(element: _Element) -> str:
    return "".join(_texts(element))


def _texts(element: _Element) -> Iterator[str]:
    """All text within, words of neighbouring elements apart where the source has them on lines of their own."""
    from lxml import etree

    for event, inner in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            yield inner.text or "" if isinstance(inner.tag, str) else ""
        elif inner is not element:
            yield inner.tail or ""


def _paragraph(text: str | None) -> list[Block] | None:
    text = one_line(text or "")
    return [Block(text=f"{text}\n\n")] if text else None


def _is_apart(element: _Element) -> bool:
    """Whether an element within running text ends it: it holds blocks, and is no short reference in a sentence."""
    if not isinstance(element.tag, str):
        return False
    names = {_name(inner) for inner in element.iter() if isinstance(inner.tag, str)}
    if not (_ROWS | _FLOATS).isdisjoint(names):
        return True
    goes_on = bool((element.tail or "").strip()) and len(one_line(_text(element))) <= _MAX_REFERENCE_CHARS
    return not goes_on and not (_PARAGRAPHS | _TITLES).isdisjoint(names)


def _is_record(element: _Element) -> bool:
    """Whether an element holds values of several names, or what a feed calls its entries by."""
    names = {_name(inner) for inner in element.iterchildren("*")}
    return len(names) > 1 or names == {"guid"}


def _is_mixed(element: _Element) -> bool:
    """Whether text and elements stand side by side."""
    if (element.text or "").strip():
        return True
    return any((child.tail or "").strip() for child in element)


def _is_told(key: str, value: str) -> bool:
    """Whether an attribute says something to a reader, as words or numbers do and keys and addresses do not."""
    name = key.rpartition("}")[2].lower()
    no_text = {"id", "idref", "ref", "href", "rid", "space", "lang", "type", "src", "schemalocation"}
    return name not in no_text and bool(value.strip()) and not _is_figures(value)


def _is_figures(value: str) -> bool:
    letters = len(_FIGURES.sub("", value)) if len(value) >= _FIGURES_CHARS else len(value)
    return letters < _MAX_LETTERS * len(value)
