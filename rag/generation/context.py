"""Packing passages into the model's context: exact token counts, best passages first, nothing cut silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import QuestionTooLong
from rag.generation.prompts import answer_prompt, answerability_prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.protocols import Generator
    from rag.retrieval.parents import Parent
    from rag.types import Passage

# A prompt this close to the context still leaves room for a sentence.
_MIN_ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedContext:
    """The passages that fit, best first, how many did not, and the tokens left for the answer."""

    passages: tuple[Passage, ...]
    dropped: int
    prompt_tokens: int
    answer_tokens: int


def pack(question: str, parents: Sequence[Parent], generator: Generator, *, max_answer_tokens: int) -> PackedContext:
    """Choose the passages that fit beside the question and the answer.

    Passages are taken whole, in rank order; in place of a widened one that does not fit what was found within it is
    tried, and one that does not fit by itself is left out and later, shorter ones are tried.

    Raises:
        QuestionTooLong: the question alone leaves no room for a passage or an answer.
    """
    context = generator.info.context_tokens
    answer_tokens = min(max_answer_tokens, context // 3)
    bare = require_fits(question, generator)
    taken: list[Passage] = []
    total, dropped = bare, 0

    def take(passage: Passage) -> bool:
        nonlocal total
        size = _prompt_tokens(question, [*taken, passage], generator)
        if fits := size + answer_tokens <= context:
            taken.append(passage)
            total = size
        return fits

    for parent in parents:
        if take(parent.passage):
            continue
        as_found = parent.hits if parent.passage.chunk != parent.hits[0].chunk else ()
        dropped += len(parent.hits) - sum(take(hit) for hit in as_found)
    if parents and not taken:
        raise QuestionTooLong(
            f"The question takes {bare} of the context's {context} tokens, which leaves no room for a passage.",
            hint="Shorten the question, or raise RAG_CONTEXT_TOKENS as far as the model allows.",
        )
    return PackedContext(
        passages=tuple(taken),
        dropped=dropped,
        prompt_tokens=total,
        answer_tokens=min(max_answer_tokens, context - total),
    )


def require_fits(question: str, generator: Generator) -> int:
    """Tokens of the question with its instructions and no passage.

    Raises:
        QuestionTooLong: they leave no room for an answer.
    """
    context = generator.info.context_tokens
    bare = _prompt_tokens(question, [], generator)
    if bare + _MIN_ANSWER_TOKENS > context:
        raise QuestionTooLong(
            f"The question takes {bare} tokens with its instructions, and the model's context holds {context} "
            f"with at least {_MIN_ANSWER_TOKENS} for the answer.",
            hint="Shorten the question, or raise RAG_CONTEXT_TOKENS as far as the model allows.",
        )
    return bare


def _prompt_tokens(question: str, passages: Sequence[Passage], generator: Generator) -> int:
    """The longer of the two prompts that will be read with these passages."""
    return max(
        generator.count_prompt_tokens(answer_prompt(question, passages)),
        generator.count_prompt_tokens(answerability_prompt(question, passages)),
    )
