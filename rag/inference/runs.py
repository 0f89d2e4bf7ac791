"""Requests at work: how each brings its prompt into the cache, what it adds to a step, and what it takes from it."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from rag.errors import GenerationFailed
from rag.inference.context import OUTPUT_ROWS
from rag.inference.kv.node import Path
from rag.inference.kv.stitching import WALKERS, Stitcher
from rag.inference.kv.walker import Walker
from rag.inference.requests import ProbabilityRequest, Request, ScoreRequest, TextRequest
from rag.inference.sampling.sampler import probabilities
from rag.inference.speculation import LONGEST_DRAFT, PromptLookup
from rag.inference.text_output import TextOutput
from rag.model_types import GenerationChunk, TokenProbabilities, Usage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.errors import RagError
    from rag.inference.context import Batch, Context
    from rag.inference.kv.tree import KvTree
    from rag.inference.requests import Outbox, PromptParts
    from rag.inference.speculation import DraftPolicy
    from rag.inference.tokens import Vocabulary
    from rag.model_types import FinishReason

_R = TypeVar("_R", bound=Request)
# Between every two borders lies a node that takes a sequence of the context; of more passages, the last share one.
_MOST_BORDERS = 40
_NO_TEXT = np.empty(0, dtype=np.int32)


class Run(Generic[_R]):
    """A request at work: its place in the cache, and how far its prompt has been read.

    The prompt is a path through the tree (or a prefix and passages side by side), then a tail of the request's own.
    The last ``outputs`` tokens of the tail are read with their logits.
    """

    def __init__(self, request: _R, tree: KvTree, context: Context, outbox: Outbox) -> None:
        self.request = request
        self.ended = False
        self.admitted = time.monotonic()
        self.prompt_read: float | None = None
        self.position = 0  # of the next token
        self._tree = tree
        self._context = context
        self._outbox = outbox
        self._paths: list[Path] = []
        self._tail_read = 0
        self._tail_rows = 0
        self._first_row = 0

    @property
    def in_prompt(self) -> bool:
        return self.prompt_read is None

    def admit(self, prompt: PromptParts, *, stitched: bool, alone: bool) -> bool:
        """Find a place in the cache; False, and nothing is held, if there is none now."""
        self._prompt, self.stitched = prompt, stitched
        self._place(prompt, self._text_to_score(), stitched=stitched)
        if alone:
            self._tree.cells.set_aside()
        self._cells = len(self._tail) + self.request.new_tokens
        self._sequences = 1 + (WALKERS if stitched else 0)
        if not self._tree.cells.reserve(self._cells, self._sequences):
            self._unpin()
            return False
        sequence = self._tree.cells.take_sequence()
        if sequence is None:
            self._tree.cells.release(self._cells, self._sequences)
            self._unpin()
            return False
        self.sequence = sequence
        self._reader = (
            Stitcher(self._tree, self._context, self._paths[0], self._paths[1:], sequence)
            if stitched
            else Walker(self._tree, self._context, self._paths[0], sequence)
        )
        return True

    def add_prompt_rows(self, batch: Batch, room: int) -> int:
        """Add what is to be read of the prompt, at most ``room`` rows; how many there were."""
        added = 0 if self._reader.done else self._reader.add_rows(batch, room)
        if self._reader.done or self._reader.will_be_done:
            rows = min(len(self._tail) - self._tail_read, room - added)
            first_output = len(self._tail) - self._outputs
            outputs = max(0, self._tail_read + rows - max(first_output, self._tail_read))
            beyond = max(0, batch.outputs + outputs - OUTPUT_ROWS)
            rows, outputs = rows - beyond, outputs - beyond
            if rows > 0:
                tokens = self._tail[self._tail_read : self._tail_read + rows]
                start = self._tail_start + self._tail_read
                self._first_row = batch.add(tokens, start, self.sequence, outputs=max(0, outputs))
                self._tail_rows = rows
                added += rows
        return added

    def commit(self) -> None:
        """The step's batch was decoded."""
        self._reader.commit()
        rows, self._tail_rows = self._tail_rows, 0
        for at in range(self._tail_read, self._tail_read + rows):
            if at >= len(self._tail) - self._outputs and not self.ended:
                self._take(self._context.logits(self._first_row + at - self._tail_read))
        self._tail_read += rows
        if self._reader.done and self._tail_read == len(self._tail) and self.prompt_read is None:
            self.prompt_read = time.monotonic()
            self.position = self._tail_start + len(self._tail)
            self._complete()

    @property
    def tokens_read(self) -> int:
        """Prompt tokens that the model had to read so far."""
        return self._reader.read + self._tail_read

    @property
    def prompt_tokens(self) -> int:
        return len(self._prompt)

    @property
    def cells(self) -> int:
        """Cells in use for the request, shared ones included."""
        return sum(map(len, {node for path in self._paths for node in path.nodes})) + len(self._tail)

    def fail(self, error: RagError) -> None:
        self.ended = True
        self._outbox.post(self.request.mailbox, error)

    def cancel(self) -> None:
        """Somebody ended it: the caller by going away, or the engine by closing."""
        self.fail(GenerationFailed("The request was cancelled."))

    def free(self) -> None:
        """Free what is not in the cache; to be called when the run ends without having been admitted, or all do."""

    def release(self) -> None:
        """Give back everything held in the cache, and free the rest."""
        self.free()
        self._reader.stop()
        self._tree.cells.give_back(self.sequence)
        self._tree.cells.release(self._cells, self._sequences)
        self._unpin()

    def _place(self, prompt: PromptParts, text: NDArray[np.int32], *, stitched: bool) -> None:
        root = self._tree.root(self.request.adapter)
        self._outputs = max(1, len(text))
        if stitched:
            prefix = self._tree.descend(root, prompt.prefix, chunks=[(0, chunk) for chunk in prompt.prefix_chunks])
            self._pin(Path(prefix))
            for passage, chunk in zip_longest(prompt.passages, prompt.chunks):
                mark = [] if chunk is None else [(0, chunk)]
                self._pin(Path([*prefix, *self._tree.descend(self._paths[0].nodes[-1], passage, chunks=mark)]))
            # All passages begin where the prefix ends, and what follows stands after the longest of them.
            self._tail_start = max(path.nodes[-1].end for path in self._paths)
            self._tail = np.concatenate([*prompt.recomputed, prompt.rest, text[:-1]])
            return
        tokens = prompt.tokens
        ends = prompt.borders
        own = ends[-1] if prompt.passages else None
        if len(ends) > _MOST_BORDERS:
            ends = [*ends[: _MOST_BORDERS - 1], ends[-1]]
        nodes = self._tree.descend(root, tokens[:-1], ends, transient_from=own, chunks=prompt.marks())
        self._pin(Path(nodes))
        self._tail_start = len(tokens) - 1
        self._tail = np.concatenate([tokens[-1:], text[:-1]])

    def _pin(self, path: Path) -> None:
        self._tree.pin(path)
        self._paths.append(path)

    def _unpin(self) -> None:
        for path in self._paths:
            self._tree.unpin(path)
        self._paths = []

    def _text_to_score(self) -> NDArray[np.int32]:
        return _NO_TEXT

    def _prompt_usage(self) -> Usage:
        """What the prompt took so far."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.prompt_tokens - self.tokens_read if not self.in_prompt else 0,
            kv_cells=self.cells,
            queue_ms=(self.admitted - self.request.arrived) * 1000,
            prefill_ms=((self.prompt_read or time.monotonic()) - self.admitted) * 1000,
            passage_reuse="stitched" if self.stitched else "exact",
        )

    def _take(self, logits: NDArray[np.float32]) -> None:
        """Logits of one of the tail's last tokens, in order."""
        raise NotImplementedError

    def _complete(self) -> None:
        """The whole prompt has been read."""
        raise NotImplementedError


