"""Running a parser on text or bytes, for its tests."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from indexer.parsers.blocks import Block, Limits, Member, Notice, Title
from indexer.parsers.registry import PARSERS, load_parser

if TYPE_CHECKING:
    from indexer.parsers.blocks import Parsed

LIMITS = Limits(members=100, total_bytes=1 << 24, member_bytes=1 << 22)


class Result:
    """What a parser yielded, by kind."""

    def __init__(self, found: list[Parsed]) -> None:
        self.blocks = [each for each in found if isinstance(each, Block)]
        self.notices = [each.message for each in found if isinstance(each, Notice)]
        self.titles = [each.text for each in found if isinstance(each, Title)]
        self.members = {each.name: each for each in found if isinstance(each, Member)}
        self.text = "".join(block.text for block in self.blocks)

    def kinds(self) -> list[tuple[str, str]]:
        return [(block.kind.value, block.heading or block.text.strip()) for block in self.blocks]

    def of(self, kind: str) -> list[str]:
        return [block.heading or block.text.strip() for block in self.blocks if block.kind == kind]


def parsed(media_type: str, source: str | bytes, encoding: str = "utf-8") -> Result:
    raw = source.encode(encoding) if isinstance(source, str) else source
    return Result(list(load_parser(PARSERS[media_type])(io.BytesIO(raw), encoding)))
