"""A prompt's segments to one list of tokens, with the borders kept and text unable to act as markup."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import InvalidRequest
from rag.inference.template import ChatTemplate, Message
from rag.model_types import SegmentKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.inference.erased import Erased
    from rag.inference.tokens import Vocabulary
    from rag.model_types import Prompt, Segment

_ROLES = {
    SegmentKind.PREFIX: "system",
    SegmentKind.PASSAGE: "user",
    SegmentKind.QUESTION: "user",
    SegmentKind.HISTORY_USER: "user",
    SegmentKind.HISTORY_ASSISTANT: "assistant",
}
# Private-use characters: templates neither hold nor change them, and segment texts never meet the template.
_MARKER = re.compile("\ue000([0-9]+)\ue001")
# The same passages are counted while packing, then read twice; a prompt has a few dozen segments.
_CACHED_SEGMENTS = 256
_CACHED_CHARACTERS = 16_384  # a segment's most: what is cached stays within a few megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPrompt:
    """Token ids as the model reads them; ``spans[i]`` is the half-open token range of segment ``i``."""

    tokens: NDArray[np.int32]
    spans: tuple[tuple[int, int], ...]


class PromptEncoder:
    """Segments to tokens, through the model's chat template.

    Adjacent segments of one role make one message and are joined as they are, without a separator. The template is
    rendered once with a marker for each segment and cut at the markers: its own text is tokenized with control tokens,
    a segment's without, each by itself. So "<|im_end|>" inside a passage is text, and a passage has the same tokens
    in every prompt.
    """

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, *, erased: Erased | None = None) -> None:
        """The words of passages in ``erased`` are not kept."""
        self._vocabulary = vocabulary
        self._template = template
        self._erased = erased
        self._cached_text = functools.lru_cache(maxsize=_CACHED_SEGMENTS)(vocabulary.encode_text)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Raises InvalidRequest if the template cannot express the prompt's turns."""
        segments = prompt.segments
        pieces = _MARKER.split(self._template.render(_messages(prompt)))
        parts: list[NDArray[np.int32]] = []
        spans: dict[int, tuple[int, int]] = {}
        length = 0
        for i, piece in enumerate(pieces):
            is_marker = i % 2 == 1
            tokens = self._encode_text(segments[int(piece)]) if is_marker else self._markup(piece, opens=i == 0)
            if is_marker:
                spans[int(piece)] = (length, length + len(tokens))
            parts.append(tokens)
            length += len(tokens)
        if len(spans) != len(segments):
            raise InvalidRequest("The model's chat template leaves parts of this conversation out.")
        return EncodedPrompt(tokens=np.concatenate(parts), spans=tuple(spans[i] for i in range(len(segments))))

    def forget(self) -> None:
        """Keep no text. May be called from any thread."""
        self._cached_text.cache_clear()

    def _encode_text(self, segment: Segment) -> NDArray[np.int32]:
        text, chunk = segment.text, segment.chunk_id
        if len(text) > _CACHED_CHARACTERS:
            return self._vocabulary.encode_text(text)
        tokens = self._cached_text(text)
        if chunk is not None and self._erased is not None and self._erased.touches(frozenset((chunk,))):
            self.forget()
        return tokens

    def _markup(self, text: str, *, opens: bool) -> NDArray[np.int32]:
        tokens = self._vocabulary.encode_markup(text)
        bos = self._vocabulary.bos
        if opens and self._vocabulary.adds_bos and (not len(tokens) or tokens[0] != bos):
            tokens = np.concatenate([np.array([bos], dtype=np.int32), tokens])
        return tokens


def _messages(prompt: Prompt) -> list[Message]:
    """One message for each run of segments of the same role; a past turn ends before what follows it."""
    messages = []
    numbered = enumerate(prompt.segments)
    for role, run in groupby(numbered, key=lambda item: _ROLES[item[1].kind]):
        content = ""
        for index, segment in run:
            content += f"\ue000{index}\ue001"
            if segment.kind in (SegmentKind.HISTORY_USER, SegmentKind.HISTORY_ASSISTANT):
                content += "\n\n"
        messages.append(Message(role=role, content=content.removesuffix("\n\n")))
    return messages
