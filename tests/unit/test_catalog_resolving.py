from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.config import Settings
from rag.errors import InvalidSettings, ModelCorrupt, ModelMissing, UnknownModel
from tests.unit.gguf_file import tiny_gguf

CATALOG = """format = 1
[models.big]
kind = "generator"
licence = "MIT"
files = [{{ path = "big.gguf", bytes = 4, sha256 = "{big}" }}]
[models.vectors]
kind = "embedder"
licence = "MIT"
files = [
    {{ path = "weights.bin", bytes = 4, sha256 = "{big}" }},
    {{ path = "sub/config.json", bytes = 2, sha256 = "{config}" }},
]
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    for name, content in {
        "big/big.gguf": b"1234",
        "vectors/weights.bin": b"1234",
        "vectors/sub/config.json": b"{}",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "models.toml").write_text(
        CATALOG.format(big=hashlib.sha256(b"1234").hexdigest(), config=hashlib.sha256(b"{}").hexdigest())
    )
    return Catalog.load(Settings(models_dir=tmp_path))


def test_a_generator_is_a_file_and_an_embedder_a_folder(catalog: Catalog, tmp_path: Path) -> None:
    generator, embedder = catalog.resolve("big"), catalog.resolve("vectors")
    assert generator.path == tmp_path / "big" / "big.gguf"
    assert generator.sha256 == hashlib.sha256(b"1234").hexdigest()
    assert embedder.path == tmp_path / "vectors"
    assert embedder.sha256 not in (generator.sha256, "")


def test_an_unknown_name_gets_the_closest_and_all(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel, match="Did you mean vectors") as caught:
        catalog.entry("vector")
    assert "all-minilm-l6-v2" in caught.value.hint


def test_a_missing_file_is_named_with_the_command_that_fetches_it(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "vectors" / "sub" / "config.json").unlink()
    with pytest.raises(ModelMissing, match=r"sub/config\.json") as caught:
        catalog.resolve("vectors")
    assert "rag models pull vectors" in caught.value.hint
    assert catalog.state("vectors") == "missing"


def test_a_model_is_hashed_once_until_it_changes(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "big" / "big.gguf"
    catalog.resolve("big")
    times = path.stat()
    path.write_bytes(b"1239")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    catalog.resolve("big")  # same size and time: believed
    with pytest.raises(ModelCorrupt, match="sha256"):
        catalog.verify("big")
    with pytest.raises(ModelCorrupt, match="sha256"):
        catalog.resolve("big")


def test_a_changed_file_is_hashed_again_without_being_asked(catalog: Catalog, tmp_path: Path) -> None:
    catalog.resolve("big")
    path = tmp_path / "big" / "big.gguf"
    path.write_bytes(b"1239")
    os.utime(path, ns=(0, 1))
    with pytest.raises(ModelCorrupt):
        catalog.resolve("big")
    assert catalog.state("big") == "corrupt"


def test_a_torn_memory_of_hashes_is_rebuilt(catalog: Catalog, tmp_path: Path) -> None:
    catalog.resolve("big")
    for record in (tmp_path / ".verified").iterdir():
        record.write_text('{"size": 4, "mti')
    assert catalog.resolve("big").path.exists()
    assert all(record.read_text().endswith("}") for record in (tmp_path / ".verified").iterdir())


def test_the_memory_survives_a_move_of_the_models(catalog: Catalog, tmp_path: Path) -> None:
    catalog.resolve("big")
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    again = Catalog.load(Settings(models_dir=moved))
    path = moved / "big" / "big.gguf"
    times = path.stat()
    path.write_bytes(b"1239")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again.resolve("big")


def test_a_path_of_a_gguf_file_serves_as_generator(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(tiny_gguf())
    model = catalog.resolve(str(path), kind="generator")
    assert (model.name, model.path) == ("own", path)
    assert model.sha256 == hashlib.sha256(tiny_gguf()).hexdigest()


def test_a_path_that_is_no_gguf_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        catalog.resolve(str(tmp_path / "absent.gguf"))
    with pytest.raises(ModelCorrupt, match="not a GGUF"):
        catalog.resolve(str(tmp_path / "models.toml"))


def test_a_model_of_another_kind_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="of kind embedder"):
        catalog.resolve("vectors", kind="generator")
    with pytest.raises(InvalidSettings, match="only a generator"):
        catalog.resolve(str(tmp_path / "x.gguf"), kind="embedder")


def test_user_entries_replace_shipped_ones(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"1").hexdigest()
    (tmp_path / "models.toml").write_text(
        'format = 1\n[models.all-minilm-l6-v2]\nkind = "embedder"\nlicence = "MIT"\n'
        f'files = [{{ path = "w", bytes = 1, sha256 = "{digest}" }}]\n'
    )
    assert Catalog.load(Settings(models_dir=tmp_path)).entry("all-minilm-l6-v2").bytes == 1
