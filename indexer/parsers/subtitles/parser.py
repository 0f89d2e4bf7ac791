"""Subtitles of lines (SubRip, WebVTT, SubStation Alpha, SubViewer as YouTube has it): what is said, and by whom."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Parsed, Title, one_line
from indexer.parsers.decoding import TextReader
from indexer.parsers.subtitles.cues import Cue, paragraphs, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_TIME: Final = r"((?:\d+:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?)"
_TIMES = re.compile(rf"^\s*{_TIME}(?:\s*-->\s*|,){_TIME}")
_VOICE = re.compile(r"<v(?:\.[^\s>]+)*\s+([^>]+)>")
_TAG = re.compile(r"</?[A-Za-z0-9][^>\n]*>|<\d[^>\n]*>")
_OVERRIDE = re.compile(r"\{\\?[^}\n]*\}")
# As Zoom writes who speaks.
_SPEAKER = re.compile(r"([^\W\d_a-z][\w.'’-]*(?: [\w.'’()-]+){0,4}):\s+(?=\S)")
_NOT_CUES = re.compile(r"^(?:NOTE|STYLE|REGION)\b")


def parse_srt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what SubRip subtitles say, and those of YouTube (sbv), whose times have a comma between them."""
    yield from _parse(file, encoding)


def parse_vtt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what WebVTT subtitles (https://www.w3.org/TR/webvtt1/) say, with the speakers they name."""
    yield from _parse(file, encoding)


def parse_ass(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what SubStation Alpha subtitles say, with the speakers they name."""
    with TextReader(file, encoding) as reader:
        yield from paragraphs(_dialogue(reader.lines()))
        yield from reader.notices()


def _parse(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    with TextReader(file, encoding) as reader:
        lines = reader.lines()
        first = next(lines, "").lstrip("\ufeff")
        if first.startswith("WEBVTT") and (title := first[6:].strip(" -\t\n")):
            yield Title(text=title)
        # Of WebVTT a line of spaces is one of a cue; captions that roll have them.
        yield from paragraphs(_cues([first], lines, "\r\n" if first.startswith("WEBVTT") else None))
        yield from reader.notices()


def _cues(first: list[str], lines: Iterator[str], empty: str | None) -> Iterator[Cue]:
    group: list[str] = [line for line in first if line.strip()]
    for line in lines:
        if line.strip(empty):
            group.append(line)
            continue
        yield from _cue(group)
        group = []
    yield from _cue(group)


def _cue(group: list[str]) -> Iterator[Cue]:
    if not group or _NOT_CUES.match(group[0]):
        return
    # The times stand in the first line, or in the second after a number or a name.
    for number, line in enumerate(group[:2]):
        if times := _TIMES.match(line):
            raw = "".join(group[number + 1 :])
            voices = list(_VOICE.finditer(raw))
            start, end = seconds(times[1]), seconds(times[2])
            if not voices:
                said = _lines(raw)
                spoken = _SPEAKER.match(said[0]) if said else None
                if spoken is not None:
                    said = (said[0][spoken.end() :], *said[1:])
                yield Cue(start=start, end=end, lines=said, voice=spoken[1] if spoken is not None else "")
                return
            for place, voice in enumerate(voices):
                stop = voices[place + 1].start() if place + 1 < len(voices) else len(raw)
                said = _lines(raw[voice.end() : stop])
                yield Cue(start=start, end=end, lines=said, voice=one_line(html.unescape(voice[1])))
            return


def _dialogue(lines: Iterator[str]) -> Iterator[Cue]:
    columns: list[str] = []
    in_events = False
    for line in lines:
        key, _, value = line.partition(":")
        if line.startswith("["):
            in_events = line.strip().lower() == "[events]"
        elif in_events and key == "Format":
            columns = [column.strip().lower() for column in value.split(",")]
        elif in_events and key == "Dialogue" and columns:
            cells = dict(zip(columns, value.split(",", len(columns) - 1), strict=False))
            text = re.sub(r"\\[Nnh]", " ", _OVERRIDE.sub("", cells.get("text", "")))
            said = tuple(filter(None, [one_line(text)]))
            start, end = (seconds(cells.get(name, "").strip()) for name in ("start", "end"))
            yield Cue(start=start, end=end, lines=said, voice=one_line(cells.get("name", "")))


def _lines(text: str) -> tuple[str, ...]:
    plain = html.unescape(_OVERRIDE.sub("", _TAG.sub("", text.replace("[br]", "\n"))))
    return tuple(filter(None, map(one_line, plain.split("\n"))))
