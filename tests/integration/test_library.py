"""The composition root over a real data directory."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.commands.generator_checks import generator_checks
from rag.config import Settings
from rag.errors import EmbedderChanged, InvalidSettings, ModelMissing, UnknownCollection, UnknownModel
from rag.factory import Library, open_library
from rag.inference.generator import LlamaGenerator
from rag.inference.options import EngineOptions
from rag.inference.quality_gate import GateFigures, GateRecord, GateStore
from rag.inference.remote.generator import RemoteGenerator
from rag.inference.scripted import ScriptedGenerator
from rag.model_types import PassageReuse
from rag.types import Fingerprint


@pytest.fixture
def library(tmp_path, models_dir, embedder_path, smollm_path):
    settings = Settings(home=tmp_path / "home", models_dir=models_dir, generator="smollm2-135m-instruct", threads=1)
    with open_library(settings) as opened:
        yield opened


def check(library: Library, name: str):
    return next(found for found in library.readiness() if found.name == name)


def test_readiness_loads_nothing_and_follows_what_is_loaded(library) -> None:
    assert not check(library, "embedder").ok
    assert not check(library, "generator").ok
    library.warm_up()
    assert all(found.ok for found in library.readiness())
    assert "CPU" in check(library, "generator").detail


def test_a_database_another_program_migrated_is_not_ready(library) -> None:
    assert check(library, "database").ok
    with sqlite3.connect(library.database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    assert not check(library, "database").ok
    assert "0099" in check(library, "database").detail


def test_a_generator_that_stopped_is_not_ready(library) -> None:
    library.warm_up()
    library.generator.close()
    assert not check(library, "generator").ok


async def test_a_collection_of_another_embedder_is_refused_with_the_way_out(library) -> None:
    fingerprint = Fingerprint(parser="p", chunker="c", embedder="another@1", dimension=384)
    library.store.ensure_collection("old", fingerprint)
    with pytest.raises(EmbedderChanged, match=r"another@1.*indexer reembed --collection old"):
        await library.pipeline.search("anything", collection="old")
    assert not check(library, "collection old").ok


class Loaded(ScriptedGenerator):
    """Stands for a generator that a loader was asked for; ``can_stitch`` is what its kind of model allows."""

    def __init__(self, passage_reuse: PassageReuse = "exact", *, can_stitch: bool = True) -> None:
        super().__init__()
        placed = passage_reuse if can_stitch else "exact"
        self._info = replace(self._info, reuse="prefixes, whole", passage_reuse=placed)


@pytest.fixture
def loads(monkeypatch) -> list[dict]:
    """What ``LlamaGenerator.load`` was asked for; nothing is loaded."""
    asked: list[dict] = []

    def load(path: Path, **fields) -> Loaded:
        asked.append({"path": path, **fields})
        return Loaded(fields["options"].passage_reuse)

    monkeypatch.setattr(LlamaGenerator, "load", load)
    return asked


def opened_with(tmp_path, models_dir, **fields) -> Library:
    given = {"home": tmp_path / "home", "models_dir": models_dir, "generator": "smollm2-135m-instruct", **fields}
    return open_library(Settings(_env_file=None, **given))


def details(library: Library) -> dict[str, str]:
    return {found.name: found.detail for found in generator_checks(library)}


def recorded(models_dir: Path, sha256: str, *, f1: float = 0.5) -> None:
    figures = GateFigures(f1=0.5, citation_precision=0.9)
    record = GateRecord.of(
        model="m",
        sha256=sha256,
        dataset="made",
        dataset_sha256="0" * 64,
        questions=60,
        exact=figures,
        stitched=replace(figures, f1=f1),
        settings={},
    )
    GateStore(models_dir).write(record)


@pytest.fixture
def own_models(tmp_path, models_dir, embedder_path, smollm_path) -> Path:
    """A models directory of its own that holds the real models, so that records written there stay there."""
    own = tmp_path / "models"
    own.mkdir()
    for name in ("all-minilm-l6-v2", "smollm2-135m-instruct"):
        (own / name).symlink_to(models_dir / name, target_is_directory=True)
    return own


@pytest.fixture
def smollm_sha256(own_models) -> str:
    return Catalog.load(Settings(_env_file=None, models_dir=own_models)).resolve("smollm2-135m-instruct").sha256


def test_the_engine_gets_the_settings(tmp_path, own_models, smollm_sha256, loads) -> None:
    adapter = tmp_path / "legal.gguf"
    fields = {
        "kv_tokens": 9000,
        "max_running": 3,
        "max_queued": 5,
        "speculation": False,
        "passage_order": "cached",
        "recomputed_passages": 2,
        "kv_ram_bytes": 1,
        "kv_disk_bytes": 2,
        "lora_adapters": {"legal": adapter},
        "context_tokens": 1024,
        "threads": 1,
        "gpu_layers": 0,
    }
    with opened_with(tmp_path, own_models, **fields) as library:
        assert library.generator.info.model == "scripted"
    (asked,) = loads
    assert asked["options"] == EngineOptions(
        kv_tokens=9000,
        max_running=3,
        max_queued=5,
        speculation=False,
        passage_reuse="exact",
        passage_order="cached",
        recomputed_passages=2,
        kv_ram_bytes=1,
        kv_disk_bytes=2,
        snapshot_directory=tmp_path / "home" / "kv",
        adapters={"legal": adapter},
    )
    assert (asked["context_tokens"], asked["threads"], asked["gpu_layers"]) == (1024, 1, 0)
    assert (asked["model_name"], asked["sha256"]) == ("smollm2-135m-instruct", smollm_sha256)


@pytest.mark.parametrize("setting", ["auto", "stitched"])
@pytest.mark.parametrize(
    ("f1", "placed", "said"),
    [(None, "exact", "rag eval gate"), (0.5, "stitched", "gate passed"), (0.1, "exact", "gate failed")],
)
def test_passages_are_stitched_only_where_the_gate_was_passed(
    tmp_path, own_models, smollm_sha256, loads, setting, f1, placed, said
) -> None:
    if f1 is not None:
        recorded(own_models, smollm_sha256, f1=f1)
    with opened_with(tmp_path, own_models, passage_reuse=setting) as library:
        assert library.generator.info.passage_reuse == placed
        assert said in details(library)["passages"]
    assert loads[0]["options"].passage_reuse == placed


def test_a_gguf_given_by_its_path_has_its_own_hash_and_gate(
    tmp_path, own_models, smollm_path, smollm_sha256, loads
) -> None:
    recorded(own_models, smollm_sha256)
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.symlink_to(smollm_path)
    with opened_with(tmp_path, own_models, generator=str(elsewhere)) as library:
        assert library.generator.info.passage_reuse == "stitched"
    assert loads[0]["sha256"] == smollm_sha256
    assert loads[0]["model_name"] == "elsewhere"


def test_a_model_whose_kind_cannot_be_stitched_says_so(tmp_path, own_models, smollm_sha256, monkeypatch) -> None:
    recorded(own_models, smollm_sha256)
    monkeypatch.setattr(
        LlamaGenerator, "load", lambda _path, options, **_: Loaded(options.passage_reuse, can_stitch=False)
    )
    with opened_with(tmp_path, own_models) as library:
        assert details(library)["passages"].startswith("stitched")
        assert library.generator.info.passage_reuse == "exact"
        assert details(library)["passages"] == "exact: the state of this kind of model cannot be stitched"


def test_measuring_the_gate_is_not_bound_by_it(tmp_path, own_models, loads) -> None:
    settings = Settings(_env_file=None, home=tmp_path, models_dir=own_models, generator="smollm2-135m-instruct")
    with open_library(settings, measured_reuse="stitched") as library:
        assert library.generator.info.passage_reuse == "stitched"


def test_what_doctor_says_of_a_loaded_generator(tmp_path, own_models, loads) -> None:
    (tmp_path / "home" / "kv" / "a").mkdir(parents=True)
    (tmp_path / "home" / "kv" / "a" / "state").write_bytes(bytes(3000))
    found = tmp_path / "legal.gguf"
    found.touch()
    fields = {"kv_ram_bytes": 2_000_000, "kv_disk_bytes": 5_000_000, "speculation": False, "threads": 1}
    with opened_with(tmp_path, own_models, lora_adapters={"legal": found}, **fields) as library:
        said = details(library)
        assert "model state" not in said
        assert said["key-value cache"].startswith("8192 cells")
        library.warm_up()
        said = details(library)
    assert said["model state"] == "prefixes, whole"
    assert "up to 2 MB of memory and 5 MB of disk, where 3 kB lie" in said["key-value cache"]
    assert said["speculation"] == "off"
    assert said["adapters"] == "legal"
    assert said["threads"].startswith("1 by RAG_THREADS; affinity and quota allow ")


def test_an_adapter_that_is_not_there_is_a_failed_check(tmp_path, own_models) -> None:
    with opened_with(tmp_path, own_models, lora_adapters={"legal": tmp_path / "gone.gguf"}) as library:
        found = next(found for found in generator_checks(library) if found.name == "adapters")
    assert not found.ok
    assert "legal" in found.detail
    assert "gone.gguf" in found.detail


def test_a_model_that_is_not_there_is_told_in_its_line(tmp_path) -> None:
    with opened_with(tmp_path, tmp_path / "empty") as library:
        found = next(found for found in generator_checks(library) if found.name == "passages")
    assert not found.ok
    assert "rag models pull smollm2-135m-instruct" in found.detail


REMOTE = "http://someone:pa55@127.0.0.1:1/v1?key=pa55"


@pytest.fixture
def connects(monkeypatch) -> list[dict]:
    asked: list[dict] = []

    def connect(base_url: str, **fields) -> Loaded:
        asked.append({"base_url": base_url, **fields})
        return Loaded()

    monkeypatch.setattr(RemoteGenerator, "connect", connect)
    monkeypatch.delenv("RAG_GENERATOR", raising=False)  # the server's name for its model, if it is set
    return asked


def test_a_remote_generator_needs_no_model_here(tmp_path, connects) -> None:
    settings = Settings(_env_file=None, home=tmp_path, models_dir=tmp_path / "empty", generator_url=REMOTE)
    assert Catalog.default_names(settings) == [settings.embedder]
    with open_library(settings) as library:
        assert check(library, "generator").detail == "remote: not loaded yet (http://127.0.0.1:1/v1)"
        assert library.generator.info.model == "scripted"
        assert check(library, "generator").ok
        assert check(library, "generator").detail == "scripted: context 4096, at http://127.0.0.1:1/v1"
        assert set(details(library)) == {"deletions", "model state", "passages"}
        shown = f"{library.readiness()} {generator_checks(library)}"
    assert "pa55" not in shown
    assert "someone" not in shown
    assert connects == [
        {"base_url": REMOTE, "model": None, "api_key": None, "context_tokens": 4096, "timeout_s": 120.0}
    ]


def test_a_remote_generator_gets_name_key_and_timeout(tmp_path, connects, monkeypatch) -> None:
    monkeypatch.setenv("RAG_GENERATOR", "their-model")
    monkeypatch.setenv("RAG_GENERATOR_API_KEY", "s3cret")
    settings = Settings(_env_file=None, home=tmp_path, generator_url=REMOTE, generator_timeout_s=7)
    with open_library(settings) as library:
        assert library.generator.info
        shown = f"{library.readiness()} {generator_checks(library)}"
    assert connects[0]["model"] == "their-model"
    assert connects[0]["api_key"] == "s3cret"
    assert connects[0]["timeout_s"] == 7
    assert "s3cret" not in shown


def test_adapters_of_a_remote_generator_are_refused(tmp_path, connects) -> None:
    settings = Settings(_env_file=None, home=tmp_path, generator_url=REMOTE, lora_adapters={"legal": "/l.gguf"})
    with open_library(settings) as library, pytest.raises(InvalidSettings, match="RAG_LORA_ADAPTERS"):
        _ = library.generator
    assert connects == []


@pytest.mark.parametrize(("name", "error"), [("nope", UnknownModel), ("no/such.gguf", ModelMissing)])
async def test_a_generator_that_there_is_not_is_told_by_questions_that_would_be_refused_without_it(
    tmp_path, name, error
) -> None:
    with open_library(Settings(_env_file=None, home=tmp_path, generator=name)) as library:
        with pytest.raises(error, match=name):
            await library.pipeline.answer("Who?")
        with pytest.raises(UnknownCollection):  # a search needs none
            await library.pipeline.search("Who?")
    remote = Settings(_env_file=None, home=tmp_path, generator=name, generator_url=REMOTE)
    with open_library(remote) as library, pytest.raises(UnknownCollection):  # its models are known there
        await library.pipeline.answer("Who?")


def test_an_address_that_is_none_is_a_setting_to_correct(tmp_path) -> None:
    settings = Settings(_env_file=None, home=tmp_path, generator_url="http://[::1/v1")
    with open_library(settings) as library, pytest.raises(InvalidSettings, match="RAG_GENERATOR_URL"):
        library.readiness()
