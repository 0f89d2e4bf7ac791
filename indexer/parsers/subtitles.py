"""Subtitles (SubRip, WebVTT, SubStation Alpha): what is said, in paragraphs that begin with their time."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, Parsed, Title, bounded, one_line
from indexer.parsers.decoding import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_TIMES = re.compile(r"^\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})\s*-->\s*((?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3})")
_VOICE = re.compile(r"<v(?:\.[^\s>]+)*\s+([^>]+)>")
_TAG = re.compile(r"</?[A-Za-z0-9][^>\n]*>|<\d[^>\n]*>")
_OVERRIDE = re.compile(r"\{\\?[^}\n]*\}")
# As Zoom writes who speaks.
_SPEAKER = re.compile(r"([^\W\d_a-z][\w.'’-]*(?: [\w.'’()-]+){0,4}):\s+(?=\S)")
_NOT_CUES = re.compile(r"^(?:NOTE|STYLE|REGION)\b")
# As much as is said in about half a minute.
_PARAGRAPH_CHARS: Final = 500
_PAUSE_S: Final = 8.0
# More do not stand on a screen.
_ROLLED_LINES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cue:
    start: float
    end: float
    lines: tuple[str, ...]
    voice: str = ""


def parse_srt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what SubRip subtitles say."""
    yield from _parse(file, encoding)


def parse_vtt(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what WebVTT subtitles (https://www.w3.org/TR/webvtt1/) say, with the speakers they name."""
    yield from _parse(file, encoding)


def parse_ass(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield what SubStation Alpha subtitles say, with the speakers they name."""
    with TextReader(file, encoding) as reader:
        yield from _paragraphs(_dialogue(reader.lines()))
        yield from reader.notices()


def _parse(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    with TextReader(file, encoding) as reader:
        lines = reader.lines()
        first = next(lines, "").lstrip("\ufeff")
        if first.startswith("WEBVTT") and (title := first[6:].strip(" -\t\n")):
            yield Title(text=title)
        # Of WebVTT a line of spaces is one of a cue; captions that roll have them.
        yield from _paragraphs(_cues([first], lines, "\r\n" if first.startswith("WEBVTT") else None))
        yield from reader.notices()


def _cues(first: list[str], lines: Iterator[str], empty: str | None) -> Iterator[_Cue]:
    group: list[str] = [line for line in first if line.strip()]
    for line in lines:
        if line.strip(empty):
            group.append(line)
            continue
        yield from _cue(group)
        group = []
    yield from _cue(group)


def _cue(group: list[str]) -> Iterator[_Cue]:
    if not group or _NOT_CUES.match(group[0]):
        return
    # The times stand in the first line, or in the second after a number or a name.
    for number, line in enumerate(group[:2]):
        if times := _TIMES.match(line):
            raw = "".join(group[number + 1 :])
            voices = list(_VOICE.finditer(raw))
            start, end = _seconds(times[1]), _seconds(times[2])
            if not voices:
                said = _lines(raw)
                spoken = _SPEAKER.match(said[0]) if said else None
                if spoken is not None:
                    said = (said[0][spoken.end() :], *said[1:])
                yield _Cue(start=start, end=end, lines=said, voice=spoken[1] if spoken is not None else "")
                return
            for place, voice in enumerate(voices):
                stop = voices[place + 1].start() if place + 1 < len(voices) else len(raw)
                said = _lines(raw[voice.end() : stop])
                yield _Cue(start=start, end=end, lines=said, voice=one_line(html.unescape(voice[1])))
            return


def _dialogue(lines: Iterator[str]) -> Iterator[_Cue]:
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
            start, end = (_seconds(cells.get(name, "").strip()) for name in ("start", "end"))
            yield _Cue(start=start, end=end, lines=said, voice=one_line(cells.get("name", "")))


def _paragraphs(cues: Iterator[_Cue]) -> Iterator[Block]:
    parts: list[str] = []
    size = 0
    voice = ""
    last: _Cue | None = None
    for cue in cues:
        shown = 0 if last is None else _shown_before(last.lines, cue.lines)
        text = " ".join(cue.lines[shown:])
        if not text:
            continue
        if parts and last and (size >= _PARAGRAPH_CHARS or cue.start - last.end >= _PAUSE_S):
            yield from bounded(Block(text="".join(parts) + "\n\n"))
            parts, size, voice = [], 0, ""
        if not parts:
            parts.append(f"[{_clock(cue.start)}]")
        if cue.voice and cue.voice != voice:
            parts.append(f"{chr(10) if len(parts) > 1 else ' '}{cue.voice}:")
        voice = cue.voice
        parts.append(f" {text}")
        size += len(text)
        last = cue
    if parts:
        yield from bounded(Block(text="".join(parts) + "\n\n"))


def _shown_before(before: Sequence[str], lines: Sequence[str]) -> int:
    """How many lines at the top are the last ones of the cue before: captions that roll show each line twice."""
    most = min(len(before), len(lines), _ROLLED_LINES)
    return next((n for n in range(most, 0, -1) if before[-n:] == lines[:n]), 0)


def _lines(text: str) -> tuple[str, ...]:
    plain = html.unescape(_OVERRIDE.sub("", _TAG.sub("", text)))
    return tuple(filter(None, map(one_line, plain.split("\n"))))


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        try:
            total = total * 60 + float(part)
        except ValueError:
            return 0.0
    return total if math.isfinite(total) else 0.0


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
