"""Formats made of text that say what they are where they begin: XML, contacts, calendars, captions."""

from __future__ import annotations

import re
from typing import Final

from indexer.formats import (
    CALENDAR,
    CONTACTS,
    DRAWIO,
    LOAD_FILE,
    MANUAL_PAGE,
    MIND_MAP,
    OFX,
    QIF,
    TIMED_TEXT,
    VTT,
    XML_SUFFIXES,
)

PLAIN_SUFFIXES: Final = frozenset({".txt", ".text", ".log"})

_CARDS = re.compile(rb"\s*+BEGIN:V(CARD|CALENDAR)[ \t]*+\r?\n", re.IGNORECASE)
_ELEMENTS = re.compile(rb"\s*+<[A-Za-z][\w:.-]*+[^<>]*+>\s*+<[A-Za-z]")
_OFX = re.compile(rb"\s*+(?:OFXHEADER:\d|(?:<\?xml[^>]*+>\s*+)?+<\?OFX\s|<OFX>\s*+<)", re.IGNORECASE)
_QIF = re.compile(
    rb"\s*+!(?:Type:Prices[ \t]*+\r?\n|(?:Type|Account|Option|Clear):?[^\r\n]{0,80}\r?\n[!A-Z^])", re.IGNORECASE
)
_DRAWIO = re.compile(rb"\s*+(?:<\?xml[^>]*+>\s*+)?+<(?:mxfile|mxGraphModel)\b")
_MIND_MAP = re.compile(rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?><!--.*?-->\s*)*+<map\s++version=", re.DOTALL)
_TIMED_TEXT = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?><!--.*?-->\s*)*+<(?:\w++:)?+tt\s[^>]*?=.http://www\.w3\.org/(?:ns/ttml|\d{4}/\d\d/ttaf1)",
    re.DOTALL,
)
_MANUAL_PAGE = re.compile(rb"^[.'][ \t]*+(TH|Dd)[ \t]++\S", re.MULTILINE)
_MANUAL_SECTION = re.compile(rb"^[.'][ \t]*+(SH|Sh)[ \t]++\S", re.MULTILINE)
_LOAD_FILE = re.compile(rb"(?:\xc3\xbe|\xfe)[^\r\n\x14]{1,200}\x14(?:\xc3\xbe|\xfe)")
_BEGINNINGS: Final = (
    (_LOAD_FILE, LOAD_FILE),
    (_DRAWIO, DRAWIO),
    (_MIND_MAP, MIND_MAP),
    (_TIMED_TEXT, TIMED_TEXT),
    (_OFX, OFX),
    (_QIF, QIF),
)
_LEAST_ELEMENTS: Final = 5


def is_xml(suffix: str, start: bytes, *, plain: bool) -> bool:
    """Whether what begins so is XML by its declaration, its name or, if it is not ``plain``, by its elements."""
    if start.lstrip().startswith((b"<?xml", b"<!DOCTYPE")):
        return True
    if suffix in PLAIN_SUFFIXES:
        return not plain and start.count(b"</") >= _LEAST_ELEMENTS and _ELEMENTS.match(start) is not None
    return suffix in XML_SUFFIXES and start.lstrip().startswith(b"<")


def marked_text(start: bytes) -> str | None:
    """The format of a text that says what it is in its first line."""
    if start.startswith(b"WEBVTT") and b"-->" in start:
        return VTT
    if (marked := next((kind for mark, kind in _BEGINNINGS if mark.match(start)), None)) is not None:
        return marked
    if start.lstrip().startswith((b".", b"'")) and _MANUAL_PAGE.search(start) and _MANUAL_SECTION.search(start):
        return MANUAL_PAGE
    cards = _CARDS.match(start)
    return None if cards is None else CONTACTS if cards[1].upper() == b"CARD" else CALENDAR
