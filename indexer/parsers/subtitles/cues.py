"""Captions of whatever format as paragraphs: what is said, with its time and who says it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Block, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# As much as is said in about half a minute.
_PARAGRAPH_CHARS: Final = 500
_PAUSE_S: Final = 8.0
# More do not stand on a screen.
_ROLLED_LINES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What is shown from ``start`` to ``end``, in seconds; ``voice`` is who says it, where that is told."""

    start: float
    end: float
    lines: tuple[str, ...]
    voice: str = ""


def paragraphs(cues: Iterator[Cue]) -> Iterator[Block]:
    """Some half a minute each, and a new one after a pause."""
    parts: list[str] = []
    size = 0
    voice = ""
    last: Cue | None = None
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


def seconds(time: str) -> float:
    """Of ``hours:minutes:seconds``, or less of it; 0 where it is none."""
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
