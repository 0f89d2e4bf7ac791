"""Text that was decoded with the wrong encoding before it came here ("donâ€™t"): put right where that is certain.

ftfy tells such text from words that merely look odd. It is followed where a whole line comes out as text, never in
code, and not where somebody writes about broken encodings.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import Block, BlockKind, Notice, Parsed, Title
from indexer.parsers.decoding import storable

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUBJECT = re.compile(
    r"\b(?:utf-?8|mojibake|(?:en|de)cod(?:e[ds]?|ing)|code ?pages?|latin-?1|iso-?8859\S*|(?:windows|cp)-?125\d)\b",
    re.IGNORECASE,
)
# Nothing but signs between quotation marks is shown, not used.
_SHOWN = re.compile(r"([\"'`])[^\x00-\x7f]{1,8}\1")
# Ångströms squared, cubed and give or take, and diameters, which are the bytes of letters ("Ų"): these stand in words.
_MEASURED = re.compile(r"(?<![^\W\d_])(?:Å[¹²³±]|Ø[¼½¾])(?![^\W\d_])")
# What ftfy's codecs make of the replacement character: of a letter that was lost before.
_SUBSTITUTE: Final = "\x1a"
_QUOTED: Final = ("“”", "„“", "«»")
# Quotation marks of Windows that were read as control characters, which other programs use for bullets of all kinds.
_CONTROL = re.compile(r"[\x80-\x9f]")
_WINDOWS: Final = {byte: bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(0x80, 0xA0)}
_QUOTING = re.compile(r"[^\W\d_]\x92[^\W\d_]|\x93[^\x93\x94]+\x94")


def repaired(parsed: Iterator[Parsed]) -> Iterator[Parsed]:
    """What a parser yields, with broken text put right and a notice of how many blocks that were."""
    count = 0
    for item in parsed:
        if isinstance(item, Title):
            yield Title(text=repaired_text(item.text))
        elif isinstance(item, Block) and item.kind is not BlockKind.CODE:
            fixed = _block(item)
            count += fixed.text != item.text
            yield fixed
        else:
            yield item
    if count:
        blocks = "One block of text" if count == 1 else f"{count:,} blocks of text"
        yield Notice(message=f"{blocks} had a broken encoding (such as â€™ for an apostrophe), which was repaired.")


def _block(block: Block) -> Block:
    """A block with all that it says put right: its caption is that of another block, and may be broken alone."""
    said = (block.text, block.heading, block.caption, block.header or "")
    if all(map(str.isascii, said)):
        return block
    text, heading, caption, header = map(repaired_text, said)
    return replace(block, text=text, heading=heading, caption=caption, header=block.header and header)


def repaired_text(text: str) -> str:
    """The text with its broken lines put right; the number of lines stays the same."""
    if text.isascii() or not _ftfy().badness.is_bad(text) or _SUBJECT.search(text):
        return text
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    ftfy = _ftfy()
    if line.isascii() or not ftfy.badness.is_bad(line) or _SHOWN.search(line) or _MEASURED.search(line):
        return line
    fixed = storable(ftfy.fix_encoding(line, replace_lossy_sequences=False, fix_c1_controls=False))
    if fixed.count(_SUBSTITUTE) > line.count(_SUBSTITUTE):
        return line
    if ftfy.badness.is_bad(fixed) or "\n" in fixed or "\r" in fixed or _has_opened(line, fixed):
        return line
    if _CONTROL.search(line) and line.translate(_WINDOWS) == fixed and not _QUOTING.search(line):
        return line
    # A line that has the right form, too, sets both side by side.
    gained = Counter(fixed) - Counter(line)
    return line if any(not character.isascii() and character in line for character in gained) else fixed


def _has_opened(line: str, fixed: str) -> bool:
    """Whether the closing marks of a line's quotations went into letters: “AMANHÃ” is right, and no “AMANHÔ."""
    return any(fixed.count(last) < line.count(last) == line.count(first) for first, last in _QUOTED)


@lru_cache(maxsize=1)
def _ftfy() -> Any:  # noqa: ANN401 - the library is loaded in the process that parses only
    import ftfy
    import ftfy.badness

    return ftfy
