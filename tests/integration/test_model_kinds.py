"""What is said of each kind of model is true of llama.cpp, and what a LoRA adapter does can be undone."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rag.errors import ModelMissing, ModelUnloadable, UnknownAdapter
from rag.inference.adapters import Adapters, activate, load_adapter
from rag.inference.binding import native_log
from rag.inference.kinds import model_kind
from rag.inference.model import Model
from tests import tiny_models
from tests.tiny_models import WINDOW, lora_adapter, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

BEGINNING, OTHER, QUESTION = tokens(200), tokens(400, seed=9), tokens(20, seed=5)
SHARED = 40
# Rounding moves the logits of these models by 0.002 to 0.007 when cells lie elsewhere; their own spread is about 0.8.
ROUNDING = 0.02


class Cells:
    """A context and its memory, called directly: what the tests say is said of llama.cpp alone."""

    def __init__(self, model: Model, *, flash_attention: bool = False) -> None:
        self.lib = lib = model.lib
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = 512
        params.n_seq_max = 8
        params.n_threads = params.n_threads_batch = 1
        params.kv_unified = params.swa_full = True
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attention else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        self.memory = lib.llama_get_memory(self.pointer)
        self.vocabulary_size = lib.llama_vocab_n_tokens(model.vocabulary_pointer)

    def read(self, text: NDArray[np.int32], position: int, sequence: int) -> NDArray[np.float32]:
        """Logits after the last token."""
        batch = self.lib.llama_batch_init(len(text), 0, 1)
        batch.n_tokens = len(text)
        for i, token in enumerate(text.tolist()):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position + i, i == len(text) - 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        native_log.clear()
        code = self.lib.llama_decode(self.pointer, batch)
        self.lib.llama_batch_free(batch)
        assert code == 0, native_log.reason()
        return np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.pointer, -1), (self.vocabulary_size,)).copy()

    def copy(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        self.lib.llama_memory_seq_cp(self.memory, source, target, start, end)

    def drop(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        return bool(self.lib.llama_memory_seq_rm(self.memory, sequence, start, end))

    def first(self, sequence: int) -> int:
        return int(self.lib.llama_memory_seq_pos_min(self.memory, sequence))

    def save(self, sequence: int) -> ctypes.Array[ctypes.c_uint8]:
        state = (ctypes.c_uint8 * self.lib.llama_state_seq_get_size(self.pointer, sequence))()
        assert self.lib.llama_state_seq_get_data(self.pointer, state, len(state), sequence) == len(state)
        return state

    def restore(self, sequence: int, state: ctypes.Array[ctypes.c_uint8]) -> None:
        assert self.lib.llama_state_seq_set_data(self.pointer, state, len(state), sequence) == len(state)

    def free(self) -> None:
        self.lib.llama_free(self.pointer)


WRITERS = {
    "mixture": tiny_models.mixture_of_experts,
    "sliding_window": tiny_models.sliding_window,
    "recurrent": tiny_models.recurrent,
    "hybrid": tiny_models.hybrid,
}


@pytest.fixture(scope="module")
def models(smollm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("tiny")
    models = {name: Model.load(write(folder, smollm_path), gpu_layers=0) for name, write in WRITERS.items()}
    yield models
    for model in models.values():
        model.free()


@pytest.fixture
def cells(models: dict[str, Model], request: pytest.FixtureRequest) -> Iterator[Cells]:
    """A context of the model named by the test's parameter."""
    context = Cells(models[request.param])
    yield context
    context.free()


@pytest.fixture
def anew(models: dict[str, Model]) -> Iterator[Callable[..., NDArray[np.float32]]]:
    """Logits of texts read one after the other by a context that never read anything else."""
    contexts: list[Cells] = []

    def read(name: str, *texts: NDArray[np.int32]) -> NDArray[np.float32]:
        contexts.append(Cells(models[name]))
        position, logits = 0, np.empty(0, dtype=np.float32)
        for text in texts:
            logits = contexts[-1].read(text, position, 0)
            position += len(text)
        return logits

    yield read
    for context in contexts:
        context.free()


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max())


of = pytest.mark.parametrize


@of(
    ("name", "kind", "shares", "stitches", "speculates", "cuts", "reuse"),
    [
        ("mixture", "attention", True, True, True, True, "drafts are possible, and passages can be placed"),
        ("sliding_window", "sliding_window", True, False, False, False, f"see {WINDOW} tokens only"),
        ("recurrent", "recurrent", False, False, False, False, "every prompt is read in full"),
        ("hybrid", "hybrid", False, False, False, False, "Part of the state is recurrent"),
    ],
)
def test_the_kind_is_told_from_the_model(models, name, kind, shares, stitches, speculates, cuts, reuse):
    found = model_kind(models[name])
    assert (found.name, found.shares_prefixes, found.stitches_passages) == (kind, shares, stitches)
    assert (found.speculates, found.cuts) == (speculates, cuts)
    assert reuse in found.reuse


