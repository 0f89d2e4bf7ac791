from __future__ import annotations

import numpy as np
import pytest

from rag.errors import DatabaseDamaged
from rag.stores.index.vectors import decode, encode
from tests.contracts.store_builders import unit_vectors


def test_half_precision_keeps_the_cosines():
    vectors = unit_vectors(200, seed=1, dimension=384)
    stored = decode(encode(vectors), 384)
    assert np.linalg.norm(stored, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(stored @ stored.T - vectors @ vectors.T).max() < 1e-3


def test_vectors_of_any_length_are_stored_as_unit_vectors():
    rows = unit_vectors(3, seed=2) * np.array([[1e-6], [1.0], [1e6]], np.float32)
    assert decode(encode(rows), 8) == pytest.approx(unit_vectors(3, seed=2), abs=1e-3)


def test_the_stored_form_is_little_endian_float16():
    assert encode(np.array([[1.0, 0.0]], np.float32)) == [b"\x00\x3c\x00\x00"]


def test_a_value_of_another_dimension_is_damage():
    with pytest.raises(DatabaseDamaged, match="dimension 4"):
        decode([b"\x00" * 8, b"\x00" * 6], 4)
