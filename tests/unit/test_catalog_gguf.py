from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.catalog.gguf import check_gguf
from rag.errors import ModelCorrupt
from tests.unit.gguf_file import tiny_gguf


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("alignment", [32, 64, 4096])
def test_a_complete_file_is_accepted(tmp_path: Path, alignment: int) -> None:
    check_gguf(_write(tmp_path, tiny_gguf(alignment=alignment)))


def test_one_missing_byte_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="truncated"):
        check_gguf(_write(tmp_path, tiny_gguf()[:-1]))


def test_a_quantized_tensor_is_measured_by_its_blocks(tmp_path: Path) -> None:
    content = tiny_gguf(tensor_type=2)  # 32 weights in 18 bytes
    check_gguf(_write(tmp_path, content[: -128 + 18]))
    with pytest.raises(ModelCorrupt, match="truncated"):
        check_gguf(_write(tmp_path, content[: -128 + 17]))


def test_a_tensor_of_a_future_type_must_at_least_begin(tmp_path: Path) -> None:
    content = tiny_gguf(tensor_type=999)
    check_gguf(_write(tmp_path, content))
    with pytest.raises(ModelCorrupt, match="truncated"):
        check_gguf(_write(tmp_path, content[:-128]))


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 a zip", b"<!doctype html>"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelCorrupt, match="not a GGUF"):
        check_gguf(_write(tmp_path, content))


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelCorrupt, match="version 9"):
        check_gguf(_write(tmp_path, tiny_gguf(version=9)))


@given(length=st.integers(min_value=0, max_value=len(tiny_gguf()) - 1))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_torn_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ModelCorrupt):
        check_gguf(_write(tmp_path, tiny_gguf()[:length]))


@given(at=st.integers(min_value=4, max_value=400), value=st.integers(min_value=0, max_value=255))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_header_never_breaks_the_reader(tmp_path: Path, at: int, value: int) -> None:
    content = bytearray(tiny_gguf())
    content[at % len(content)] = value
    with contextlib.suppress(ModelCorrupt):
        check_gguf(_write(tmp_path, bytes(content)))
