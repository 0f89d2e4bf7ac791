"""Small domain values for tests of logic."""

from __future__ import annotations

from rag.types import Chunk, Document, Passage, Scores, Span


def make_passage(
    text: str,
    *,
    id: int = 1,
    title: str = "Handbook",
    heading: tuple[str, ...] = (),
    start: int = 0,
    dense: float = 0.5,
) -> Passage:
    document = Document(
        id=id,
        collection="default",
        uri=f"/docs/{title}.md",
        title=title,
        media_type="text/markdown",
        sha256="0" * 64,
        size=len(text),
        chunk_count=1,
        updated_at="2026-01-01T00:00:00Z",
    )
    chunk = Chunk(
        id=id,
        document_id=id,
        ordinal=0,
        text=text,
        span=Span(start=start, end=start + len(text)),
        page=None,
        heading_path=heading,
        token_count=len(text.split()),
    )
    return Passage(chunk=chunk, document=document, scores=Scores(dense=dense, fused=dense))
