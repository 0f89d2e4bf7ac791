"""Prompts for tests of generators."""

from __future__ import annotations

from rag.model_types import Prompt, Segment, SegmentKind

TOWER = "The Eiffel Tower stands in Paris. It was built in 1889 and is 330 metres high.\n\n"


def make_prompt(question: str, *passages: str) -> Prompt:
    return Prompt(
        segments=(
            Segment(kind=SegmentKind.PREFIX, text="Answer from the passages."),
            *(Segment(kind=SegmentKind.PASSAGE, text=text) for text in passages or (TOWER,)),
            Segment(kind=SegmentKind.QUESTION, text=question),
        )
    )
