"""Docs and tree never drift."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rag
from rag.catalog import Catalog
from rag.catalog.reading import read_catalog
from rag.config import Settings
from rag.stores.scratch import SCRATCH

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def tracked_folders() -> set[str]:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return {f"{parent}/" for name in files if name for parent in Path(name).parents if str(parent) != "."}


def test_the_readme_tree_names_every_folder_with_its_job() -> None:
    tree = re.search(r"<!-- tree -->\n```text\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    rows = [row.split(maxsplit=1) for row in tree.group(1).splitlines()]
    assert all(len(row) == 2 for row in rows), "every row has a job"
    assert {row[0] for row in rows if row[0].endswith("/")} == tracked_folders()
    assert [row[0] for row in rows if not (ROOT / row[0]).exists()] == []


def test_the_command_line_page_is_the_programs_own_help() -> None:
    # In a process of its own: click remembers how a command was last called.
    code = "from docs.make_cli import render; print(render(), end='')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == done.stdout, "run: make docs"


def test_make_runs_every_folder_of_tests() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = re.findall(r"^TESTS(?:_FAULTS)?\s*:= (.*)$", makefile, re.MULTILINE)
    named = [ROOT / folder for variable in variables for folder in variable.split()]
    assert sorted(named) == sorted({path.parent for path in (ROOT / "tests").rglob("test_*.py")})
    assert "make test-all" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_setting_is_told_to_who_runs_it() -> None:
    pages = [page for page in PAGES if page.parent.name != "decisions" and page.name != "lab-log.md"]
    told = "".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"`(RAG_[A-Z0-9_]+)", told))
    settings = {f"RAG_{name}".upper() for name in Settings.model_fields}
    assert settings - named == set()
    assert named - settings == set()


def test_architecture_names_modules_that_there_are() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = {path.stem for package in ("rag", "indexer", "api") for path in (ROOT / package).rglob("*.py")}
    rows = re.findall(r"^\| ((?:`[a-z_/]+`(?:, )?)+) \|", page.partition("## The engine")[2], re.MULTILINE)
    named = {name.rpartition("/")[2] for row in rows for name in re.findall(r"`([a-z_/]+)`", row)} - {""}
    assert len(named) > 20
    assert named - modules == set()
    paths = re.findall(r"`((?:rag|indexer|api)/[a-z_/]*(?:\.py)?)`", page)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_no_placeholder_is_left() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert [name for name, text in texts.items() if "@@" in text or re.search(r"<!-- (response|figures)", text)] == []


def test_the_api_page_lists_every_route() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `([A-Z]+ /\S*)` \|", page, re.MULTILINE))
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    served = {f"{method.upper()} {re.sub('{[^}]+}', '{id}', path)}" for path, of in paths.items() for method in of}
    # The page at / is for people; the description does not describe itself.
    assert table - {"GET /schema"} == served - {"GET /"}


def test_what_a_killed_backup_leaves_is_named_as_it_is() -> None:
    assert f"`{SCRATCH}" in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_worked_example_of_another_model_makes_a_catalog(tmp_path, monkeypatch) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    commands = re.search(r"```sh\n(cd \"\$\{RAG_MODELS_DIR.*?)rag models list", page, re.DOTALL)
    assert commands is not None
    pooling = tmp_path / "my-multilingual" / "1_Pooling" / "config.json"
    pooling.parent.mkdir(parents=True)
    pooling.write_text("{}")
    (tmp_path / "my-multilingual" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("RAG_MODELS_DIR", str(tmp_path))
    subprocess.run(["/bin/sh", "-euc", commands[1]], check=True)
    entry = read_catalog(tmp_path / "models.toml")["my-multilingual"]
    assert (entry.kind, entry.sources) == ("embedder", ())
    assert [(file.path, file.bytes) for file in entry.files] == [("1_Pooling/config.json", 2), ("model.safetensors", 7)]
    assert (
        Catalog.load(Settings(_env_file=None)).resolve("my-multilingual", kind="embedder").path == pooling.parent.parent
    )


def test_the_changelog_names_this_version() -> None:
    assert f"## {rag.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_lead_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]*)#([^)]*)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)] == []
