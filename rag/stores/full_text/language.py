"""Which language a text is written in, where that can be told."""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Final

from rag.once import Once
from rag.stores.full_text.terms import STEMMED

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_SAMPLE_CHARACTERS = 4000
_CONFIDENCE = 0.5  # of the identifier, whose probabilities are over a hundred languages


@cache
def begin_loading() -> None:
    """Load what tells languages beside the caller, who will ask soon: it is half a second of unpacking."""
    Thread(target=_identifier, name="languages").start()


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language, if it is one whose words can be stemmed; the beginning is looked at."""
    language, confidence = _identifier().classify(text[:_SAMPLE_CHARACTERS])
    return language if confidence >= _CONFIDENCE and language in STEMMED else None


def _open() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, in programs that ingest

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_identifier: Final = Once(_open)
