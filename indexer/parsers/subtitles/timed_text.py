"""Timed Text (TTML, with DFXP before it, and EBU-TT): captions in XML.

Source: W3C, Timed Text Markup Language 2, sections 8 (content), 12 (timing) and 14 (metadata).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Parsed, Title, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.subtitles.cues import Cue, paragraphs, seconds
from indexer.parsers.xml_parts import local_name, xml_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

_ID: Final = "{http://www.w3.org/XML/1998/namespace}id"
_OFFSET = re.compile(r"(\d{1,12}(?:\.\d+)?)(h|ms|m|s|f|t)")
_FRAMES = re.compile(r"(\d{1,6}:\d{2}:\d{2}):(\d{1,6})(?:\.\d+)?")
_RATE = re.compile(r"0*[1-9]\d{0,9}")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FRAME_RATE: Final = 30.0
# Texts of songs say the times of their parts from the beginning of the song.
_SONG: Final = "{http://music.apple.com/lyric-ttml-internal}timing"
_NOT_SHOWN: Final = frozenset({"metadata", "title", "desc", "agent", "copyright", "set"})


def parse_timed_text(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the title, and what the captions say, with the speakers they name.

    Raises:
        SourceDamaged: it is no XML, or declares entities.
    """
    with TextReader(file, encoding) as reader:
        root = xml_root(reader.read().lstrip("\ufeff \t\r\n").encode("utf-8"), "These captions", "utf-8")
        title = next((each for each in root.iter("{*}title") if local_name(each) == "title"), None)
        if title is not None and (text := one_line(_text(title))):
            yield Title(text=text)
        yield from paragraphs(_Captions(root).cues())
        yield from reader.notices()


class _Captions:
    def __init__(self, root: _Element) -> None:
        self._root = root
        self._frames = _rate(root, "frameRate", _FRAME_RATE)
        self._ticks = _rate(root, "tickRate", self._frames if _parameter(root, "frameRate") else 1.0)
        self._voices = {
            agent.get(_ID) or "": one_line(_text(name))
            for agent in root.iter("{*}agent")
            if (name := next(agent.iter("{*}name"), None)) is not None
        }

    def cues(self) -> Iterator[Cue]:
        for body in self._root.iterchildren("{*}body"):
            yield from self._within(body, 0.0)

    def _within(self, element: _Element, since: float) -> Iterator[Cue]:
        """Those of an element; ``since`` is when what is around it begins."""
        if local_name(element) == "p":
            yield self._cue(element, since)
            return
        begin = since if self._root.get(_SONG) else since + self._time(element.get("begin"))
        for child in element.iterchildren("{*}div", "{*}p"):
            yield from self._within(child, begin)

    def _cue(self, element: _Element, since: float) -> Cue:
        timed = [each for each in element.iter("{*}p", "{*}span") if each.get("begin")]
        start = since + (self._time(timed[0].get("begin")) if timed else 0.0)
        end = since + self._time(timed[-1].get("end")) if timed and timed[-1].get("end") else start
        lines = tuple(filter(None, map(one_line, _text(element).split("\n"))))
        return Cue(start=start, end=max(start, end), lines=lines, voice=self._voice(element))

    def _voice(self, element: _Element) -> str:
        agents = next((value for name, value in element.attrib.items() if str(name).endswith("}agent")), "")
        return next((self._voices[each] for each in str(agents).split() if each in self._voices), "")

    def _time(self, text: str | None) -> float:
        """Seconds of a time; 0 of none."""
        text = (text or "").strip()
        if (offset := _OFFSET.fullmatch(text)) is not None:
            value = float(offset[1])
            rate = {"f": self._frames, "t": self._ticks}.get(offset[2])
            return value * _UNITS[offset[2]] if rate is None else value / rate
        if (framed := _FRAMES.fullmatch(text)) is not None:
            return seconds(framed[1]) + int(framed[2]) / self._frames
        return seconds(text)


def _parameter(root: _Element, name: str) -> str:
    return next((str(value) for key, value in root.attrib.items() if str(key).endswith(f"}}{name}")), "")


def _rate(root: _Element, name: str, default: float) -> float:
    value = _parameter(root, name)
    return float(value) if _RATE.fullmatch(value) else default


def _text(element: _Element) -> str:
    """What an element shows, with a line break for each of its breaks; white space is one space, as by default."""
    parts = [_spaced(element.text)]
    for child in element:
        if not isinstance(child.tag, str):
            pass  # a comment
        elif (name := local_name(child)) == "br":
            parts.append("\n")
        elif name not in _NOT_SHOWN:
            parts.append(_text(child))
        parts.append(_spaced(child.tail))
    return "".join(parts)


def _spaced(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")
