"""A BERT encoder on the processor that computes no padding: the tokens of a batch lie one after another.

The matrix products run over all tokens at once, attention over the texts of one length at a time. In float32 it gives
the vectors of sentence-transformers to six digits, in three quarters of the time and less beside other work
(docs/lab-log.md): small batches stay in the caches, where 32 long texts move 50 MB through memory for every layer.
In bfloat16 the factors of products are rounded, and what attention weighs; sums, norms and the mean are float32.
Vectors then differ from those of float32 by a cosine of .00003 (docs/decisions/0025).
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_WEIGHTS: Final = "model.safetensors"
_MODULES: Final = ["Transformer", "Pooling", "Normalize"]
_POOLING: Final = "pooling_mode_"
_MEAN: Final = ("pooling_mode_mean_tokens", "mean")
# Weights of attention that are in memory at a time, if one text has not more: they stay in a core's cache.
_WEIGHED: Final = 12 * 256 * 256


class _Affine(NamedTuple):
    weight: Tensor
    bias: Tensor


class _Group(NamedTuple):
    """Texts of one length, ``texts * length`` tokens from ``start`` on."""

    start: int
    texts: int
    length: int


class _Layer(NamedTuple):
    attend: _Affine  # queries, keys and values in one
    mix: _Affine
    mixed: _Affine
    widen: _Affine
    narrow: _Affine
    narrowed: _Affine


def is_packable(path: Path) -> bool:
    """Whether the model in the folder is one that ``PackedBert`` computes exactly: BERT, mean of the tokens, unit."""
    config = _read(path / "config.json")
    modules = [str(module.get("type")).rpartition(".")[2] for module in _read(path / "modules.json") or []]
    prompts = _read(path / "config_sentence_transformers.json")
    return (
        (path / _WEIGHTS).is_file()
        and (config.get("model_type"), config.get("hidden_act")) == ("bert", "gelu")
        and config.get("position_embedding_type", "absolute") == "absolute"
        and modules == _MODULES
        and _takes_the_mean(_read(path / "1_Pooling" / "config.json"))
        and not prompts.get("default_prompt_name")
    )


def fastest_precision() -> torch.dtype:
    """bfloat16 where the processor multiplies it (AVX512_BF16 or AMX), for it does so twice as fast; else float32."""
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


class PackedBert:
    """The network of a folder for which ``is_packable``."""

    parallel: Final = True  # several threads may encode at a time

    def __init__(self, path: Path, *, precision: torch.dtype = torch.float32) -> None:
        """Read the weights; products are computed in ``precision``, float32 or bfloat16.

        Raises:
            OSError, KeyError, ValueError, SafetensorError: they cannot be read or are not those of the configuration.
        """
        config = _read(path / "config.json")
        tensors = {name.removeprefix("bert."): value.float() for name, value in load_file(path / _WEIGHTS).items()}

        def affine(*names: str, dtype: torch.dtype = precision) -> _Affine:
            return _Affine(
                torch.cat([tensors[f"{name}.weight"] for name in names]).to(dtype),
                torch.cat([tensors[f"{name}.bias"] for name in names]).to(dtype),
            )

        def norm(name: str) -> _Affine:
            return affine(f"{name}.LayerNorm", dtype=torch.float32)

        self._heads = int(config["num_attention_heads"])
        self._width = int(config["hidden_size"])
        self._epsilon = float(config["layer_norm_eps"])
        self._words = tensors["embeddings.word_embeddings.weight"]
        # Every text is of the first type.
        self._places = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        self._embedded = norm("embeddings")
        self._layers = [
            _Layer(
                attend=affine(*(f"{layer}.attention.self.{part}" for part in ("query", "key", "value"))),
                mix=affine(f"{layer}.attention.output.dense"),
                mixed=norm(f"{layer}.attention.output"),
                widen=affine(f"{layer}.intermediate.dense"),
                narrow=affine(f"{layer}.output.dense"),
                narrowed=norm(f"{layer}.output"),
            )
            for layer in (f"encoder.layer.{number}" for number in range(int(config["num_hidden_layers"])))
        ]

    def encode(self, _texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors of shape ``(len(ids), dimension)`` of token ids; texts of one length should stand together."""
        with torch.inference_mode():
            return np.asarray(self._encode(ids).numpy(), dtype=np.float32)

    def _encode(self, ids: Sequence[Sequence[int]]) -> Tensor:
        lengths = [len(text) for text in ids]
        groups = _groups(lengths)
        tokens = torch.tensor([token for text in ids for token in text])
        places = torch.cat([torch.arange(length) for length in lengths])
        x = self._normed(self._words[tokens] + self._places[places], self._embedded)
        for layer in self._layers:
            seen = self._attention(self._linear(x, layer.attend), groups)
            x = self._normed(x.add_(self._linear(seen, layer.mix)), layer.mixed)
            wide = functional.gelu(self._linear(x, layer.widen))
            x = self._normed(x.add_(self._linear(wide, layer.narrow)), layer.narrowed)
        means = [
            x[start : start + texts * length].view(texts, length, -1).mean(dim=1) for start, texts, length in groups
        ]
        return functional.normalize(torch.cat(means), dim=1)

    def _attention(self, projected: Tensor, groups: Sequence[_Group]) -> Tensor:
        """What each token takes from those of its own text; ``projected`` holds queries, keys and values in a row."""
        seen = projected.new_empty(len(projected), self._width)
        for start, texts, length in groups:
            rows = slice(start, start + texts * length)
            parts = projected[rows].view(texts, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            if projected.dtype == torch.bfloat16:
                heads = _attended(*parts.contiguous().flatten(1, 2)).view_as(parts[0])
            else:
                heads = functional.scaled_dot_product_attention(*parts)
            seen[rows].view(texts, length, self._heads, -1).copy_(heads.transpose(1, 2))
        return seen

    def _linear(self, x: Tensor, by: _Affine) -> Tensor:
        return functional.linear(x.to(by.weight.dtype), by.weight, by.bias)

    def _normed(self, x: Tensor, by: _Affine) -> Tensor:
        return functional.layer_norm(x, (self._width,), by.weight, by.bias, self._epsilon)


def _attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of heads, each ``(heads, tokens, width)``, as plain products.

    torch's own keeps the weights in float32, with products of 32 columns at an eighth of the speed of these.
    """
    heads, tokens, width = queries.shape
    taken = torch.empty_like(queries)
    some = max(1, _WEIGHED // tokens**2)
    weights = queries.new_empty(min(some, heads), tokens, tokens)
    for first in range(0, heads, some):
        these = slice(first, first + some)
        of = weights[: len(queries[these])]
        torch.baddbmm(of, queries[these], keys[these].mT, beta=0, alpha=width**-0.5, out=of)
        torch.softmax(of, -1, out=of)
        torch.bmm(of, values[these], out=taken[these])
    return taken


def _groups(lengths: Sequence[int]) -> list[_Group]:
    groups = []
    start = 0
    for length, same in groupby(lengths):
        count = len(list(same))
        groups.append(_Group(start, count, length))
        start += count * length
    return groups


def _takes_the_mean(pooling: dict[str, Any]) -> bool:
    """Both spellings: a flag for each way, and since sentence-transformers 6 the name of the way."""
    flags = [name for name, value in pooling.items() if name.startswith(_POOLING) and value is True]
    return flags == [_MEAN[0]] or pooling.get("pooling_mode") == _MEAN[1]


def _read(path: Path) -> Any:  # noqa: ANN401  # JSON
    """The file's content; an empty one where there is none."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
