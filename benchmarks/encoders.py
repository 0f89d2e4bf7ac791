"""Other ways to compute the embedder's network, for ``benchmarks.embedding``. None of them is in the product.

All read the same safetensors file. Each takes a batch of texts with their token ids, longest first.
"""

from __future__ import annotations

import ctypes
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import gguf
import numpy as np
import torch
from safetensors.numpy import load_file

from rag.embedding.packed_bert import PackedBert
from rag.inference.binding import library
from rag.inference.context import Batch
from rag.inference.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_OPSET, _CONTRIBUTED = 18, "com.microsoft"
_ROWS, _TEXTS = 1024, 256


class QuantizedBert(PackedBert):
    """The product's network with matrices of integers, and inputs quantized as they come (torch's ``fbgemm``).

    Without VNNI, products of two pairs of eight bits are added in 16 bits, which overflow: weights or inputs
    have seven.
    """

    def __init__(self, path: Path, *, weight_bits: Literal[7, 8]) -> None:
        super().__init__(path)
        torch.backends.quantized.engine = "fbgemm"
        self._short_inputs = weight_bits == 8
        self._packed = {
            id(affine): _packed(affine.weight, affine.bias, 2 ** (weight_bits - 1) - 1)
            for layer in self._layers
            for affine in (layer.attend, layer.mix, layer.widen, layer.narrow)
        }

    def _linear(self, x: torch.Tensor, by: Any) -> torch.Tensor:  # noqa: ANN401  # a pair of the superclass
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(x, self._packed[id(by)], self._short_inputs)
        return product


