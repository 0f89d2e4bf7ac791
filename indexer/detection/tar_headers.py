"""TAR archives, by the header that they begin with (POSIX.1-1988, and Unix V7 before it)."""

from __future__ import annotations

import re
from typing import Final

_MARK: Final = b"ustar"
_MARK_AT: Final = 257
# Where later archives have their mark, their version and the name of a user.
_UNUSED: Final = slice(257, 297)
_BLOCK_BYTES: Final = 512
_CHECKSUM: Final = slice(148, 156)
_OCTAL = re.compile(rb" *[0-7]{1,6}[ \0]+")


def is_tar(head: bytes) -> bool:
    """Whether bytes begin with a header, by its mark; where an old archive has none, by its checksum."""
    block = head[:_BLOCK_BYTES]
    if block.startswith(_MARK, _MARK_AT):
        return True
    stated = block[_CHECKSUM]
    if len(block) < _BLOCK_BYTES or any(block[_UNUSED]) or not _OCTAL.fullmatch(stated):
        return False
    # Counted as if spaces stood in its own place.
    return int(stated.strip(b" \0"), 8) == sum(block) - sum(stated) + len(stated) * ord(" ")
