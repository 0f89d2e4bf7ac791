"""A PDF of 50,000 pages is read in memory that does not grow with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

from indexer.parsing.isolation import IsolatedParsers
from rag.config import Settings
from tests.unit.pdf_pages import long_pdf

if TYPE_CHECKING:
    from pathlib import Path

PAGES = 50_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_thousand_pages_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    with path.open("wb") as file:
        file.writelines(long_pdf(PAGES, lines=10))
    memory = Settings.model_fields["parse_memory_bytes"].default
    reached: dict[int, int] = {}
    with IsolatedParsers(timeout_s=120, memory_bytes=memory) as parsers, path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for pieces in parsers.parse(file, media_type="application/pdf", encoding="utf-8", size=size):
            (child,) = psutil.Process(parsers._child._process.pid).children()
            for block in pieces.blocks:
                reached[block.page or 0] = child.memory_info().rss if not (block.page or 0) % 500 else 0
    assert max(reached) == PAGES
    assert len(reached) == PAGES
    resident = [size for page, size in sorted(reached.items()) if size and page > 1000]
    assert max(resident) - min(resident) < 32 << 20
