"""Footnotes of Markdown, as Pandoc, GitHub and others write them."""

from __future__ import annotations

import re
from collections import Counter

MENTION = re.compile(r"\[\^([^\]\s]+)\]")
_DEFINITION = re.compile(r" {0,3}\[\^([^\]\s]+)\]:")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)")
# What begins something of its own right below a paragraph.
_BEGINS = re.compile(r" {0,3}(?:#{1,6}\s|>|[-*+]\s|\d{1,9}[.)]\s|`{3}|~{3}|\|)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def without_marks(heading: str) -> str:
    """A heading without the marks of its notes."""
    return MENTION.sub("", heading)


def part_notes(text: str) -> tuple[str, dict[str, str]]:
    """A text without the notes that it refers to, and these by their names, as they are written."""
    if "[^" not in text:
        return text, {}
    mentions = Counter(MENTION.findall(text))
    kept: list[str] = []
    notes: dict[str, list[str]] = {}
    lines: list[str] | None = None  # of the note that is being read
    fence, blank = "", True
    for line in text.splitlines(keepends=True):
        begun = None if fence or not (blank or lines) else _DEFINITION.match(line)
        if begun is not None and begun[1] not in notes and mentions[begun[1]] > 1:
            lines = notes[begun[1]] = [line]
        elif lines is not None and begun is None and _goes_on(line, blank=blank):
            lines.append(line)
        else:
            lines = None
            kept.append(line)
            if (mark := _FENCE.match(line)) is not None and (not fence or mark[1].startswith(fence)):
                fence = "" if fence else mark[1]
        blank = not line.strip()
    return "".join(kept), {name: "".join(note).rstrip() + "\n\n" for name, note in notes.items()}


def _goes_on(line: str, *, blank: bool) -> bool:
    """Whether a line goes on with the note above it; ``blank`` is whether an empty line is between."""
    return not line.strip() or _INDENTED.match(line) is not None or not (blank or _BEGINS.match(line))
