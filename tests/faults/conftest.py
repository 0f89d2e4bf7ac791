"""What tests of a disk that fills up, and of processes that die at a write, begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.disk_cases import CASES, PAGE, Attempt
from tests.faults.full_disk import full_disk
from tests.integration.web_server import Site, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.full_disk import FullDisk


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[FullDisk]:
    with full_disk(tmp_path_factory.mktemp("scratch")) as disk:
        yield disk


@pytest.fixture(scope="module")
def folder(tmp_path_factory, disk) -> Path:
    """Documents, a data directory with an index of them, and what was backed up and exported."""
    folder = tmp_path_factory.mktemp("folder")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Rivers\n\nWater runs down.\n\n## Speed\n\nIt is slow in the plain.\n")
    (docs / "b.txt").write_text("LAKES\n\nWater stands.\n")
    (docs / "long.txt").write_text("\n\n".join(f"Line {n} of water. " * 60 for n in range(30)))
    for command in (
        ("indexer", "ingest", "docs"),
        ("indexer", "rebuild"),  # so small a collection has an index file only if it is asked for
        ("rag", "backup", "kept.zip"),
        ("indexer", "export", "kept.jsonl"),
        ("indexer", "export", "kept.parquet"),
    ):
        assert disk.run(folder, *command, "--json").status == 0
    return folder


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(Site()) as running:
        running.page(PAGE, "Brooks. Water babbles.")
        yield running.base


@pytest.fixture(params=CASES)
def attempt(request, folder, disk, site, tmp_path) -> Iterator[Attempt]:
    attempt = Attempt(CASES[request.param], folder, disk, tmp_path, site)
    yield attempt
    attempt.restart("untouched")