@of("name", WRITERS)
def test_every_kind_generates(models, name):
    cells = Cells(models[name], flash_attention=True)
    logits = cells.read(BEGINNING, 0, 0)
    for position in range(200, 204):
        assert np.isfinite(logits).all()
        assert logits.std() > 0.1
        logits = cells.read(np.array([logits.argmax()], dtype=np.int32), position, 0)
    cells.free()


@of(("name", "cells"), [("mixture", "mixture"), ("sliding_window", "sliding_window")], indirect=["cells"])
def test_a_shared_beginning_can_be_cut_at_any_token(cells, name, anew):
    cells.read(BEGINNING, 0, 0)
    cells.copy(0, 1, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 1), anew(name, BEGINNING[:SHARED], QUESTION)) < ROUNDING
    assert difference(cells.read(QUESTION, 200, 0), anew(name, BEGINNING, QUESTION)) < ROUNDING


@of(("name", "cells"), [("mixture", "mixture"), ("sliding_window", "sliding_window")], indirect=["cells"])
def test_rejected_drafts_leave_no_trace(cells, name, anew):
    cells.read(BEGINNING, 0, 0)
    cells.read(OTHER[:30], 200, 0)  # longer than the window
    assert cells.drop(0, 202)
    expected = anew(name, BEGINNING, OTHER[:2], QUESTION)
    assert difference(cells.read(QUESTION, 202, 0), expected) < ROUNDING


@of("cells", ["recurrent", "hybrid"], indirect=True)
def test_recurrent_state_takes_nothing_back(cells):
    cells.read(BEGINNING, 0, 0)
    assert not cells.drop(0, 199)
    assert cells.drop(0)


@of("cells", ["recurrent"], indirect=True)
def test_a_range_of_recurrent_state_is_the_whole_state(cells):
    cells.read(BEGINNING, 0, 0)
    cells.copy(0, 1, 0, SHARED)
    assert cells.first(1) == 199
    with pytest.raises(AssertionError, match="inconsistent sequence positions"):
        cells.read(QUESTION, SHARED, 1)


@of("cells", ["hybrid"], indirect=True)
def test_a_range_of_hybrid_state_is_wrong_without_an_error(cells, anew):
    cells.read(BEGINNING, 0, 0)
    cells.copy(0, 1, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 1), anew("hybrid", BEGINNING[:SHARED], QUESTION)) > 2 * ROUNDING


@of(("name", "cells"), [("recurrent", "recurrent"), ("hybrid", "hybrid")], indirect=["cells"])
def test_whole_recurrent_state_can_be_copied_and_restored(cells, name, anew):
    expected = anew(name, BEGINNING, QUESTION)
    cells.read(BEGINNING, 0, 0)
    cells.copy(0, 1)
    state = cells.save(0)
    assert difference(cells.read(QUESTION, 200, 1), expected) < ROUNDING
    cells.restore(2, state)
    assert difference(cells.read(QUESTION, 200, 2), expected) < ROUNDING


@of("cells", ["mixture"], indirect=True)
def test_passages_side_by_side_are_all_seen_whatever_their_order(cells):
    prefix, a, b = BEGINNING[:SHARED], OTHER[:50], OTHER[50:80]
    cells.read(prefix, 0, 0)
    for sequence, passage in ((1, a), (2, b)):
        cells.copy(0, sequence)
        cells.read(passage, SHARED, sequence)
    for sequence, passages in ((3, (1, 2)), (4, (2, 1)), (5, (1,))):
        cells.copy(0, sequence)
        for passage in passages:
            cells.copy(passage, sequence, SHARED)
    ab, ba, only_a = (cells.read(QUESTION, SHARED + 50, sequence) for sequence in (3, 4, 5))
    assert difference(ab, ba) < ROUNDING
    assert difference(ab, only_a) > 2 * ROUNDING


def fill_beside_a_cached_sequence(cells: Cells, *, twins: bool) -> None:
    """An idle sequence 0 after a sequence that left, and another that needs more room than the first one gave up.

    Of 512 cells at most 320 are used.
    """

    def read(text: NDArray[np.int32], sequence: int) -> None:
        cells.read(text, 0, sequence)
        if twins:
            cells.copy(sequence, sequence + 4)

    read(OTHER[:50], 1)
    read(BEGINNING, 0)
    for sequence in (1, 5):
        cells.drop(sequence)
    read(OTHER[:120], 2)


@of("cells", ["sliding_window"], indirect=True)
def test_cells_outside_the_window_are_overwritten_though_others_are_free(cells, anew):
    fill_beside_a_cached_sequence(cells, twins=False)
    assert cells.first(0) == 70
    cells.copy(0, 1, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 1), anew("sliding_window", BEGINNING[:SHARED], QUESTION)) > ROUNDING


@of("cells", ["sliding_window"], indirect=True)
def test_cells_of_two_sequences_are_not_overwritten(cells, anew):
    fill_beside_a_cached_sequence(cells, twins=True)
    assert cells.first(0) == 0
    cells.copy(0, 1, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 1), anew("sliding_window", BEGINNING[:SHARED], QUESTION)) < ROUNDING
    for sequence in (0, 1, 2, 4, 6):
        cells.drop(sequence)
    cells.read(OTHER, 0, 3)  # 400 cells: both sequences of a pair gone, their cells are free


