"""Which language a text is written in, where that can be told."""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Final

from rag.once import Once

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_SAMPLE_CHARACTERS = 4000
# Three pieces say the same in a third of the time, where they say it clearly (docs/lab-log.md).
_PIECE_CHARACTERS = 200
_CLEAR = 0.97
_CONFIDENCE = 0.5  # of the identifier, whose probabilities are over a hundred languages
_NO_WORDS = "zxx"  # what it calls data


@cache
def begin_loading() -> None:
    """Load what tells languages beside the caller, who will ask soon: it is half a second of unpacking."""
    Thread(target=_identifier, name="languages").start()


def language_of(text: str) -> str | None:
    """The ISO 639 code of the language, of two letters if it has one; the beginning is looked at."""
    sample = text[:_SAMPLE_CHARACTERS]
    pieces = _pieces_of(sample)
    language, confidence = _identifier().classify(pieces)
    if confidence < _CLEAR and pieces != sample:
        language, confidence = _identifier().classify(sample)
    return language if confidence >= _CONFIDENCE and language != _NO_WORDS else None


def _pieces_of(sample: str) -> str:
    """Its beginning, middle and end."""
    size = _PIECE_CHARACTERS
    if len(sample) <= 4 * size:
        return sample
    middle = (len(sample) - size) // 2
    return f"{sample[:size]} {sample[middle : middle + size]} {sample[-size:]}"


def _open() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, in programs that ingest

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_identifier: Final = Once(_open)
