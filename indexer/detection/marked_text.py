"""Formats made of text that say what they are where they begin: XML, contacts, calendars, captions."""

from __future__ import annotations

import re
from typing import Final

from indexer.formats import CALENDAR, CONTACTS, DRAWIO, MIND_MAP, OFX, QIF, VTT, XML_SUFFIXES

PLAIN_SUFFIXES: Final = frozenset({".txt", ".text", ".log"})

_CARDS = re.compile(rb"\s*+BEGIN:V(CARD|CALENDAR)[ \t]*+\r?\n", re.IGNORECASE)
_ELEMENTS = re.compile(rb"\s*+<[A-Za-z][\w:.-]*+[^<>]*+>\s*+<[A-Za-z]")
_OFX = re.compile(rb"\s*+(?:OFXHEADER:\d|(?:<\?xml[^>]*+>\s*+)?+<\?OFX\s|<OFX>\s*+<)", re.IGNORECASE)
_QIF = re.compile(rb"\s*+!(?:Type|Account|Option|Clear):?[^\r\n]{0,80}\r?\n[!A-Z^]", re.IGNORECASE)
_DRAWIO = re.compile(rb"\s*+(?:<\?xml[^>]*+>\s*+)?+<(?:mxfile|mxGraphModel)\b")
_MIND_MAP = re.compile(rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?><!--.*?-->\s*)*+<map\s++version=", re.DOTALL)
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
    if _DRAWIO.match(start):
        return DRAWIO
    if _MIND_MAP.match(start):
        return MIND_MAP
    if _OFX.match(start):
        return OFX
    if _QIF.match(start):
        return QIF
    cards = _CARDS.match(start)
    return None if cards is None else CONTACTS if cards[1].upper() == b"CARD" else CALENDAR
