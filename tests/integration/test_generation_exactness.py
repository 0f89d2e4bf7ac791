"""In an exact context, reused state is the same to the last bit as reading the prompt anew, wherever prompts part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.catalog import Catalog
from rag.config import Settings
from rag.errors import ModelError
from rag.inference.context import Context
from rag.inference.model import Model
from rag.inference.sequence import CachedSequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def qwen_path(models_dir: Path) -> Path:
    catalog = Catalog.load(Settings(models_dir=models_dir))
    try:
        return catalog.path("qwen2.5-coder-1.5b-instruct")
    except ModelError:
        return catalog.pull("qwen2.5-coder-1.5b-instruct").path


# The 1.5B model's K-quants are repacked for kernels that treat groups of rows and left-over rows differently.
@pytest.fixture(scope="module", params=["smollm_path", pytest.param("qwen_path", marks=pytest.mark.slow)])
def context(request: pytest.FixtureRequest) -> Iterator[Context]:
    model = Model.load(request.getfixturevalue(request.param), gpu_layers=0)
    context = Context(model, cells=512, threads=1, batch_tokens=128, exact=True)
    yield context
    context.free()
    model.free()


def read(sequence: CachedSequence, prompt: np.ndarray) -> int:
    kept = sequence.rewind(prompt)
    list(sequence.read(prompt))
    return kept


@pytest.mark.parametrize(
    ("shared", "before", "after"),
    [(166, 60, 1), (68, 28, 4), (33, 2, 16), (20, 8, 1), (130, 1, 30), (151, 57, 17), (96, 24, 1), (120, 9, 130)],
)
def test_logits_are_equal_to_the_last_bit(context: Context, shared: int, before: int, after: int) -> None:
    tokens = np.random.default_rng(3).integers(300, 20_000, 512).astype(np.int32)
    first = np.concatenate([tokens[:shared], tokens[-before:]])
    second = np.concatenate([tokens[:shared], tokens[300 : 300 + after]])
    sequence = CachedSequence(context)

    sequence.clear()
    assert read(sequence, second) == 0
    fresh = [sequence.logits().copy()]
    chosen = [int(fresh[0].argmax())]
    for _ in range(2):
        sequence.append(chosen[-1])
        fresh.append(sequence.logits().copy())
        chosen.append(int(fresh[-1].argmax()))

    sequence.clear()
    read(sequence, first)
    sequence.append(int(sequence.logits().argmax()))
    kept = read(sequence, second)
    assert shared - 32 <= kept <= shared
    reused = [sequence.logits().copy()]
    for token in chosen[:2]:
        sequence.append(token)
        reused.append(sequence.logits().copy())
    assert all(np.array_equal(a, b) for a, b in zip(fresh, reused, strict=True))
