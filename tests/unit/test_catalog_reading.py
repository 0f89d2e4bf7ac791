from __future__ import annotations

from pathlib import Path

import pytest

from rag.catalog import Catalog
from rag.catalog.entries import Location
from rag.catalog.reading import read_catalog
from rag.config import Settings
from rag.errors import InvalidSettings

SHA = "0" * 64


def _read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    read_catalog(path)


def _model(*, file: str = "a.gguf", bytes_: str = "1", sha: str = SHA, kind: str = "generator", rest: str = "") -> str:
    return (
        f'format = 1\n[models.m]\nkind = "{kind}"\nlicence = "MIT"\n'
        f'files = [{{ path = "{file}", bytes = {bytes_}, sha256 = "{sha}" }}]\n{rest}'
    )


def test_the_shipped_catalog_has_the_models_of_the_design() -> None:
    catalog = Catalog.load(Settings(models_dir=Path("/nowhere")))
    assert {entry.name: (entry.kind, entry.bytes) for entry in catalog.entries} == {
        "smollm2-135m-instruct": ("generator", 98362432),
        "qwen2.5-coder-1.5b-instruct": ("generator", 1117320768),
        "qwen2.5-coder-0.5b-instruct": ("generator", 491400064),
        "all-minilm-l6-v2": ("embedder", 91567913),
    }


def test_shipped_models_are_pinned_and_come_from_the_hub_or_a_package_index() -> None:
    for entry in Catalog.load(Settings(models_dir=Path("/nowhere"))).entries:
        assert entry.licence == "Apache-2.0"
        schemes = [next(iter(source.pieces.values()))[0].location for source in entry.sources]
        assert [location.scheme for location in schemes] == ["hf", "pypi"]
        assert len(schemes[0].target.partition("@")[2]) == 40
        for source in entry.sources:
            for file in entry.files:
                pieces = source.pieces[file.path]
                assert sum(piece.bytes for piece in pieces) == file.bytes
                assert all(piece.sha256 for piece in pieces)


def test_the_configured_models_are_in_the_shipped_catalog() -> None:
    settings = Settings(models_dir=Path("/nowhere"))
    catalog = Catalog.load(settings)
    assert [catalog.entry(name).kind for name in catalog.default_names(settings)] == ["embedder", "generator"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "format"),
        ("format = 2", "format 2"),
        ("format = ", "cannot be read"),
        (_model(kind="oracle"), "kind is 'oracle'"),
        (_model(file="../a"), "inside a model's folder"),
        (_model(file="/etc/passwd"), "inside a model's folder"),
        (_model(file=".hidden"), "inside a model's folder"),
        (_model(bytes_="0"), "bytes is 0"),
        (_model(bytes_='"1"'), "bytes is '1'"),
        (_model(sha="abc"), "sha256"),
        ('format = 1\n[models.m]\nkind = "generator"\nlicence = "MIT"\nfiles = []', "files must be given"),
        ('format = 1\n[models.m]\nkind = "generator"\nlicence = "MIT"', "lacks 'files'"),
        (_model().replace("models.m", 'models."../m"'), "not a model name"),
        (_model(rest='[[models.m.sources]]\nfrom = "ftp://host/x"'), "not a source"),
        (_model(rest='[[models.m.sources]]\nfrom = "http://host/x"'), "loopback"),
        (_model(rest='[[models.m.sources]]\nfrom = "hf:owner/repo"'), "not a source"),
        (_model(rest='[[models.m.sources]]\nfrom = "pypi:name"'), "not a source"),
        (_model(rest='[[models.m.sources]]\nfrom = "pypi:--index-url==1"'), "not a source"),
        (_model(rest='[[models.m.sources]]\nfrom = "file:x"\nfolder = "../"'), "inside a model's folder"),
        (_model(rest='[[models.m.sources]]\nparts = [{ from = "file:x", name = "p", bytes = 7 }]'), "7 bytes together"),
        (_model(rest="[[models.m.sources]]\nparts = []"), "0 bytes together"),
        (_model(rest="[[models.m.sources]]\nparts = 3"), "model 'm'"),
        ("format = 1\nmodels = 3", "models"),
        ("format = 1\n[models]\nm = 3", "model 'm'"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidSettings, match=complaint) as caught:
        _read(tmp_path, text)
    assert "models.toml" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "hf:owner/repo.v1@main",
        "hf:owner/repo@refs/pr/3",
        "pypi:some-name==1.0.post1",
        "https://host/folder",
        "http://127.0.0.1:8080/x",
        "http://localhost/x",
        "http://[::1]:80/x",
        "file:/mnt/models",
    ],
)
def test_locations_are_written_as_they_are_read(text: str) -> None:
    assert str(Location.parse(text)) == text


@pytest.mark.parametrize("text", ["http://127.0.0.1.example.org/", "http://localhost.example.org", "hf:a/../b@main"])
def test_look_alikes_are_no_locations(text: str) -> None:
    with pytest.raises(ValueError, match=r"loopback|not a source"):
        Location.parse(text)
