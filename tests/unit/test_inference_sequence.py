"""How much model state the next prompt reuses, against a context that only keeps the books."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag.inference.sequence import CachedSequence


class BookkeepingBatch:
    """One run of consecutive tokens, as the sequence adds it."""

    capacity = 128

    def __init__(self) -> None:
        self.rows = 0

    def clear(self) -> None:
        self.rows = 0

    def add(self, tokens: np.ndarray, position: int, sequence: int, *, outputs: int = 0) -> int:
        assert not self.rows, "the lane reads one piece at a time"
        assert 0 < len(tokens) <= self.capacity
        assert sequence == 0
        assert outputs in (0, 1), "the logits of the last token, or none"
        self.tokens, self.position, self.outputs = tokens.tolist(), position, outputs
        self.rows = len(tokens)
        return 0


class BookkeepingContext:
    """Checks what llama.cpp would insist on: positions without gaps, nothing beyond the context."""

    cells = 4096

    def __init__(self, *, partial: bool = True) -> None:
        self.partial = partial
        self.content: list[int] = []
        self.batches: list[tuple[int, int, bool]] = []

    def batch(self) -> BookkeepingBatch:
        return BookkeepingBatch()

    def decode(self, batch: BookkeepingBatch) -> None:
        assert batch.position == len(self.content)
        assert len(self.content) + batch.rows <= self.cells
        self.content += batch.tokens
        self.batches.append((batch.position, batch.rows, batch.outputs == 1))

    def drop(self, sequence: int, start: int = 0) -> bool:
        assert sequence == 0
        if self.partial:
            del self.content[start:]
        return self.partial

    def clear(self) -> None:
        self.content.clear()


def prompt(shared: int, own: int, *, salt: int = 7) -> np.ndarray:
    return np.array([*range(shared), *(10_000 * salt + i for i in range(own))], dtype=np.int32)


def read(sequence: CachedSequence, tokens: np.ndarray) -> int:
    kept = sequence.rewind(tokens)
    list(sequence.read(tokens))
    return kept


def make(*, partial: bool = True) -> tuple[CachedSequence, BookkeepingContext]:
    context = BookkeepingContext(partial=partial)
    return CachedSequence(context), context  # type: ignore[arg-type]


def test_a_shared_beginning_is_kept_down_to_a_row_group() -> None:
    sequence, context = make()
    assert read(sequence, prompt(100, 40, salt=1)) == 0
    assert read(sequence, prompt(100, 40, salt=2)) == 96
    assert context.content == prompt(100, 40, salt=2).tolist()


def test_the_same_prompt_again_still_reads_its_end() -> None:
    sequence, context = make()
    read(sequence, prompt(160, 0))
    assert read(sequence, prompt(160, 0)) == 144
    assert context.batches[-1] == (144, 16, True)


def test_generated_tokens_are_not_reused() -> None:
    sequence, _ = make()
    read(sequence, prompt(64, 0))
    for token in range(64, 128):
        sequence.append(token)
    assert read(sequence, prompt(200, 0)) == 64


def test_nothing_in_common_starts_anew() -> None:
    sequence, context = make()
    read(sequence, prompt(0, 50, salt=1))
    assert read(sequence, prompt(0, 50, salt=2)) == 0
    assert context.content == prompt(0, 50, salt=2).tolist()


def test_a_model_that_cannot_forget_a_part_reads_everything() -> None:
    sequence, context = make(partial=False)
    read(sequence, prompt(100, 40, salt=1))
    assert read(sequence, prompt(100, 40, salt=2)) == 0
    assert context.content == prompt(100, 40, salt=2).tolist()


def test_reading_can_stop_between_batches_and_what_was_read_counts() -> None:
    sequence, _ = make()
    tokens = prompt(500, 0)
    sequence.rewind(tokens)
    assert next(sequence.read(tokens)) == 128
    assert read(sequence, tokens) == 128


@given(
    prompts=st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 90), st.integers(1, 3), st.integers(0, 5)), min_size=1, max_size=6
    )
)
def test_whatever_comes_the_cache_holds_the_prompt_in_batches_of_equal_kind(
    prompts: list[tuple[int, int, int, int]],
) -> None:
    sequence, context = make()
    for shared, own, salt, generated in prompts:
        tokens = prompt(shared, own + 1, salt=salt)
        context.batches.clear()
        kept = read(sequence, tokens)
        assert context.content == tokens.tolist()
        assert sum(length for _, length, _ in context.batches) == len(tokens) - kept
        # The conditions under which reuse is exact: see sequence.py.
        assert all(position % 16 == 0 for position, _, _ in context.batches)
        assert all(length >= min(16, len(tokens)) for _, length, _ in context.batches)
        assert [logits for *_, logits in context.batches] == [False] * (len(context.batches) - 1) + [True]
        for token in range(generated):
            sequence.append(token)
