"""The parts of the binding that need no model: loadable backends, the log's reasons, waiting threads."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from rag.errors import AcceleratorUnavailable, ModelMissing, ModelUnloadable
from rag.inference import binding, model
from rag.inference.binding import NativeLog, load_backends
from rag.inference.model import GpuLayers, Model
from rag.openmp import wait_passively

if TYPE_CHECKING:
    from pathlib import Path


class Function:
    def __init__(self, *results: object) -> None:
        self.results = list(results)
        self.calls: list[Any] = []

    def __call__(self, *args: Any) -> object:
        self.calls.append(args)
        return self.results.pop(0) if self.results else None


class Library:
    """Stands for libllama; ``counts`` are what the registry answers each time it is asked."""

    _name = "/opt/lib/libllama.so"

    def __init__(self, *counts: int) -> None:
        self.ggml_backend_reg_count = Function(*counts)
        self.ggml_backend_load_all_from_path = Function()


def test_an_ordinary_build_has_nothing_to_load() -> None:
    library = Library(1)
    load_backends(library)
    assert library.ggml_backend_load_all_from_path.calls == []


def test_cpu_variants_are_loaded_from_beside_the_library() -> None:
    library = Library(0, 1)
    load_backends(library)
    assert library.ggml_backend_load_all_from_path.calls == [(b"/opt/lib",)]


def test_a_processor_no_variant_runs_on_is_named() -> None:
    with pytest.raises(ModelUnloadable, match="/opt/lib"):
        load_backends(Library(0, 0))


def test_waiting_is_passive_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)
    wait_passively()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("passive", "1000")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_a_missing_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("Failed to load shared library 'libllama.so'")

    monkeypatch.setattr(binding.importlib, "import_module", broken)
    with pytest.raises(ModelUnloadable, match=r"libllama\.so.*pip install"):
        binding.library.__wrapped__()


def test_the_reason_is_made_of_errors_only() -> None:
    log = NativeLog()
    log.write(2, b"loader: loaded meta data\n", None)
    log.write(4, b"llama_model_load: error loading model: out of bounds\n", None)
    log.write(4, b"llama_model_load_from_file_impl: failed to load model\n", None)
    log.write(1, b"debug\n", None)
    assert log.reason() == "error loading model: out of bounds; failed to load model"
    log.clear()
    assert log.reason() == ""


def test_continued_lines_and_broken_bytes_do_no_harm() -> None:
    log = NativeLog()
    log.write(4, b"x: caf\xff", None)
    log.write(5, b" again\n", None)
    log.write(2, None, None)
    assert log.reason() == "caf\ufffd; again"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"gone\.gguf"):
        Model.load(tmp_path / "gone.gguf", gpu_layers=0)


class CpuOnly:
    def llama_supports_gpu_offload(self) -> bool:
        return False


@pytest.mark.parametrize("layers", ["all", 12])
def test_layers_for_a_gpu_that_is_not_there_are_refused(
    layers: GpuLayers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "library", CpuOnly)
    (tmp_path / "m.gguf").touch()
    with pytest.raises(AcceleratorUnavailable, match=r"GGML_CUDA=on"):
        Model.load(tmp_path / "m.gguf", gpu_layers=layers)


def test_auto_takes_what_is_there() -> None:
    class Gpu(CpuOnly):
        def llama_supports_gpu_offload(self) -> bool:
            return True

    assert model._layers_to_offload(CpuOnly(), "auto") == 0  # type: ignore[arg-type]
    assert model._layers_to_offload(Gpu(), "auto") == -1  # type: ignore[arg-type]
    assert model._layers_to_offload(Gpu(), "all") == -1  # type: ignore[arg-type]
    assert model._layers_to_offload(Gpu(), 7) == 7  # type: ignore[arg-type]


def test_the_offloaded_layers_are_what_llama_cpp_says_they_are() -> None:
    lines = ["load_tensors: offloading 28 layers", "load_tensors: offloaded 28/29 layers to GPU"]
    assert model._offloaded_layers(lines) == (28, 29)
    assert model._offloaded_layers(["load_tensors: CPU model buffer size"]) == (0, 0)


class HalfAGpu:
    """Stands for libllama with a GPU that takes ``offloaded`` of 29 layers; ``system`` is what it tells of itself."""

    LLAMA_LOAD_MODE_MMAP = 1

    def __init__(self, offloaded: int, system: bytes = b"CPU : AVX2 = 1 | ") -> None:
        self.offloaded = offloaded
        self.system = system
        self.freed = False

    def llama_supports_gpu_offload(self) -> bool:
        return True

    def llama_print_system_info(self) -> bytes:
        return self.system

    def llama_model_default_params(self) -> SimpleNamespace:
        self.params = SimpleNamespace()
        return self.params

    def llama_model_load_from_file(self, path: bytes, params: SimpleNamespace) -> int:
        binding.native_log.write(2, f"load_tensors: offloaded {self.offloaded}/29 layers to GPU".encode(), None)
        return 1

    def llama_model_get_vocab(self, pointer: int) -> int:
        return 2

    def llama_model_n_ctx_train(self, pointer: int) -> int:
        return 2048

    def llama_model_free(self, pointer: int) -> None:
        self.freed = True


@pytest.mark.parametrize(
    ("asked", "offloaded", "warned"),
    [("auto", 20, False), ("all", 29, False), ("all", 20, True), (20, 20, False), (20, 12, True), (99, 29, True)],
)
def test_fewer_layers_on_the_gpu_than_asked_for_are_reported(
    asked: GpuLayers, offloaded: int, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = HalfAGpu(offloaded)
    monkeypatch.setattr(model, "library", lambda: library)
    (tmp_path / "m.gguf").touch()
    with structlog.testing.capture_logs() as logs:
        loaded = Model.load(tmp_path / "m.gguf", gpu_layers=asked)
    assert library.params.n_gpu_layers == (asked if isinstance(asked, int) else -1)
    assert loaded.gpu_layers == offloaded
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert bool(warnings) is warned
    if warned:
        assert (warnings[0]["asked"], warnings[0]["offloaded"], warnings[0]["layers"]) == (asked, offloaded, 29)


def test_a_gpu_that_takes_no_layer_is_refused_and_the_model_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = HalfAGpu(0)
    monkeypatch.setattr(model, "library", lambda: library)
    (tmp_path / "m.gguf").touch()
    with pytest.raises(AcceleratorUnavailable, match="all layers were to run on a GPU"):
        Model.load(tmp_path / "m.gguf", gpu_layers="all")
    assert library.freed


@pytest.mark.parametrize(
    ("told", "extra"), [(b"CPU : AVX512 = 1 | ", True), (b"CPU : AVX512 = 1 | AMX_INT8 = 1 | ", False)]
)
def test_weights_are_kept_out_of_the_faulty_amx_code(
    told: bytes, extra: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = HalfAGpu(29, told)
    monkeypatch.setattr(model, "library", lambda: library)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with structlog.testing.capture_logs() as logs:
        Model.load(tmp_path / "m.gguf", gpu_layers="auto")
    assert library.params.use_extra_bufts is extra
    assert [log["log_level"] for log in logs if "AMX" in log["event"]] == ([] if extra else ["info"])
