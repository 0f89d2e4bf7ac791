"""Records of the quality gate: when they pass, when they are believed, and what follows from them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.config import Settings
from rag.errors import DataDirectoryUnwritable, InvalidSettings
from rag.inference.quality_gate import GATE_FORMAT, GateFigures, GateRecord, GateStore, effective_reuse

SHA = "ab" * 32


def record(
    f1: tuple[float | None, float | None] = (0.5, 0.5),
    precision: tuple[float | None, float | None] = (0.9, 0.9),
    sha256: str = SHA,
) -> GateRecord:
    """Exact and stitched figures, judged."""
    return GateRecord.of(
        model="m",
        sha256=sha256,
        dataset="made",
        dataset_sha256="cd" * 32,
        questions=60,
        exact=GateFigures(f1=f1[0], citation_precision=precision[0]),
        stitched=GateFigures(f1=f1[1], citation_precision=precision[1]),
        settings={"top_k": 6, "min_answerability": 0.6, "passage_order": "rank"},
    )


def settings(reuse: str = "auto") -> Settings:
    return Settings(_env_file=None, passage_reuse=reuse)


@pytest.mark.parametrize(
    ("f1", "precision", "passed"),
    [
        ((0.5, 0.5), (0.9, 0.9), True),
        ((1.0, 0.97), (1.0, 0.97), True),
        ((0.5, 0.6), (0.9, 0.95), True),
        ((1.0, 0.969), (1.0, 1.0), False),
        ((1.0, 1.0), (1.0, 0.969), False),
        ((0.5, None), (0.9, 0.9), False),
        ((0.5, 0.5), (0.9, None), False),
        ((0.5, 0.5), (None, 0.9), False),
        ((0.0, 0.0), (0.9, 0.9), False),  # nothing was right exactly, so nothing shows what stitching costs
    ],
)
def test_the_gate_is_passed_by_both_ratios(f1, precision, passed) -> None:
    assert record(f1, precision).passed is passed


def test_a_record_says_what_was_measured_with_what() -> None:
    made = record((0.5, 0.4), (None, 0.9))
    assert made.f1_ratio == pytest.approx(0.8)
    assert made.citation_precision_ratio is None
    assert made.min_ratio == 0.97
    assert set(made.versions) == {"plumbline", "llama-cpp-python"}
    assert made.date.endswith("Z")
    assert made.summary == "F1 0.400 of 0.500, citation precision 0.900 of none on 60 questions of made"


def test_a_stored_record_is_found_by_the_models_hash(tmp_path) -> None:
    store = GateStore(tmp_path)
    made = record()
    path = store.write(made)
    assert path == tmp_path / ".gates" / f"{SHA}.gate.json"
    found = store.find(SHA)
    assert (found.record, found.problem) == (made, "")
    assert json.loads(path.read_text())["settings"]["top_k"] == 6
    assert store.find("ee" * 32).record is None


def test_a_newer_record_replaces_the_older_and_leaves_nothing_beside_it(tmp_path) -> None:
    store = GateStore(tmp_path)
    store.write(record())
    path = store.write(record((0.5, 0.1)))
    assert store.find(SHA).record.stitched.f1 == 0.1
    assert list(path.parent.iterdir()) == [path]


def _edited(**fields: object) -> bytes:
    return json.dumps({**asdict(record()), **fields}).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "ignored"),
        (b"\xff\xfe", "ignored"),
        (b"{", "ignored"),
        (b"[]", "its format is None"),
        (_edited(format=GATE_FORMAT + 1), f"its format is {GATE_FORMAT + 1}, this version reads {GATE_FORMAT}"),
        (_edited(passed="yes"), "passed"),
        (_edited(exact=None), "exact"),
        (_edited(sha256="ee" * 32), "another model file"),
    ],
)
def test_a_record_that_cannot_be_used_is_ignored_and_said_so(tmp_path, content, why) -> None:
    store = GateStore(tmp_path)
    path = store.path(SHA)
    path.parent.mkdir()
    path.write_bytes(content)
    found = store.find(SHA)
    assert found.record is None
    assert str(path) in found.problem
    assert why in found.problem
    placed, reason = effective_reuse(settings(), found.record, kind_allows=True, problem=found.problem)
    assert placed == "exact"
    assert found.problem in reason


def test_the_catalogs_record_counts_where_there_is_no_own_one(tmp_path) -> None:
    store = GateStore(tmp_path)
    shipped = asdict(record((0.5, 0.49)))
    assert store.find(SHA, shipped=shipped).record.passed
    store.write(record((0.5, 0.1)))
    assert not store.find(SHA, shipped=shipped).record.passed
    store.path(SHA).write_text("{")
    found = store.find(SHA, shipped=shipped)
    assert found.record.passed
    assert "ignored" in found.problem
    found = store.find(SHA, shipped={"format": 0})
    assert found.record is None
    assert "The catalog's gate record" in found.problem


def test_a_catalog_file_may_bring_a_gate(tmp_path) -> None:
    (tmp_path / "models.toml").write_text(
        f"""format = 1
