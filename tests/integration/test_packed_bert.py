"""The packed encoder beside sentence-transformers, with the real all-MiniLM-L6-v2."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from rag.embedding.bi_encoder import BiEncoder
from rag.embedding.packed_bert import PackedBert, fastest_precision, is_packable
from rag.errors import ModelUnloadable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Empty, one token, of one length, mixed, at the limit of 256 tokens and far over it; not in the order of their lengths.
_TEXTS = [
    "",
    "word " * 400,
    "Cells divide.",
    "x",
    "Cells divide.",
    "The quick brown fox jumps over the lazy dog. " * 5,
    "Dogs bark at.",
    "naïve café — 東京 🙂",
    "word " * 254,
    "word " * 255,
    *(f"{'filler ' * length}end" for length in range(1, 90, 7)),
]


@pytest.fixture(scope="module")
def reference(embedder_path: Path) -> NDArray[np.float32]:
    model = SentenceTransformer(str(embedder_path), local_files_only=True, device="cpu")
    return model.encode(_TEXTS, normalize_embeddings=True, show_progress_bar=False)


def _encoder(path: Path) -> BiEncoder:
    return BiEncoder(path, name="all-minilm-l6-v2", sha256="ab" * 32, precision="float32")


def _copy(path: Path, target: Path) -> Path:
    return shutil.copytree(path, target, copy_function=shutil.copyfile)


def _change(path: Path, **settings: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_it_gives_the_vectors_of_sentence_transformers(embedder_path, reference) -> None:
    vectors = _encoder(embedder_path).embed_passages(_TEXTS)
    cosines = (vectors.astype(np.float64) * reference).sum(axis=1)
    assert cosines.min() >= 0.99999
    np.testing.assert_allclose(vectors, reference, atol=2e-6)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous


def test_a_text_has_the_same_vector_whatever_is_embedded_with_it(embedder_path) -> None:
    encoder = _encoder(embedder_path)
    together = encoder.embed_passages(_TEXTS)
    alone = np.concatenate([encoder.embed_passages([text]) for text in _TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_products_in_bfloat16_change_next_to_nothing(embedder_path, reference, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    encoder = BiEncoder(embedder_path, name="all-minilm-l6-v2", sha256="ab" * 32)
    vectors = encoder.embed_passages(_TEXTS)
    cosines = (vectors.astype(np.float64) * reference).sum(axis=1)
    assert 0.9999 <= cosines.min() < 0.999999  # it was not float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.embed_passages([text]) for text in _TEXTS])
    assert (vectors * alone).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"architecture": "aarch64"}, torch.float32),
    ],
)
def test_bfloat16_is_for_processors_that_multiply_it(able, expected, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert fastest_precision() == expected


def test_this_model_is_packed_and_one_that_differs_is_left_to_sentence_transformers(
    embedder_path, tmp_path, reference, monkeypatch
) -> None:
    assert is_packable(embedder_path)
    changed = _copy(embedder_path, tmp_path / "changed")
    pooling = changed / "1_Pooling" / "config.json"
    for path, settings in (
        (changed / "config.json", {"hidden_act": "gelu_new"}),
        (changed / "config.json", {"model_type": "mpnet"}),
        (changed / "config.json", {"position_embedding_type": "relative_key"}),
        (pooling, {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        (pooling, {"pooling_mode_max_tokens": True}),
        (changed / "config_sentence_transformers.json", {"default_prompt_name": "query"}),
    ):
        before = path.read_text()
        _change(path, **settings)
        assert not is_packable(changed), settings
        path.write_text(before)
    assert is_packable(changed)
    # Without its last module it is not known to be packable, and gives the same vectors all the same.
    (changed / "modules.json").write_text(json.dumps(json.loads((changed / "modules.json").read_text())[:2]))
    assert not is_packable(changed)
    monkeypatch.setattr(PackedBert, "__init__", _not_to_be_made)
    np.testing.assert_allclose(_encoder(changed).embed_passages(_TEXTS), reference, atol=2e-6)


def _not_to_be_made(*_: object) -> None:
    raise AssertionError("this model is not packable")


def test_torn_weights_are_a_clear_error(embedder_path, tmp_path) -> None:
    torn = _copy(embedder_path, tmp_path / "torn")
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(ModelUnloadable, match="cannot be loaded"):
        _encoder(torn).embed_passages(["text"])


def test_weights_of_another_model_are_a_clear_error(embedder_path, tmp_path) -> None:
    other = _copy(embedder_path, tmp_path / "other")
    _change(other / "config.json", num_hidden_layers=7)
    with pytest.raises(ModelUnloadable, match="cannot be loaded"):
        _encoder(other).embed_passages(["text"])


def test_threads_share_the_batches_and_callers_do_not_wait_for_each_other(embedder_path) -> None:
    texts = [f"{'word ' * (number % 40)}{number}" for number in range(120)]
    one, several = (
        BiEncoder(embedder_path, name="m", sha256="ab" * 32, precision="float32", threads=threads) for threads in (1, 3)
    )
    expected = one.embed_passages(texts)
    np.testing.assert_allclose(several.embed_passages(texts), expected, atol=2e-6)
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(several.embed_passages, [texts[start::4] for start in range(4)]))
    for start, vectors in enumerate(together):
        np.testing.assert_allclose(vectors, expected[start::4], atol=2e-6)
