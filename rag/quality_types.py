"""What is known of passages beside what they say: whether others say the same, whether they are text at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rag.types import Chunk, Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What is known of a chunk without reading it: why searches leave it out, if they do, and whether others may say
    the same. ``whole`` is equal, and there, for all that do to the word. ``passage`` if it was read all the same.
    """

    flaw: str | None
    whole: int | None
    shared: bool
    passage: tuple[Chunk, Document] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Counts of a document's active chunks, or a collection's.

    ``duplicates`` say to the word what a chunk of another document says; ``boilerplate`` are those of them that stand
    in ten different files or more. ``near_duplicates`` are no duplicates, and hold a chunk of another document and
    little more, or are held by one so: searches fold both. Of a collection as a whole they are not counted. ``flaws``
    counts those that are no text, which searches leave out, by the reason.
    """

    duplicates: int = 0
    near_duplicates: int = 0
    boilerplate: int = 0
    flaws: Mapping[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """In words; empty if there is nothing to tell."""
        alike = {"duplicate": self.duplicates, "near duplicate": self.near_duplicates}
        counts = {f"{name}{'s' if count != 1 else ''}": count for name, count in alike.items()}
        counts |= {"boilerplate": self.boilerplate, **self.flaws}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
