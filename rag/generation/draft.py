"""An answer while it is being written: verified sentences with their citations, numbered by first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.generation.sentences import without_list_mark
from rag.model_types import Usage
from rag.retrieval.statements import says, statements
from rag.types import Answer, Citation, Sentence, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rag.generation.citations import Attribution
    from rag.model_types import FinishReason, GenerationChunk
    from rag.types import Passage, Timings


class AnswerDraft:
    """Accumulates one answer. ``text`` only ever holds supported sentences."""

    def __init__(self, question: str, passages: Sequence[Passage], *, dropped_passages: int = 0) -> None:
        self.question = question
        self.sentences: list[Sentence] = []
        self.dropped_sentences: list[str] = []
        self.says_not_in_passages = False
        self.usage = Usage()
        self._passages = tuple(passages)
        self._dropped_passages = dropped_passages
        self._citations: list[Citation] = []
        self._numbers: dict[int, int] = {}
        self._text = ""
        self._finish_reason: FinishReason | None = None

    def add(self, sentence: str, attributions: Sequence[Attribution]) -> tuple[str, list[Citation]]:
        """Append a supported sentence; returns the text it adds and its citations.

        One passage keeps one number; each sentence that uses it has a citation with a quote of its own.
        """
        said = sentence.strip()
        gap = _gap(self._text, sentence)
        span = Span(start=len(self._text) + len(gap), end=len(self._text) + len(gap) + len(said))
        self._text += gap + said
        added = [self._citation(attribution, span) for attribution in attributions]
        self._citations += added
        self.sentences.append(Sentence(text=said, span=span, citations=tuple(c.number for c in added)))
        return gap + said, added

    def repeats(self, sentence: str) -> bool:
        """Whether the answer holds this very sentence already: small models fall into loops."""
        return any(sentence.strip() == earlier.text for earlier in self.sentences)

    def drop(self, sentence: str) -> None:
        """Keep a sentence out of the answer, but on record."""
        self.dropped_sentences.append(sentence.strip())

    def finish(self, chunk: GenerationChunk) -> None:
        """Take over what the generator's last chunk reports."""
        self._finish_reason = chunk.finish_reason
        self.usage = chunk.usage or self.usage

    def answer(self, *, timings: Timings, trace_id: str) -> Answer:
        """The answer as it stands."""
        return Answer(
            status="answered",
            text=self._text,
            sentences=tuple(self.sentences),
            citations=tuple(self._citations),
            passages=self._passages,
            refusal=None,
            usage=self.usage,
            timings=timings,
            trace_id=trace_id,
            finish_reason=self._finish_reason,
            dropped_sentences=tuple(self.dropped_sentences),
            dropped_passages=self._dropped_passages,
        )

    def _citation(self, attribution: Attribution, answer_span: Span) -> Citation:
        number = self._numbers.setdefault(attribution.position, len(self._numbers) + 1)
        passage = self._passages[attribution.position]
        offset = passage.chunk.span.start
        return Citation(
            number=number,
            passage=passage,
            quote=attribution.quote,
            quote_span=Span(start=offset + attribution.quote_span.start, end=offset + attribution.quote_span.end),
            answer_span=answer_span,
            support=attribution.support,
            also_in=tuple(
                source for source in passage.also_in if says(statements(source.chunk.text), attribution.quote)
            ),
        )


def _gap(text: str, sentence: str) -> str:
    """White space between what stands and the next sentence: list items keep their own lines."""
    if not text:
        return ""
    return "\n" if without_list_mark(sentence) != sentence else " "
