"""Lists of references: BibTeX, RIS, PubMed's format and EndNote's, a record each with the values that people read.

BibTeX is read as Oren Patashnik's manual has it: strings that are defined are put in, accents of TeX are letters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, bounded, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

_ENTRY = re.compile(r"@[ \t]*([A-Za-z]{1,40})[ \t]*[{(]")
_KEY = re.compile(r"([^,{}\"]{0,300}),")
_NAME = re.compile(r"\s*+([^\s=,{}()\"#]{1,100})\s*+=\s*+")
_PIECE = re.compile(r"\s*+(?:\"|\{|([^\s,#{}()\"]{1,200}))")
_BRACE = re.compile(r"[{}]")
_QUOTE_OR_BRACE = re.compile(r"[{}\"]")
_STRING_CHARS: Final = 500
# Lines that begin a field: of RIS, of EndNote, and of PubMed, whose names fill four columns.
_RIS = re.compile(r"^([A-Z][A-Z0-9])(?:  -| -(?= |$))[ \t]?(.*)$")
_ENDNOTE = re.compile(r"^(%[0-9A-Z@!?&$~^<>\[\]+*]) ?(.*)$")
_PUBMED = re.compile(r"^(?=.{4}-)([A-Z][A-Z0-9]{1,3}) *-(?: (.*)|)$")
_TYPE = re.compile(r"^TY(?:  -| - )", re.MULTILINE)
_ADDRESSES: Final = frozenset({"url", "doi"})
_ESCAPED = re.compile(r"\\(?:url)?(?=[&%_#$~{}])")
_ACCENT = re.compile(r"\{?\\(?:([`'^\"~=.])|([uvHcdbrk])(?=[ {\\]))\s?\{?\\?([A-Za-z])\}?\}?")
_COMBINING: Final = "\u0300\u0301\u0302\u0308\u0303\u0304\u0307\u0306\u030c\u030b\u0327\u0323\u0331\u030a\u0328"
_ACCENTS: Final = dict(zip("`'^\"~=.uvHcdbrk", _COMBINING, strict=True))
_LETTERS: Final = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    **{sign: sign for sign in "ij&%_#$"},
}  # fmt: skip
_LETTER = re.compile(r"\{?\\(ss|ae|AE|oe|OE|aa|AA|[oOlLij&%_#$])(?![A-Za-z])(?:\{\}|\s+(?=[a-z]))?\}?")
_COMMAND = re.compile(r"\\(?:text|emph|math)?[a-z]{1,12}(?=\{)|\\(?=[{}])")
# What a record says, in this order, and what the formats call it.
_SAID: Final = {
    "Title": ("title", "ti", "t1", "%t", "tt"),
    "Author": ("author", "fau", "au", "a1", "%a"),
    "Editor": ("editor", "ed", "a2", "%e"),
    "In": ("booktitle", "bt", "t2", "%b"),
    "Journal": ("journal", "journaltitle", "jo", "jf", "jt", "ja", "%j"),
    "Publisher": ("publisher", "institution", "school", "organization", "pb", "%i"),
    "Year": ("year", "date", "py", "y1", "da", "dp", "%d"),
    "Volume": ("volume", "vl", "vi", "%v"),
    "Number": ("number", "is", "ip", "%n"),
    "Pages": ("pages", "sp", "pg", "%p"),
    "DOI": ("doi", "do", "%r"),
    "Address": ("url", "ur", "%u"),
    "Keywords": ("keywords", "kw", "ot", "mh", "%k"),
    "Abstract": ("abstract", "ab", "n2", "%x"),
    "Note": ("note", "annote", "n1", "%z"),
}
_SILENT: Final = frozenset({"comment", "preamble"})


def parse_references(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield a paragraph for each reference."""
    with TextReader(file, encoding) as reader:
        text = reader.read()
        records = _bibtex(text) if _ENTRY.search(text) else _lines(text)
        found = [block for record in records for block in _written(record)]
        for block in found or [Block(text=text)]:  # of another format, with one of their names
            yield from bounded(block)
        yield from reader.notices()


