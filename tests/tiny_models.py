"""Writes GGUF models of a few megabytes with random weights, one of each kind, and a LoRA adapter.

They speak no language, but every path of llama.cpp they take is the one a trained model of their kind takes. The
vocabulary is SmolLM2's, so prompts and templates of the other tests work with them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH = 64
HEADS = 2
INNER = 128  # feed-forward
EXPERTS = 4
WINDOW = 16
CONTEXT = 2048
LORA_RANK = 4
_VOCABULARY = 49152
_HEAD_WIDTH = WIDTH // HEADS
_STATE, _KERNEL, _TIME_RANK = 8, 4, 4  # of mamba


def mixture_of_experts(folder: Path, tokenizer: Path) -> Path:
    """Two llama layers; every token takes 2 of 4 experts. All layers attend to everything."""
    model = _Model(folder / "mixture.gguf", "llama", tokenizer, layers=2)
    model.attention_settings()
    model.writer.add_expert_count(EXPERTS)
    model.writer.add_expert_used_count(2)
    for layer in range(2):
        model.attention(layer)
        model.ones(f"blk.{layer}.ffn_norm.weight", WIDTH)
        model.matrix(f"blk.{layer}.ffn_gate_inp.weight", EXPERTS, WIDTH)
        model.matrix(f"blk.{layer}.ffn_gate_exps.weight", EXPERTS, INNER, WIDTH)
        model.matrix(f"blk.{layer}.ffn_up_exps.weight", EXPERTS, INNER, WIDTH)
        model.matrix(f"blk.{layer}.ffn_down_exps.weight", EXPERTS, WIDTH, INNER)
    return model.write()


def sliding_window(folder: Path, tokenizer: Path) -> Path:
    """Four gemma2 layers; two of them see ``WINDOW`` tokens, the token itself included."""
    model = _Model(folder / "window.gguf", "gemma2", tokenizer, layers=4)
    model.attention_settings()
    model.writer.add_sliding_window(WINDOW)
    for layer in range(4):
        model.attention(layer)
        model.ones(f"blk.{layer}.post_attention_norm.weight", WIDTH)
        model.feed_forward(layer)
        model.ones(f"blk.{layer}.post_ffw_norm.weight", WIDTH)
    return model.write()


def recurrent(folder: Path, tokenizer: Path) -> Path:
    """Two mamba layers and no attention."""
    model = _Model(folder / "recurrent.gguf", "mamba", tokenizer, layers=2)
    inner = 2 * WIDTH
    model.writer.add_feed_forward_length(0)
    model.writer.add_head_count(0)
    model.writer.add_ssm_conv_kernel(_KERNEL)
    model.writer.add_ssm_inner_size(inner)
    model.writer.add_ssm_state_size(_STATE)
    model.writer.add_ssm_time_step_rank(_TIME_RANK)
    for layer in range(2):
        model.ones(f"blk.{layer}.attn_norm.weight", WIDTH)
        model.matrix(f"blk.{layer}.ssm_in.weight", 2 * inner, WIDTH)
        model.exact(f"blk.{layer}.ssm_conv1d.weight", inner, _KERNEL)
        model.exact(f"blk.{layer}.ssm_conv1d.bias", inner)
        model.matrix(f"blk.{layer}.ssm_x.weight", _TIME_RANK + 2 * _STATE, inner)
        model.matrix(f"blk.{layer}.ssm_dt.weight", inner, _TIME_RANK)
        model.exact(f"blk.{layer}.ssm_dt.bias", inner)
        # Decay: negative, else the state grows without bound.
        model.writer.add_tensor(f"blk.{layer}.ssm_a", -np.tile(np.arange(1, _STATE + 1, dtype=np.float32), (inner, 1)))
        model.ones(f"blk.{layer}.ssm_d", inner)
        model.matrix(f"blk.{layer}.ssm_out.weight", WIDTH, inner)
    return model.write()


def hybrid(folder: Path, tokenizer: Path) -> Path:
    """Two lfm2 layers: a short convolution, whose state is recurrent, and one of attention."""
    model = _Model(folder / "hybrid.gguf", "lfm2", tokenizer, layers=2, output_norm="token_embd_norm.weight")
    model.attention_settings(kv_heads=[0, HEADS])
    model.writer.add_shortconv_l_cache(3)
    model.ones("blk.0.attn_norm.weight", WIDTH)
    model.exact("blk.0.shortconv.conv.weight", WIDTH, 3)
    model.matrix("blk.0.shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
    model.matrix("blk.0.shortconv.out_proj.weight", WIDTH, WIDTH)
    model.attention(1)
    model.ones("blk.1.attn_q_norm.weight", _HEAD_WIDTH)
    model.ones("blk.1.attn_k_norm.weight", _HEAD_WIDTH)
    for layer in range(2):
        model.feed_forward(layer)
    return model.write()


def lora_adapter(
    path: Path,
    *,
    width: int = 576,
    seed: int = 1,
    architecture: str = "llama",
    invocation_tokens: Sequence[int] = (),
) -> Path:
    """A random adapter of the first two layers' attention outputs, strong enough to change what is generated.

    ``width`` 576 is SmolLM2's. With ``invocation_tokens`` it is an "activated" one, meant to act from those tokens on.
    """
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0 * LORA_RANK)
    if invocation_tokens:
        kinds = (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
        writer.add_key_value("adapter.alora.invocation_tokens", list(invocation_tokens), *kinds)
    for layer in range(2):
        name = f"blk.{layer}.attn_output.weight"
        a, b = rng.normal(size=(LORA_RANK, width)), rng.normal(size=(width, LORA_RANK))
        writer.add_tensor(f"{name}.lora_a", (a / np.sqrt(width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", b.astype(np.float32))
    return _finish(writer, path)


class _Model:
    """A GGUF file in the making: settings and tensors that all kinds have, and the random ones."""

    def __init__(
        self, path: Path, architecture: str, tokenizer: Path, *, layers: int, output_norm: str = "output_norm.weight"
    ) -> None:
        self._path = path
        self._rng = np.random.default_rng(7)
        self.writer = gguf.GGUFWriter(path, architecture)
        self.writer.add_block_count(layers)
        self.writer.add_context_length(CONTEXT)
        self.writer.add_embedding_length(WIDTH)
        self.writer.add_layer_norm_rms_eps(1e-5)
        for name, value, kind, item_kind in _tokenizer(tokenizer):
            self.writer.add_key_value(name, value, kind, item_kind)
        # Small embeddings: what layers add outweighs the token itself, and a wrong state shows in the logits.
        self._tensor("token_embd.weight", (_VOCABULARY, WIDTH), 0.1, np.float16)
        self.ones(output_norm, WIDTH)

    def attention_settings(self, kv_heads: int | list[int] = HEADS) -> None:
        self.writer.add_head_count(HEADS)
        self.writer.add_head_count_kv(kv_heads)
        self.writer.add_key_length(_HEAD_WIDTH)
        self.writer.add_value_length(_HEAD_WIDTH)
        self.writer.add_rope_dimension_count(_HEAD_WIDTH)
        self.writer.add_feed_forward_length(INNER)

    def attention(self, layer: int) -> None:
        self.ones(f"blk.{layer}.attn_norm.weight", WIDTH)
        for part in ("q", "k", "v", "output"):
            self.matrix(f"blk.{layer}.attn_{part}.weight", WIDTH, WIDTH)

    def feed_forward(self, layer: int) -> None:
        self.ones(f"blk.{layer}.ffn_norm.weight", WIDTH)
        self.matrix(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH)
        self.matrix(f"blk.{layer}.ffn_up.weight", INNER, WIDTH)
        self.matrix(f"blk.{layer}.ffn_down.weight", WIDTH, INNER)

    def ones(self, name: str, size: int) -> None:
        self.writer.add_tensor(name, np.ones(size, dtype=np.float32))

    def matrix(self, name: str, *shape: int) -> None:
        """Random weights that keep the size of what goes through them; half precision, as in trained models."""
        self._tensor(name, shape, shape[-1] ** -0.5, np.float16)

    def exact(self, name: str, *shape: int) -> None:
        """Random weights of the tensors that llama.cpp wants in single precision."""
        self._tensor(name, shape, 0.5, np.float32)

    def _tensor(self, name: str, shape: tuple[int, ...], deviation: float, kind: type) -> None:
        values = self._rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
        self.writer.add_tensor(name, values.astype(kind))

    def write(self) -> Path:
        return _finish(self.writer, self._path)


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@functools.cache
def _tokenizer(path: Path) -> list[tuple[str, Any, gguf.GGUFValueType, gguf.GGUFValueType | None]]:
    """All of a model's metadata that is about its tokenizer: name, value, type, type of the items of a list."""
    return [
        (name, field.contents(), field.types[0], field.types[1] if len(field.types) > 1 else None)
        for name, field in gguf.GGUFReader(path).fields.items()
        if name.startswith("tokenizer.")
    ]


def tokens(count: int, *, seed: int = 3) -> NDArray[np.int32]:
    """Random ordinary tokens of the vocabulary."""
    return np.random.default_rng(seed).integers(300, 20_000, count).astype(np.int32)
