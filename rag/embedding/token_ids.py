"""Texts as token ids. Of tokenizers that look at each word by itself the words are remembered, not tokenized again.

The normalizer and the splitter of a BERT tokenizer take four microseconds a token, and every passage is tokenized five
times on its way into the store: as it is weighed, cut, measured with its context, and embedded. Words come again, and
so do texts: the one that is measured with its context is the one that is embedded, soon after.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer

# About 30 MB. A text that is no language has no end of words.
_MOST_WORDS: Final = 1 << 17
_LONGEST_WORD: Final = 64
# Of texts, up to twice as many: those of some 500 to 1,000 passages, 6 MB with their ids (of Chinese 20).
_MOST_CHARS: Final = 1 << 20
_LONGEST_TEXT: Final = 1 << 13

# What these separate is tokenized as if it stood alone: letters change by themselves and no token reaches across. Other
# white space and control characters are left to the tokenizer, with what they stand in.
_PIECE = re.compile(r"[^ \t\n\r]+")
# Of plain ASCII also words and each sign.
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class TokenIds:
    """What a tokenizer makes of texts, special tokens included, nothing cut. Safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._around = _around(tokenizer)
        added = [re.escape(token.content) for token in tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(added) or r"(?!)")
        self._words: dict[str, Sequence[int]] = {}
        self._last: dict[str, Sequence[int]] = {}
        self._before: dict[str, Sequence[int]] = {}
        self._chars = 0

    def of(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """The ids of each text."""
        last, before = self._last, self._before
        found = {text: last[text] if text in last else before.get(text) for text in texts}
        new = [text for text, ids in found.items() if ids is None]
        made = dict(zip(new, self._tokenized(new), strict=True))
        self._remember(made)
        known = {text: ids for text, ids in found.items() if ids is not None} | made
        return [known[text] for text in texts]

    def _remember(self, made: Mapping[str, Sequence[int]]) -> None:
        passages = {text: ids for text, ids in made.items() if len(text) <= _LONGEST_TEXT}
        chars = sum(map(len, passages))
        if self._chars + chars > _MOST_CHARS:
            self._before, self._last, self._chars = self._last, {}, 0
        self._last.update(passages)
        self._chars += chars

    def _tokenized(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        if self._around is None:
            return self._encoded(texts)
        return [self._of_words(text, *self._around) for text in texts]

    def _of_words(self, text: str, first: int, last: int) -> Sequence[int]:
        if self._added.search(text):  # looked for before the text is cut into words
            return self._encoded([text])[0]
        plain = text.isascii() and _CONTROL.search(text) is None
        words = (_WORD_OR_SIGN if plain else _PIECE).findall(text)
        try:
            found = list(map(self._words.__getitem__, words))
        except KeyError:
            found = list(map(self._learned(words).__getitem__, words))
        ids = [first]
        for each in found:
            ids += each
        ids.append(last)
        return ids

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
