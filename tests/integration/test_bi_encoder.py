"""all-MiniLM-L6-v2 through sentence-transformers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from rag.embedding.bi_encoder import BiEncoder
from rag.errors import ModelUnloadable
from rag.protocols import Embedder


@pytest.fixture(scope="module")
def encoder(embedder_path) -> BiEncoder:
    return BiEncoder(embedder_path, name="all-minilm-l6-v2", sha256="ab" * 32, threads=1)


def test_it_is_an_embedder_and_counts_without_loading_the_network(encoder) -> None:
    assert isinstance(encoder, Embedder)
    assert (encoder.dimension, encoder.max_tokens) == (384, 256)
    assert encoder.count_tokens(["hello world", ""]) == [4, 2]
    assert not encoder.loaded


def test_vectors_have_unit_length_and_the_order_of_the_texts(encoder) -> None:
    texts = ["A cat sleeps.", "word " * 200, "The stock market fell sharply.", "x"]
    vectors = encoder.embed_passages(texts)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_passages([texts[2]])[0], vectors[2], atol=1e-4)
    query = encoder.embed_query("a kitten taking a nap")
    assert int(np.argmax(vectors @ query)) == 0


def test_the_end_of_a_long_query_counts(encoder) -> None:
    start = "filler words about nothing " * 120
    cats = encoder.embed_passages(["A cat sleeps on the sofa."])[0]
    with_end = encoder.embed_query(start + "a cat sleeping on a sofa " * 40)
    assert with_end.shape == (384,)
    assert abs(float(np.linalg.norm(with_end)) - 1) < 1e-5
    assert with_end @ cats > encoder.embed_query(start) @ cats + 0.1


def test_no_texts_are_no_vectors(encoder) -> None:
    assert encoder.embed_passages([]).shape == (0, 384)


def test_identity_names_the_weights(embedder_path) -> None:
    one = BiEncoder(embedder_path, name="m", sha256="1" * 64)
    other = BiEncoder(embedder_path, name="m", sha256="2" * 64)
    assert one.identity != other.identity


def test_a_folder_that_is_no_model_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(ModelUnloadable, match="rag models verify m"):
        BiEncoder(tmp_path, name="m", sha256="0" * 64)


@pytest.mark.parametrize(("chosen", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_torchs_threads_wait_passively_unless_the_user_decides(embedder_path, chosen, expected) -> None:
    program = (
        "import os, sys; from pathlib import Path; from rag.embedding.bi_encoder import BiEncoder\n"
        "encoder = BiEncoder(Path(sys.argv[1]), name='m', sha256='0' * 64)\n"
        "assert 'torch' not in sys.modules, 'OpenMP reads its environment when torch is loaded'\n"
        "encoder.load(); print(os.environ['OMP_WAIT_POLICY'], 'sentence_transformers' in sys.modules)"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", program, str(embedder_path)]
    done = subprocess.run(command, env=inherited | chosen, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [expected, "False"], done.stderr
