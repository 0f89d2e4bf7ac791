"""What llama.cpp's memory of a kind of model allows: which state can be shared, placed side by side, taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rag.inference.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKind:
    """What may be done with model state, and how. tests/integration/test_model_kinds.py holds llama.cpp to it.

    ``shares_prefixes``: the state of a shared beginning can be reused at any token, by copying that range of positions
    to another sequence. Where it is False, never copy or drop a range: llama.cpp copies a hybrid's attention for the
    range and its recurrent state whole, and the answer is wrong without an error.

    ``stitches_passages``: the states of passages can be placed side by side, at overlapping positions.

    ``speculates``: drafts that were read and rejected can be dropped.

    ``cuts``: the state of a run of tokens can be continued at any of them. Where it is False, at its end only:
    llama.cpp takes cells of a single sequence that lie outside its window as free, even with ``swa_full`` and while
    there are empty ones, and what is left of that sequence serves only as far as its window reaches. (Cells that
    belong to two sequences are spared, which costs a second sequence for each.) Of a state that is saved it keeps the
    window alone. Drafts are out for the same reason.

    ``reuse`` says it all in a sentence, for people.
    """

    name: Literal["attention", "sliding_window", "recurrent", "hybrid"]
    shares_prefixes: bool
    stitches_passages: bool
    speculates: bool
    reuse: str
    cuts: bool = True


def model_kind(model: Model) -> ModelKind:
    """The kind of a loaded model, as llama.cpp classifies its architecture."""
    lib, pointer = model.lib, model.pointer
    if lib.llama_model_is_recurrent(pointer):
        return _uncuttable("recurrent", "The state is recurrent")
    if lib.llama_model_is_hybrid(pointer):
        return _uncuttable("hybrid", "Part of the state is recurrent")
    window: int = lib.llama_model_n_swa(pointer)
    if window > 0:
        return ModelKind(
            name="sliding_window",
            shares_prefixes=True,
            stitches_passages=False,
            speculates=False,
            cuts=False,
            reuse=f"Some layers see {window} tokens only: beginnings that end where a passage or turn ends are reused; "
            "there are no drafts, and passages are not placed side by side.",
        )
    rotary = lib.llama_model_rope_type(pointer) in (lib.LLAMA_ROPE_TYPE_NORM, lib.LLAMA_ROPE_TYPE_NEOX)
    side_by_side = (
        "passages can be placed side by side"
        if rotary
        else "passages are not placed side by side, which was only measured with plain rotary positions"
    )
    return ModelKind(
        name="attention",
        shares_prefixes=True,
        stitches_passages=rotary,
        speculates=True,
        reuse=f"Every layer sees all tokens: shared beginnings are reused, drafts are possible, and {side_by_side}.",
    )


def _uncuttable(name: Literal["recurrent", "hybrid"], why: str) -> ModelKind:
    return ModelKind(
        name=name,
        shares_prefixes=False,
        stitches_passages=False,
        speculates=False,
        cuts=False,
        reuse=f"{why} and cannot be cut: every prompt is read in full, and there are no drafts.",
    )