[models.m]
kind = "generator"
licence = "MIT"
files = [{{ path = "m.gguf", bytes = 1, sha256 = "{SHA}" }}]
[models.m.gate]
format = {GATE_FORMAT}
model = "m"
sha256 = "{SHA}"
dataset = "made"
dataset_sha256 = "{"cd" * 32}"
questions = 60
exact = {{ f1 = 0.5, citation_precision = 1 }}
stitched = {{ f1 = 0.5, citation_precision = 1 }}
f1_ratio = 1.0
citation_precision_ratio = 1
min_ratio = 0.97
passed = true
date = "2026-11-23T12:00:00+00:00"
"""
    )
    catalog = Catalog.load(Settings(_env_file=None, models_dir=tmp_path))
    found = GateStore(tmp_path).find(SHA, shipped=catalog.entry("m").gate)
    assert (found.problem, found.record.passed) == ("", True)
    assert catalog.entry("all-minilm-l6-v2").gate is None


@pytest.mark.parametrize("gate", ["1", '"passed"', "[1]"])
def test_a_gate_that_is_no_table_is_refused_with_the_models_name(tmp_path, gate) -> None:
    (tmp_path / "models.toml").write_text(
        f'format = 1\n[models.m]\nkind = "generator"\nlicence = "MIT"\ngate = {gate}\n'
        f'files = [{{ path = "m.gguf", bytes = 1, sha256 = "{SHA}" }}]\n'
    )
    with pytest.raises(InvalidSettings, match="'m'"):
        Catalog.load(Settings(_env_file=None, models_dir=tmp_path))


def test_a_folder_that_cannot_be_written_is_found_out_before_and_after(tmp_path) -> None:
    (tmp_path / ".gates").write_text("in the way")
    store = GateStore(tmp_path)
    with pytest.raises(DataDirectoryUnwritable, match="RAG_MODELS_DIR"):
        store.require_writable()
    with pytest.raises(DataDirectoryUnwritable):
        store.write(record())


def test_asking_whether_records_can_be_written_leaves_no_record(tmp_path: Path) -> None:
    GateStore(tmp_path / "new").require_writable()
    assert list((tmp_path / "new" / ".gates").iterdir()) == []


PASSED, FAILED = record(), record((0.5, 0.4))


@pytest.mark.parametrize(
    ("reuse", "known", "kind_allows", "placed", "said"),
    [
        ("auto", PASSED, True, "stitched", "gate passed, F1 0.500 of 0.500"),
        ("auto", None, True, "exact", "run: rag eval gate DIR"),
        ("auto", FAILED, True, "exact", "gate failed, F1 0.400 of 0.500"),
        ("auto", PASSED, False, "exact", "kind of model cannot be stitched"),
        ("stitched", PASSED, True, "stitched", "gate passed"),
        ("stitched", None, True, "exact", "RAG_PASSAGE_REUSE=stitched is not followed: no quality gate is recorded"),
        ("stitched", FAILED, True, "exact", "RAG_PASSAGE_REUSE=stitched is not followed: gate failed"),
        ("stitched", PASSED, False, "exact", "cannot be stitched"),
        ("exact", PASSED, True, "exact", "RAG_PASSAGE_REUSE"),
    ],
)
def test_what_follows_from_setting_record_and_kind(reuse, known, kind_allows, placed, said) -> None:
    found, reason = effective_reuse(settings(reuse), known, kind_allows=kind_allows)
    assert found == placed
    assert reason.startswith(placed)
    assert said in reason


def test_a_gate_passed_with_more_passages_read_anew_says_nothing_about_fewer() -> None:
    passed = replace(record(), settings={"recomputed_passages": 2})
    placed, why = effective_reuse(Settings(_env_file=None, recomputed_passages=1), passed, kind_allows=True)
    assert placed == "exact"
    assert "RAG_RECOMPUTED_PASSAGES=2" in why
    more = Settings(_env_file=None, recomputed_passages=2)
    assert effective_reuse(more, passed, kind_allows=True)[0] == "stitched"
