"""Front matter of Markdown, in YAML or TOML: the page's title, and what else it says of the page."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from indexer.parsers.blocks import Block, BlockKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FRONT = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?\n)?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*[:=][ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_KEY = re.compile(r"[\"']?([\w-]+)[\"']?[ \t]*[:=]")
_COMMENT = re.compile(r"[ \t]*#")
# Said to the program that makes pages of it.
_LAYOUT = re.compile(
    r"(?:layout|permalink|slug|toc|math|nav|sidebar|hide|css|id|uid|uuid|.*plugin)(?:$|[_-])|cssclass", re.IGNORECASE
)
_SAID = re.compile(r"\w{2,}|\d")
_SWITCH: Final = frozenset({"true", "false", "yes", "no", "null", "none"})


class Front(NamedTuple):
    """``said`` is what it says beside the title, line by line; ``end`` where the page's text begins."""

    title: str
    said: str
    end: int


def front_matter(text: str) -> Front | None:
    """The front matter that a page begins with."""
    found = _FRONT.match(text)
    if found is None:
        return None
    lines = (found[2] or "").splitlines(keepends=True)
    title = _TITLE.search(found[2] or "")
    number = 0

    def numbered(line: str) -> int:
        nonlocal number
        number += _KEY.match(line) is not None
        return number

    entries = ("".join(entry) for _, entry in groupby(lines, key=numbered))
    said = "".join(entry for entry in entries if _is_told(entry))
    return Front(title[1].strip("\"'") if title else "", said, found.end())


def _is_told(entry: str) -> bool:
    key = _KEY.match(entry)
    value = entry[key.end() :] if key else entry
    if key and (key[1].lower() == "title" or _LAYOUT.match(key[1])):
        return False
    return not _COMMENT.match(entry) and _SAID.search(value) is not None and value.strip().lower() not in _SWITCH


def below_heading(blocks: Iterable[Block], said: str) -> Iterator[Block]:
    """The blocks with what front matter says, below the heading if they begin with one."""
    block = Block(text=f"{said.rstrip()}\n\n") if said else None
    for each in blocks:
        if block is not None and each.kind is not BlockKind.HEADING:
            yield block
            block = None
        yield each
        if block is not None:
            yield block
            block = None
    if block is not None:
        yield block
