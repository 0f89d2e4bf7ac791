from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rag.commands.models import models
from rag.commands.pull_display import human_bytes
from rag.errors import ModelMissing, UnknownModel

CONTENT = b"a model of a few bytes"


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAG_MODELS_DIR", str(tmp_path / "m"))
    monkeypatch.setenv("RAG_EMBEDDER", "tiny")
    monkeypatch.setenv("RAG_GENERATOR", "tiny")
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "tiny.bin").write_bytes(CONTENT)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "models.toml").write_text(
        'format = 1\n[models.tiny]\nkind = "embedder"\nlicence = "MIT"\n'
        f'files = [{{ path = "tiny.bin", bytes = {len(CONTENT)}, sha256 = "{hashlib.sha256(CONTENT).hexdigest()}" }}]\n'
        '[[models.tiny.sources]]\nfrom = "file:absent"\n[[models.tiny.sources]]\nfrom = "file:../share"\n'
    )
    return folder


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(models, list(arguments))


def test_list_shows_what_is_there(share: Path, tmp_path: Path) -> None:
    listed = json.loads(_run("list", "--json").stdout)["models"]
    assert {model["name"]: model["state"] for model in listed}["tiny"] == "missing"
    assert [model["name"] for model in listed if model["configured"]] == ["tiny"]
    _run("pull")
    line = next(line for line in _run("list").stdout.splitlines() if "tiny" in line)
    assert line.split() == ["*", "tiny", "embedder", "22", "B", "MIT", "present"]


def test_pull_fetches_the_configured_models_and_says_which_source_failed(share: Path, tmp_path: Path) -> None:
    result = _run("pull")
    assert result.exit_code == 0
    assert result.stdout == f"tiny: {tmp_path / 'm' / 'tiny'}\n" * 2
    assert "absent failed" in result.stderr
    assert (tmp_path / "m" / "tiny" / "tiny.bin").read_bytes() == CONTENT


def test_pull_prints_json_lines(share: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in _run("pull", "tiny", "--json").stdout.splitlines()]
    assert [line["type"] for line in lines if line["type"] != "verifying"] == [
        "source",
        "failed",
        "source",
        "downloading",
        "placed",
        "ready",
    ]
    assert lines[-1] == {
        "type": "ready",
        "model": "tiny",
        "path": str(tmp_path / "m" / "tiny"),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }


def test_verify_reads_everything_and_fails_for_what_is_wrong(share: Path, tmp_path: Path) -> None:
    _run("pull")
    assert _run("verify").exit_code == 0
    (tmp_path / "m" / "tiny" / "tiny.bin").write_bytes(CONTENT[:-1])
    result = _run("verify", "tiny", "smollm2-135m-instruct", "--json")
    assert result.exit_code == 1
    states = [(model["name"], model["state"]) for model in json.loads(result.stdout)["models"]]
    assert states == [("tiny", "model_corrupt"), ("smollm2-135m-instruct", "model_missing")]


def test_path_prints_only_the_path(share: Path, tmp_path: Path) -> None:
    assert isinstance(_run("path", "tiny").exception, ModelMissing)
    _run("pull")
    assert _run("path", "tiny").stdout == f"{tmp_path / 'm' / 'tiny'}\n"


def test_an_unknown_model_is_an_error(share: Path) -> None:
    assert isinstance(_run("pull", "tinny").exception, UnknownModel)
    assert _run("pull", "--nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (98362432, "98 MB"), (1117320768, "1.1 GB"), (5 * 10**12, "5000.0 GB")],
)
def test_sizes_are_readable(count: int, text: str) -> None:
    assert human_bytes(count) == text