def _written(record: Mapping[str, list[str]]) -> Iterator[Block]:
    """What a record says, its title first; a key by which papers cite it last."""
    said = []
    for called, names in _SAID.items():
        values = next((record[name] for name in names if record.get(name)), [])
        if called == "Pages" and len(values) == 1 and values[0].isalnum():
            values = ["–".join([*values, *record.get("ep", [])[:1]])]
        if values:
            said.append(f"{called}: {'; '.join(values)}")
    said += [f"Key: {key}" for key in record.get("", [])[:1]] if said else []
    if said:
        yield Block(text="\n".join(said) + "\n\n")


def _bibtex(text: str) -> Iterator[dict[str, list[str]]]:
    strings = Strings(text)
    at = 0
    while (entry := _ENTRY.search(text, at)) is not None:
        at = entry.end()
        kind = entry[1].lower()
        key = None if kind == "string" else _KEY.match(text, at)
        if kind in _SILENT or (key is None and kind != "string"):
            continue
        at = at if key is None else key.end()
        record = {} if key is None else {"": [one_line(key[1])]}
        while (name := _NAME.match(text, at)) is not None:
            called = name[1].lower()
            value, at = _value(text, name.end(), strings)
            if value := one_line(_address(value) if called in _ADDRESSES else _plain(value)):
                record[called] = _people(value) if called in {"author", "editor"} else [value]
            at += text[at : at + 1] == ","
        if kind == "string":
            strings.update({called: values[0][:_STRING_CHARS] for called, values in record.items()})
        else:
            yield record


def _value(text: str, at: int, strings: Strings) -> tuple[str, int]:
    """A value of pieces that ``#`` joins, and where it ends."""
    parts: list[str] = []
    while (piece := _PIECE.match(text, at)) is not None:
        if piece[1] is not None:
            parts.append(strings.shown(piece[1].lower(), piece[1]))
            at = piece.end()
        else:
            end = _end(text, piece.end(), quoted=text[piece.end() - 1] == '"')
            parts.append(text[piece.end() : end])
            at = end + 1
        rest = text[at : at + 200]
        gap = len(rest) - len(rest.lstrip())
        at += gap
        if text[at : at + 1] != "#":
            break
        at += 1
    return "".join(parts), at


def _end(text: str, at: int, *, quoted: bool) -> int:
    """Where what began before ``at`` ends: its brace, or a quotation mark outside of braces."""
    depth = 0
    for sign in (_QUOTE_OR_BRACE if quoted else _BRACE).finditer(text, at):
        if sign[0] == "{":
            depth += 1
        elif sign[0] == '"':
            if not depth:
                return sign.start()
        elif depth:
            depth -= 1
        elif not quoted:
            return sign.start()
    return len(text)


def _people(value: str) -> list[str]:
    return [one_line(each) for each in re.split(r"\sand\s", value) if each.strip()]


def _plain(text: str) -> str:
    text = _ACCENT.sub(lambda a: unicodedata.normalize("NFC", a[3] + _ACCENTS[a[1] or a[2]]), text)
    text = _LETTER.sub(lambda letter: _LETTERS[letter[1]], text)
    return _COMMAND.sub("", text).replace("{", "").replace("}", "").replace("~", " ").replace("--", "–")


def _address(text: str) -> str:
    """One that TeX does not set: signs of it are its own."""
    return _ESCAPED.sub("", text).replace("{", "").replace("}", "")


def _lines(text: str) -> Iterator[dict[str, list[str]]]:
    """Records of lines that begin with a tag; those that are indented go on with the one before."""
    record: dict[str, list[str]] = {}
    shape = _RIS if _TYPE.search(text) else _ENDNOTE if text.lstrip("\ufeff \n").startswith("%") else _PUBMED
    for tag, value in _fields(text, shape):
        if tag in {"ty", "pmid", "%0", "er"}:
            yield record
            record = {}
        elif value:
            record.setdefault(tag, []).append(value)
    yield record


def _fields(text: str, shape: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    tag, parts = "", [""]
    for line in text.split("\n"):
        if (found := shape.match(line)) is not None:
            yield tag, one_line(" ".join(parts))
            tag, parts = found[1].lower(), [found[2] or ""]
        elif tag:
            parts.append(line)
    yield tag, one_line(" ".join(parts))