@of(("name", "cells"), [("mixture", "mixture"), ("sliding_window", "sliding_window")], indirect=["cells"])
def test_restored_state_goes_on_from_its_end(cells, name, anew):
    """Also in pieces, each saved by a sequence that holds no more than the piece."""
    cells.read(BEGINNING, 0, 0)
    pieces = [(0, 100), (100, 190), (190, 200)]  # the last one is shorter than the window
    for sequence, (start, end) in enumerate(pieces, 1):
        cells.copy(0, sequence, start, end)
    states = [cells.save(sequence) for sequence in (1, 2, 3)]
    cells.lib.llama_memory_clear(cells.memory, True)
    for sequence, (state, (start, end)) in enumerate(zip(states, pieces, strict=True), 1):
        cells.restore(sequence, state)
        cells.copy(sequence, 0, start, end)
    assert difference(cells.read(QUESTION, 200, 0), anew(name, BEGINNING, QUESTION)) < ROUNDING


@of("cells", ["mixture"], indirect=True)
def test_restored_state_of_full_attention_can_be_cut(cells, anew):
    cells.read(BEGINNING, 0, 0)
    state = cells.save(0)
    cells.lib.llama_memory_clear(cells.memory, True)
    cells.restore(1, state)
    cells.copy(1, 0, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 0), anew("mixture", BEGINNING[:SHARED], QUESTION)) < ROUNDING


@of("cells", ["sliding_window"], indirect=True)
def test_of_layers_with_a_window_only_the_window_is_saved(cells, anew):
    cells.read(BEGINNING, 0, 0)
    state = cells.save(0)
    cells.lib.llama_memory_clear(cells.memory, True)
    cells.restore(1, state)
    assert cells.first(1) == 200 - WINDOW
    cells.copy(1, 0, 0, SHARED)
    assert difference(cells.read(QUESTION, SHARED, 0), anew("sliding_window", BEGINNING[:SHARED], QUESTION)) > ROUNDING


@pytest.fixture
def smollm(smollm_path: Path) -> Iterator[Model]:
    model = Model.load(smollm_path, gpu_layers=0)
    yield model
    model.free()


def test_a_trained_model_of_full_attention_is_known_as_such(smollm):
    kind = model_kind(smollm)
    assert (kind.name, kind.stitches_passages) == ("attention", True)


def test_an_adapter_changes_the_logits_and_without_it_they_are_as_before(smollm, tmp_path):
    legal, brief = (lora_adapter(tmp_path / f"{seed}.gguf", seed=seed) for seed in (1, 2))
    adapters = Adapters.load(smollm, {"legal": legal, "brief": brief})
    cells = Cells(smollm)

    def answer(name: str | None) -> NDArray[np.float32]:
        activate(cells.pointer, adapters.get(name))
        cells.drop(0)
        return cells.read(QUESTION, 0, 0)

    plain, as_legal, as_brief = answer(None), answer("legal"), answer("brief")
    assert len({int(logits.argmax()) for logits in (plain, as_legal, as_brief)}) == 3
    assert np.array_equal(answer("legal"), as_legal)
    assert np.array_equal(answer("brief"), as_brief)
    assert np.array_equal(answer(None), plain)
    cells.free()
    assert [(a.name, a.sha256) for a in adapters] == [
        (name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in (("legal", legal), ("brief", brief))
    ]


def test_an_unknown_adapter_is_refused_with_the_names_there_are(smollm, tmp_path):
    path = lora_adapter(tmp_path / "a.gguf")
    adapters = Adapters.load(smollm, {"legal": path, "brief": path})
    with pytest.raises(UnknownAdapter, match=r"'poetic'.*Configured: brief, legal\."):
        adapters.get("poetic")
    with pytest.raises(UnknownAdapter, match="none; RAG_LORA_ADAPTERS adds them"):
        Adapters().get("legal")


def test_a_file_that_is_no_adapter_for_this_model_is_refused_with_the_reason(smollm, smollm_path, tmp_path):
    broken = lora_adapter(tmp_path / "broken.gguf")
    broken.write_bytes(broken.read_bytes()[:-1000])
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    waiting = lora_adapter(tmp_path / "waiting.gguf", invocation_tokens=(5, 6))
    for path, reason in [
        (broken, "out of bounds|not within the file|failed to load"),
        (text, "failed to load lora adapter"),
        (lora_adapter(tmp_path / "narrow.gguf", width=64), "incorrect shape"),
        (lora_adapter(tmp_path / "qwen.gguf", architecture="qwen2"), "arch mismatch"),
        (shutil.copy(smollm_path, tmp_path / "model.gguf"), "expect general.type to be 'adapter'"),
        (waiting, "aLoRA"),
    ]:
        with pytest.raises(ModelUnloadable, match=reason) as caught:
            load_adapter(smollm, "legal", path)
        assert f"'legal' cannot be loaded from {path}" in caught.value.message
        assert "RAG_LORA_ADAPTERS" in caught.value.hint
    with pytest.raises(ModelMissing, match=r"'legal' at .*gone\.gguf"):
        load_adapter(smollm, "legal", tmp_path / "gone.gguf")