class TextRun(Run[TextRequest]):
    """Generates text: a token a step, or more where a draft is right."""

    def __init__(
        self,
        request: TextRequest,
        tree: KvTree,
        context: Context,
        outbox: Outbox,
        *,
        vocabulary: Vocabulary,
        policy: DraftPolicy | None,
    ) -> None:
        super().__init__(request, tree, context, outbox)
        self.output = TextOutput(request.params, vocabulary)
        self._policy = policy if request.params.speculate else None
        self._lookup: PromptLookup | None = None
        self._next = 0  # the token chosen last, not yet read
        self._draft: list[int] = []
        self._guess: tuple[list[int], int] = ([], 0)
        self.drafted = self.accepted = 0
        self._first_token: float | None = None

    def add_answer_rows(self, batch: Batch, *, other_rows: int) -> None:
        """Add the token chosen last, and a draft of what may follow it if that is likely to pay."""
        self._draft, self._guess = [], ([], 0)
        if self._policy is not None:
            self._guess = self._guess_next()
            room = min(OUTPUT_ROWS - batch.outputs - 1 - other_rows, batch.capacity - batch.rows - 1 - other_rows)
            length = self._policy.length(self._guess[0][: max(0, room)], self._guess[1], other_rows=other_rows)
            self._draft = self._guess[0][:length]
        tokens = np.array([self._next, *self._draft], dtype=np.int32)
        self._first_row = batch.add(tokens, self.position, self.sequence, outputs=len(tokens))

    def commit_answer(self) -> int:
        """Take tokens from the rows as long as the draft said the same; how many there were."""
        said: list[int] = []
        for row in range(len(self._draft) + 1):
            said.append(self.output.take(self._context.logits(self._first_row + row)))
            if self.output.finish or row == len(self._draft) or said[-1] != self._draft[row]:
                break
        read = len(said)  # rows whose tokens belong to the text
        self.position += read
        if read <= len(self._draft):
            self._context.drop(self.sequence, self.position)
        self.drafted += len(self._draft)
        self.accepted += read - 1
        if self._policy is not None:
            self._policy.learn(*self._guess, said)
        self._next = said[-1]
        if self._lookup is not None:
            for token in said:
                self._lookup.append(token)
        self._tell()
        return read

    def cancel(self) -> None:
        self._end("cancelled")

    def free(self) -> None:
        self.output.free()

    def keep_for_next_turn(self) -> None:
        """Leave the conversation's state in the tree, if the prompt was one: answers from passages are not gone on."""
        if not self._prompt.passages and not self.stitched and not self.in_prompt:
            said = np.array(self.output.tokens, dtype=np.int32)
            read = np.concatenate([self._tail, said])[: self.position - self._tail_start]
            path = self._paths[0]
            if path.nodes and self.position == self._tail_start + len(read):
                self._tree.adopt(path.nodes[-1], read, self.sequence)

    def _guess_next(self) -> tuple[list[int], int]:
        if self._lookup is None:
            self._lookup = PromptLookup(np.concatenate([self._prompt.tokens, np.array(self.output.tokens, np.int32)]))
        return self._lookup.guess(min(LONGEST_DRAFT, self.output.room - 1))

    def _take(self, logits: NDArray[np.float32]) -> None:
        self._next = self.output.take(logits)

    def _complete(self) -> None:
        self._first_token = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        if self.output.finish:
            self._end(self.output.finish)
            return
        chunk = self.output.chunk()
        if chunk is not None:
            self._outbox.post(self.request.mailbox, chunk)

    def _end(self, finish: FinishReason) -> None:
        self.ended = True
        last = self.output.chunk() or GenerationChunk(text="")
        text = last.text + ("" if finish == "cancelled" else self.output.rest())
        self._outbox.post(
            self.request.mailbox,
            GenerationChunk(text=text, finish_reason=finish, usage=self._usage(), logprobs=last.logprobs),
        )

    def _usage(self) -> Usage:
        first = self._first_token
        return replace(
            self._prompt_usage(),
            completion_tokens=len(self.output.tokens),
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
            kv_cells=self.cells + len(self.output.tokens),
            first_token_ms=(first - self.request.arrived) * 1000 if first else 0.0,
            decode_ms=(time.monotonic() - first) * 1000 if first else 0.0,
        )


class ProbabilityRun(Run[ProbabilityRequest]):
    """Answers with the probabilities of some next tokens."""

    def _take(self, logits: NDArray[np.float32]) -> None:
        weights = probabilities(logits)
        self._values = tuple(float(weights[token]) for token in self.request.candidates)

    def _complete(self) -> None:
        self.ended = True
        self._outbox.post(self.request.mailbox, TokenProbabilities(values=self._values, usage=self._prompt_usage()))


class ScoreRun(Run[ScoreRequest]):
    """Answers with the log-probability of each token of a given text."""

    def __init__(self, request: ScoreRequest, tree: KvTree, context: Context, outbox: Outbox) -> None:
        super().__init__(request, tree, context, outbox)
        self._scores: list[float] = []

    def _text_to_score(self) -> NDArray[np.int32]:
        return self.request.text

    def _take(self, logits: NDArray[np.float32]) -> None:
        token = int(self.request.text[len(self._scores)])
        peak = float(logits.max())
        total = float(np.log(np.exp(logits.astype(np.float64) - peak).sum()))
        self._scores.append(float(logits[token]) - peak - total)

    def _complete(self) -> None:
        self.ended = True
        self._outbox.post(self.request.mailbox, self._scores)
