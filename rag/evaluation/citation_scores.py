"""Whether citations point where the judgments say the answer is.

ALCE (Gao et al., EMNLP 2023) asks a judge model whether a statement follows from its citations. Here the judge is the
folder: a citation is right if it cites a judged-relevant document. That is stricter, because a passage nobody judged
may support a sentence too, and it is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from rag.evaluation.corpus import entry_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rag.types import Answer, Citation

# A gold sentence counts as shown when quotes cover this share of its characters.
_GOLD_COVER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationScores:
    """Shares 0..1, ``None`` where there is nothing to judge.

    ``precision``: of the citations, those of a relevant document. ``recall``: of the answer's sentences, those with
    at least one such citation. ``gold_sentences``: of the gold sentences, those the quotes show.
    """

    precision: float | None = None
    recall: float | None = None
    gold_sentences: float | None = None


def judge_citations(answer: Answer, relevant: Collection[str], gold_sentences: Sequence[str]) -> CitationScores:
    """Judge one answer; ``relevant`` are corpus ids. Nothing can be judged in an answer without sentences."""
    if not answer.sentences or not relevant:
        return CitationScores()
    right = [citation for citation in answer.citations if entry_id(citation.passage.document.uri) in relevant]
    numbers = {citation.number for citation in right}
    return CitationScores(
        precision=len(right) / len(answer.citations) if answer.citations else None,
        recall=fmean(not numbers.isdisjoint(sentence.citations) for sentence in answer.sentences),
        gold_sentences=fmean(_is_shown(gold, right) for gold in gold_sentences) if gold_sentences else None,
    )


def _is_shown(gold: str, citations: Sequence[Citation]) -> bool:
    """Whether the quotes from one passage cover enough of a sentence that stands there verbatim."""
    shown: dict[int, set[int]] = {}
    for citation in citations:
        chunk = citation.passage.chunk
        start = chunk.text.find(gold.strip())
        if start < 0:
            continue
        gold_range = range(chunk.span.start + start, chunk.span.start + start + len(gold.strip()))
        quoted = range(citation.quote_span.start, citation.quote_span.end)
        overlap = range(max(gold_range.start, quoted.start), min(gold_range.stop, quoted.stop))
        shown.setdefault(chunk.id, set()).update(overlap)
    return any(len(characters) >= _GOLD_COVER * len(gold.strip()) for characters in shown.values())
