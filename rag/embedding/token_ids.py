"""Texts as token ids. Of tokenizers that look at each word by itself the words are remembered, not tokenized again.

The normalizer and the splitter of a BERT tokenizer take four microseconds a token, and every passage is tokenized five
times on its way into the store: as it is weighed, cut, measured with its context, and embedded. Words come again.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

# About 30 MB. A text that is no language has no end of words.
_MOST_WORDS: Final = 1 << 17
_LONGEST_WORD: Final = 64

# What these separate is tokenized as if it stood alone: letters change by themselves and no token reaches across. Other
# white space and control characters are left to the tokenizer, with what they stand in.
_PIECE = re.compile(r"[^ \t\n\r]+")
# Of plain ASCII also words and each sign.
_WORD_OR_SIGN = re.compile(r"[A-Za-z0-9]+|[^ \t\n\rA-Za-z0-9]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class TokenIds:
    """What a tokenizer makes of texts, special tokens included, nothing cut. Safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._around = _around(tokenizer)
        self._added = tuple(token.content for token in tokenizer.get_added_tokens_decoder().values())
        self._words: dict[str, Sequence[int]] = {}

    def of(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        if self._around is None:
            return self._encoded(texts)
        return [self._of_words(text, *self._around) for text in texts]

    def _of_words(self, text: str, first: int, last: int) -> list[int]:
        if any(token in text for token in self._added):  # looked for before the text is cut into words
            return self._encoded([text])[0]
        plain = text.isascii() and _CONTROL.search(text) is None
        words = (_WORD_OR_SIGN if plain else _PIECE).findall(text)
        try:
            return [first, *chain.from_iterable(map(self._words.__getitem__, words)), last]
        except KeyError:
            known = self._learned(words)
            return [first, *chain.from_iterable(map(known.__getitem__, words)), last]

    def _learned(self, words: Sequence[str]) -> dict[str, Sequence[int]]:
        """The ids of these words, which are remembered if they are no longer than words are."""
        found = {word: self._words.get(word) for word in words}
        new = [word for word, ids in found.items() if ids is None]
        # One by one: threads of the tokenizer's would wait for those that embed, for a handful of words.
        made = {word: self._tokenizer.encode(word, add_special_tokens=False).ids for word in new}
        if len(self._words) + len(made) > _MOST_WORDS:
            self._words = {}
        self._words.update((word, ids) for word, ids in made.items() if len(word) <= _LONGEST_WORD)
        return {**{word: ids for word, ids in found.items() if ids is not None}, **made}

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]


def _around(tokenizer: Tokenizer) -> tuple[int, int] | None:
    """The tokens that a text begins and ends with, if the tokenizer looks at each word by itself, as BERT's do."""
    state = json.loads(tokenizer.to_str())
    kinds = [_kind(state, part) for part in ("normalizer", "pre_tokenizer", "model")]
    around = tokenizer.encode("").ids
    verbatim = not any(token.normalized for token in tokenizer.get_added_tokens_decoder().values())
    if kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and verbatim and len(around) == 2:
        return around[0], around[1]
    return None


def _kind(state: dict[str, Any], part: str) -> str:
    return str((state.get(part) or {}).get("type"))
