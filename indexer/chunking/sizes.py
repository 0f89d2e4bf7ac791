"""How large chunks are aimed at is part of what a chunker is called: the collection's own, as its embedder is."""

from __future__ import annotations

from typing import Final

from indexer.chunking.chunker import MAX_TOKENS, TARGET_TOKENS

# What a collection's chunks can be asked to be, in tokens.
LEAST_AIM: Final = 20
MOST_AIM: Final = 1000

_MARK: Final = "@"


def sized(version: str, tokens: int) -> str:
    """What the chunker is called that aims at so many tokens a chunk."""
    return version if tokens == TARGET_TOKENS else f"{version}{_MARK}{tokens}"


def version_in(chunker: str) -> str:
    """Its name without the size."""
    return chunker.partition(_MARK)[0]


def tokens_in(chunker: str) -> int:
    """The tokens that a chunker aims at."""
    size = chunker.partition(_MARK)[2]
    return int(size) if size.isdecimal() else TARGET_TOKENS


def limit_of(tokens: int) -> int:
    """The most tokens that a chunk has where so many are aimed at."""
    return tokens * MAX_TOKENS // TARGET_TOKENS
