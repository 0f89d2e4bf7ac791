"""Kinds of models there is no tiny file of: those without plain rotary positions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rag.inference.kinds import model_kind

NORM, NEOX, NONE, MROPE = 0, 2, -1, 8


@pytest.mark.parametrize(("rope", "side_by_side"), [(NORM, True), (NEOX, True), (NONE, False), (MROPE, False)])
def test_passages_go_side_by_side_only_with_plain_rotary_positions(rope, side_by_side):
    lib = SimpleNamespace(
        LLAMA_ROPE_TYPE_NORM=NORM,
        LLAMA_ROPE_TYPE_NEOX=NEOX,
        llama_model_is_recurrent=lambda pointer: False,
        llama_model_is_hybrid=lambda pointer: False,
        llama_model_n_swa=lambda pointer: 0,
        llama_model_rope_type=lambda pointer: rope,
    )
    kind = model_kind(SimpleNamespace(lib=lib, pointer=1))
    assert (kind.name, kind.shares_prefixes, kind.speculates) == ("attention", True, True)
    assert kind.stitches_passages is side_by_side
    assert ("are not placed side by side" in kind.reuse) is not side_by_side