class RowQuantizedBert(PackedBert):
    """The product's network in integers of eight bits, with a scale for each row of the inputs and of the weights."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._quantized = {
            id(affine): (quantized.T.contiguous(), scales.T)
            for layer in self._layers
            for affine in (layer.attend, layer.mix, layer.widen, layer.narrow)
            for quantized, scales in [_rows(affine.weight)]
        }

    def _linear(self, x: torch.Tensor, by: Any) -> torch.Tensor:  # noqa: ANN401  # a pair of the superclass
        weight, scales = self._quantized[id(by)]
        rows, own = _rows(x)
        return torch.addcmul(by.bias, torch._int_mm(rows, weight).float().mul_(own), scales)


def _rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scales = x.abs().amax(1, keepdim=True) / 127
    return torch.round(x / scales).to(torch.int8), scales


def _packed(weight: torch.Tensor, bias: torch.Tensor, largest: int) -> object:
    scales = (weight.abs().amax(1) / largest).double()
    zeros = torch.zeros(len(scales), dtype=torch.long)
    quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantized, bias)


class LlamaEncoder:
    """llama.cpp's encoder, from a GGUF file made of the weights; ``kind`` is how its matrices are stored."""

    def __init__(self, path: Path, target: Path, kind: gguf.GGMLQuantizationType, *, threads: int) -> None:
        _write_gguf(path, target, kind)
        self._model = Model.load(target, gpu_layers=0)
        lib = self._lib = library()
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = _ROWS
        params.n_seq_max = _TEXTS
        params.n_threads = params.n_threads_batch = threads
        params.embeddings = True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_MEAN
        params.no_perf = True
        self._context = lib.llama_init_from_model(self._model.pointer, params)
        if not self._context:
            raise RuntimeError("llama.cpp made no context of the encoder")
        self._width = lib.llama_model_n_embd(self._model.pointer)
        self._batch = Batch(lib, _ROWS)

    def encode(self, _texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self._batch.clear()
        for sequence, tokens in enumerate(ids):
            self._batch.add(np.asarray(tokens, np.int32), 0, sequence, outputs=len(tokens))
        if self._lib.llama_encode(self._context, self._batch.native()):
            raise RuntimeError("llama.cpp could not encode the batch")
        rows = [
            np.ctypeslib.as_array(
                ctypes.cast(
                    self._lib.llama_get_embeddings_seq(self._context, sequence), ctypes.POINTER(ctypes.c_float)
                ),
                (self._width,),
            )
            for sequence in range(len(ids))
        ]
        return _unit(np.stack(rows))


def _write_gguf(path: Path, target: Path, kind: gguf.GGMLQuantizationType) -> None:
    weights, config = _weights(path), _config(path)
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)  # noqa: FBT003  # positional in gguf
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(config["type_vocab_size"])
    # It is given token ids; without any vocabulary it would not load.
    writer.add_tokenizer_model("bert")
    vocabulary = json.loads((path / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, value in weights.items():
        known = names.get_name(name, (".weight", ".bias"))
        if known is None:
            continue  # the pooler, which sentence embeddings do without
        matrix = value.ndim == 2 and name.startswith("encoder")
        stored = gguf.quants.quantize(value, kind) if matrix else value
        writer.add_tensor(known, stored, raw_dtype=kind if matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def missing(*packages: str) -> list[str]:
    """Those that are not installed, of packages that a side needs and the benchmark does not."""
    return [package for package in packages if find_spec(package) is None]


class TorchaoBert(PackedBert):
    """The product's network with torchao's linear layers: weights of eight bits, inputs quantized row by row."""

    def __init__(self, path: Path) -> None:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        super().__init__(path)
        self._modules = {
            id(affine): _module(affine.weight, affine.bias)
            for layer in self._layers
            for affine in (layer.attend, layer.mix, layer.widen, layer.narrow)
        }
        for module in self._modules.values():
            quantize_(module, Int8DynamicActivationInt8WeightConfig(), filter_fn=lambda *_: True)

    def _linear(self, x: torch.Tensor, by: Any) -> torch.Tensor:  # noqa: ANN401  # a pair of the superclass
        product: torch.Tensor = self._modules[id(by)](x)
        return product


def _module(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    module = torch.nn.Linear(weight.shape[1], weight.shape[0])
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    module.bias = torch.nn.Parameter(bias, requires_grad=False)
    return module


class OpenVinoEncoder:
    """OpenVINO's CPU plugin, from the network as transformers has it.

    ``bits`` is 32 (float), or 8 for weights and inputs quantized by NNCF; the ranges of inputs are
    those of ``samples``, which are token ids.
    """

    def __init__(
        self, path: Path, *, bits: Literal[8, 32], threads: int, samples: Sequence[Sequence[int]] = ()
    ) -> None:
        import openvino
        from transformers import AutoModel

        module = AutoModel.from_pretrained(path, local_files_only=True).eval()
        example = {name: torch.ones(2, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        model = openvino.convert_model(module, example_input=example)
        if bits == 8:
            import nncf

            data = nncf.Dataset([_filled_up([sample]) for sample in samples])
            model = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
        how = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = openvino.Core().compile_model(model, "CPU", how)

    def encode(self, _texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        inputs = _filled_up(ids)
        states = self._compiled(inputs)[0]
        return _unit(np.einsum("bsh,bs->bh", states, inputs["attention_mask"].astype(np.float32)))


def _filled_up(ids: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """Token ids and mask of a batch, as long as its longest text."""
    tokens = np.zeros((len(ids), max(map(len, ids))), np.int64)
    mask = np.zeros_like(tokens)
    for row, text in enumerate(ids):
        tokens[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"input_ids": tokens, "attention_mask": mask}


class OnnxEncoder:
    """ONNX Runtime with its fused operators: attention, skip with norm, quantizing with the product.

    ``bits`` is 32 (float), or 8 for weights of eight bits and inputs quantized as they come.
    """

    def __init__(self, path: Path, *, bits: int, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model, self._output = _Graph(path, bits).finish()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def encode(self, _texts: Sequence[str], ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        tokens, mask = _filled_up(ids).values()
        inputs = {"tokens": tokens, "mask": mask.astype(np.int32), "places": np.arange(tokens.shape[1])}
        (states,) = self._session.run([self._output], inputs)
        return _unit(np.einsum("bsh,bs->bh", states, mask.astype(np.float32)))


class _Graph:
    """The network as an ONNX model in the making."""

    def __init__(self, path: Path, bits: int) -> None:
        self._weights, self._config, self._bits = _weights(path), _config(path), bits
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def finish(self) -> tuple[bytes, str]:
        """The model and the name of its output."""
        from onnx import TensorProto, helper

        x = self._embedded()
        for number in range(self._config["num_hidden_layers"]):
            x = self._layer(f"encoder.layer.{number}.", x)
        graph = helper.make_graph(
            self._nodes,
            "bert",
            [
                helper.make_tensor_value_info("tokens", TensorProto.INT64, ["texts", "length"]),
                helper.make_tensor_value_info("mask", TensorProto.INT32, ["texts", "length"]),
                helper.make_tensor_value_info("places", TensorProto.INT64, ["length"]),
            ],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["texts", "length", self._config["hidden_size"]])],
            self._constants,
        )
        operators = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIBUTED, 1)]
        return helper.make_model(graph, opset_imports=operators, ir_version=9).SerializeToString(), x

    def _embedded(self) -> str:
        words = self._weights["embeddings.word_embeddings.weight"]
        places = self._weights["embeddings.position_embeddings.weight"]
        places = places + self._weights["embeddings.token_type_embeddings.weight"][0]
        word = self._node("Gather", [self._constant(words), "tokens"])
        place = self._node("Gather", [self._constant(places), "places"])
        return self._normed("embeddings.LayerNorm", "LayerNormalization", [self._node("Add", [word, place])], "")

    def _layer(self, layer: str, x: str) -> str:
        parts = [f"{layer}attention.self.{part}" for part in ("query", "key", "value")]
        projected = self._affine(x, *parts)
        queries, keys, values = self._nodes_out("Split", [projected], 3, axis=-1, num_outputs=3)
        heads = self._config["num_attention_heads"]
        inputs = [queries, keys, values, "", "mask"]
        seen = self._node("MultiHeadAttention", inputs, _CONTRIBUTED, num_heads=heads)
        mixed = self._affine(seen, f"{layer}attention.output.dense")
        x = self._normed(f"{layer}attention.output.LayerNorm", "SkipLayerNormalization", [mixed, x], _CONTRIBUTED)
        wide = self._node("Gelu", [self._affine(x, f"{layer}intermediate.dense")], _CONTRIBUTED)
        narrow = self._affine(wide, f"{layer}output.dense")
        return self._normed(f"{layer}output.LayerNorm", "SkipLayerNormalization", [narrow, x], _CONTRIBUTED)

    def _affine(self, x: str, *names: str) -> str:
        weight = np.concatenate([self._weights[f"{name}.weight"] for name in names]).T
        bias = self._constant(np.concatenate([self._weights[f"{name}.bias"] for name in names]))
        if self._bits == 32:
            return self._node("Add", [self._node("MatMul", [x, self._constant(weight)]), bias])
        scales = (np.abs(weight).max(axis=0) / 127).astype(np.float32)
        quantized = [np.rint(weight / scales).astype(np.int8), scales, np.zeros(len(scales), np.int8)]
        return self._node("DynamicQuantizeMatMul", [x, *map(self._constant, quantized), bias], _CONTRIBUTED)

    def _normed(self, name: str, operator: str, inputs: list[str], domain: str) -> str:
        scale, shift = (self._constant(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self._node(operator, [*inputs, scale, shift], domain, epsilon=self._config["layer_norm_eps"])

    def _node(self, operator: str, inputs: list[str], domain: str = "", **attributes: object) -> str:
        return self._nodes_out(operator, inputs, 1, domain, **attributes)[0]

    def _nodes_out(
        self, operator: str, inputs: list[str], count: int, domain: str = "", **attributes: object
    ) -> list[str]:
        from onnx import helper

        outputs = [f"n{len(self._nodes)}_{number}" for number in range(count)]
        self._nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))
        return outputs

    def _constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _weights(path: Path) -> dict[str, NDArray[np.float32]]:
    tensors = load_file(path / "model.safetensors")
    return {name.removeprefix("bert."): value for name, value in tensors.items() if value.dtype == np.float32}


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    return config


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
