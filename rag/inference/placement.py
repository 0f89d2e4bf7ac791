"""Where the passages of a prompt are put to reuse what is at hand: side by side, at hand first, or as they came."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.inference.kv.tree import KvTree
    from rag.inference.requests import PromptParts, Request

# Every passage takes a sequence of the context, or two.
_MOST_STITCHED = 40


class Placement:
    """What the engine's options say of it. Used by the engine's thread."""

    def __init__(self, tree: KvTree, *, stitched: bool, reorders: bool, recomputed: int) -> None:
        self._tree = tree
        self._stitched, self._reorders, self._recomputed = stitched, reorders, recomputed

    def stitches(self, prompt: PromptParts) -> bool:
        """Whether the prompt's passages are put side by side."""
        passages = len(prompt.passages)
        return self._stitched and self._recomputed < passages <= _MOST_STITCHED and len(prompt.prefix) > 0

    def arranged(self, request: Request) -> PromptParts:
        """The prompt with its passages where they can be reused."""
        prompt, anew = request.prompt, self._recomputed
        if self.stitches(prompt):
            return replace(
                prompt, passages=prompt.passages[anew:], chunks=prompt.chunks[anew:], recomputed=prompt.passages[:anew]
            )
        if self._reorders and len(prompt.passages) > 1:
            root = self._tree.root(request.adapter)
            path = self._tree.descend(root, prompt.prefix)
            order = self._tree.order(path[-1] if path else root, prompt.passages)
            passages = tuple(prompt.passages[i] for i in order)
            chunks = tuple(prompt.chunks[i] for i in order) if prompt.chunks else ()
            return replace(prompt, passages=passages, chunks=chunks)
        return prompt
