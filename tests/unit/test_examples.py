"""The example corpus is what its sources say."""

from __future__ import annotations

from pathlib import Path

import pypdfium2
import pytest

from examples.make_pdfs import CORPUS, SOURCES, build

QUESTIONS = CORPUS.parent / "questions.txt"


def text_of(path: Path) -> list[str]:
    document = pypdfium2.PdfDocument(path)
    pages = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    return pages


@pytest.mark.parametrize("source", sorted(SOURCES.glob("*.md")), ids=lambda path: path.stem)
def test_the_pdfs_are_made_from_their_sources(source: Path, tmp_path: Path) -> None:
    built = tmp_path / "built.pdf"
    build(source, built)
    assert text_of(built) == text_of(CORPUS / f"{source.stem}.pdf"), "run: make docs"


def test_the_corpus_has_every_format_and_the_demo_four_questions() -> None:
    assert {path.suffix for path in CORPUS.iterdir()} == {".md", ".txt", ".html", ".pdf"}
    assert len(list(CORPUS.iterdir())) >= 15
    assert len([line for line in QUESTIONS.read_text(encoding="utf-8").splitlines() if line.strip()]) == 4
