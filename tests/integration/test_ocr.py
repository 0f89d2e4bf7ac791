"""Text recognition with the real models, in the child process with its limits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pypdfium2
import pytest

from indexer.parsers.ocr import ocr_installed
from indexer.parsing.isolation import IsolatedParsers
from rag.config import Settings
from tests.unit.heif_picture import HEIF_PICTURE, HEIF_TEXT
from tests.unit.pdf_pages import drawn_pdf, text_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.parsers.blocks import Block

pytestmark = [
    pytest.mark.skipif(not ocr_installed(), reason="the extra ocr is not installed"),
    pytest.mark.timeout(300),
]

WORDS = ("The river rises in the mountains of the north, a wonder-", "ful place, and reaches the sea after 300 miles.")
ROWS = (("Month", "Level", "Flow"), ("March", "312", "48"), ("April", "287", "51"))


def page(canvas) -> None:
    canvas.setFont("Helvetica", 14)
    text_lines(canvas, WORDS, y=640, step=18)
    for index, row in enumerate(ROWS):
        for cell, x in zip(row, (80, 240, 400), strict=True):
            canvas.drawString(x, 540 - 20 * index, cell)


@pytest.fixture(scope="module")
def parsers() -> Iterator[IsolatedParsers]:
    memory = Settings.model_fields["parse_memory_bytes"].default
    with IsolatedParsers(timeout_s=240, memory_bytes=memory) as running:
        yield running


@pytest.fixture(scope="module")
def scan():
    return pypdfium2.PdfDocument(drawn_pdf(page))[0].render(scale=2).to_pil().convert("L")


def blocks(parsers: IsolatedParsers, content: bytes, media_type: str, folder) -> list[Block]:
    path = folder / "scan"
    path.write_bytes(content)
    with path.open("rb") as file:
        found = parsers.parse(file, media_type=media_type, encoding="utf-8", size=len(content))
        return [block for pieces in found for block in pieces.blocks]


def require_all(found: list[Block]) -> None:
    paragraph, table = found
    assert " ".join(paragraph.text.split()) == "".join(WORDS).replace("-", "")
    assert table.text.strip().splitlines() == [" | ".join(row) for row in ROWS]
    assert {block.page for block in found} == {1}


def test_a_picture_of_a_phone_is_read(parsers, tmp_path):
    (found,) = blocks(parsers, HEIF_PICTURE, "image/heif", tmp_path)
    assert found.text == f"{HEIF_TEXT}\n\n"


def test_a_scanned_page_is_read_with_its_table(parsers, scan, tmp_path):
    buffer = io.BytesIO()
    scan.save(buffer, "PNG")
    require_all(blocks(parsers, buffer.getvalue(), "image/png", tmp_path))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_was_scanned_lying_is_read_upright(parsers, scan, tmp_path, degrees):
    buffer = io.BytesIO()
    scan.rotate(degrees, expand=True).save(buffer, "PDF")
    require_all(blocks(parsers, buffer.getvalue(), "application/pdf", tmp_path))
