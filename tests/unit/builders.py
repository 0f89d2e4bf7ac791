"""Small domain values for tests of logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.types import Chunk, Collection, Document, Fingerprint, Passage, Scores, Span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rag.types import Filter
    from rag.version_types import Stretch


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


class OneCollection:
    """A store of which only the collection is asked for."""

    def collection(self, name: str) -> Collection:
        fingerprint = Fingerprint(parser="p", chunker="c", embedder="e", dimension=2)
        return Collection(id=1, name=name, fingerprint=fingerprint, seq=1)

    def hydrate(self, collection: Collection, chunk_ids: Sequence[int], *, as_of: datetime | None = None) -> list:
        raise AssertionError("a scripted retriever hydrates nothing")

    def neighbours(
        self,
        collection: Collection,
        chunk_ids: Sequence[int],
        reach: int,
        *,
        where: Filter | None = None,
        as_of: datetime | None = None,
    ) -> list[Stretch]:
        raise AssertionError("passages are not widened")
