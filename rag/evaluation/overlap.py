"""How far an answer says what a reference says, by words.

Exact match and token F1 follow the SQuAD evaluation (Rajpurkar et al., 2016): case, ASCII punctuation, English
articles and white space do not count, and the best of several references does. Recall of the reference's tokens is
what goes best with human judgment where models answer in sentences (Adlakha et al., TACL 2024).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """An answer against its references, each measure 0..1 and the best over the references.

    ``em`` is equality after normalisation; ``contains`` is whether a whole reference stands in the answer word for
    word; ``recall`` is the share of a reference's tokens that the answer has.
    """

    em: float = 0.0
    f1: float = 0.0
    contains: float = 0.0
    recall: float = 0.0


def compare(answer: str, references: Sequence[str]) -> Overlap:
    """Compare one answer with its alternatives; an empty answer or no reference scores 0."""
    said = normalised_tokens(answer)
    wanted = [normalised_tokens(reference) for reference in references]
    return Overlap(
        em=max((float(said == tokens) for tokens in wanted if tokens), default=0.0),
        f1=max((_f1(said, tokens) for tokens in wanted), default=0.0),
        contains=max((float(_contains(said, tokens)) for tokens in wanted if tokens), default=0.0),
        recall=max((_shared(said, tokens) / len(tokens) for tokens in wanted if tokens), default=0.0),
    )


def normalised_tokens(text: str) -> list[str]:
    """Words in lower case without ASCII punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _shared(said: list[str], wanted: list[str]) -> int:
    return (Counter(said) & Counter(wanted)).total()


def _f1(said: list[str], wanted: list[str]) -> float:
    shared = _shared(said, wanted)
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


def _contains(said: list[str], wanted: list[str]) -> bool:
    # Whole words: "308" is not in "3080".
    return f" {' '.join(wanted)} " in f" {' '.join(said)} "
