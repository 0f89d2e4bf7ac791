"""LlamaIndex and Haystack for ``benchmarks.ingest_peers``: ingests a folder, or prints the passages it stored.

Runs by itself in the peers' environment. Each pipeline is the one of its project's own guide to indexing a folder, with
the settings it comes with; ``--fitted`` changes how it splits, for a side that says so, so that the embedder reads all.
"""

from __future__ import annotations

import argparse
import json
import sys
from abc import ABC, abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_QUESTION = "What is this about?"
# What an embedder of 256 tokens reads whole but of few texts, such as columns of numbers.
_FITTED_TOKENS = 200  # of LlamaIndex's tokenizer, which makes fewer than the embedder's does
_FITTED_CHARACTERS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("llama_index", "haystack"))
    parser.add_argument("step", choices=("ingest", "passages"))
    parser.add_argument("files", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("embedder", type=Path)
    parser.add_argument("--fitted", action="store_true", help="passages that the embedder reads whole")
    parser.add_argument("--each", action="store_true", help="one file after the other, past those that fail")
    options = parser.parse_args()
    library = (LlamaIndex if options.library == "llama_index" else Haystack)(options.store, options.embedder)
    if options.step == "ingest":
        library.ingest(sorted(options.files.iterdir()), fitted=options.fitted, each=options.each)
    else:
        for name, text in library.passages():
            print(json.dumps({"file": name, "text": text}))


class Library(ABC):
    """A peer with a store in a folder of its own."""

    def __init__(self, store: Path, embedder: Path) -> None:
        self.store, self.embedder = store, str(embedder)

    def ingest(self, files: Sequence[Path], *, fitted: bool, each: bool) -> None:
        """Read, split, embed and save. Without ``each`` what the peer raises ends the run."""
        self.open(fitted=fitted)
        if each:
            for file in files:
                try:
                    self.add([file])
                except Exception as error:  # noqa: BLE001 - what a user writes who wants the other files
                    print(f"{file.name}: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            self.add(files)
        self.save()

    @abstractmethod
    def open(self, *, fitted: bool) -> None: ...

    @abstractmethod
    def add(self, files: Sequence[Path]) -> None: ...

    @abstractmethod
    def save(self) -> None: ...

    @abstractmethod
    def passages(self) -> Iterator[tuple[str, str]]:
        """Names of files with the text of a passage, from a store that was loaded and searched."""


class LlamaIndex(Library):
    """SimpleDirectoryReader, SentenceSplitter, HuggingFaceEmbedding and the default store."""

    def open(self, *, fitted: bool) -> None:
        from llama_index.core.node_parser import SentenceSplitter

        # An overlap of a fifth, as the default of 200 of 1,024 is.
        sizes = {"chunk_size": _FITTED_TOKENS, "chunk_overlap": _FITTED_TOKENS // 5} if fitted else {}
        self.splitter: Any = SentenceSplitter(**sizes)
        self.documents: list[Any] = []

    def add(self, files: Sequence[Path]) -> None:
        from llama_index.core import SimpleDirectoryReader

        self.documents.extend(SimpleDirectoryReader(input_files=files).load_data())

    def save(self) -> None:
        from llama_index.core import VectorStoreIndex

        index = VectorStoreIndex.from_documents(
            self.documents, embed_model=self._embedding(), transformations=[self.splitter]
        )
        index.storage_context.persist(persist_dir=str(self.store))

    def passages(self) -> Iterator[tuple[str, str]]:
        from llama_index.core import StorageContext, load_index_from_storage

        context = StorageContext.from_defaults(persist_dir=str(self.store))
        index = load_index_from_storage(context, embed_model=self._embedding())
        if not index.as_retriever().retrieve(_QUESTION):
            raise SystemExit("LlamaIndex finds nothing in what it stored")
        for node in index.docstore.docs.values():
            yield node.metadata["file_name"], node.get_content()

    def _embedding(self) -> Any:  # noqa: ANN401 - of a library that is not here
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        return HuggingFaceEmbedding(model_name=self.embedder)


class Haystack(Library):
    """MultiFileConverter, DocumentCleaner, DocumentSplitter, sentence-transformers and the store in memory."""

    def open(self, *, fitted: bool) -> None:
        from haystack import Pipeline
        from haystack.components.converters import MultiFileConverter
        from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter, RecursiveDocumentSplitter
        from haystack.components.writers import DocumentWriter
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
        )

        # Its splitter of words leaves a row of many columns whole, so another counts characters. What tells sentences
        # apart that one would download.
        splitter = (
            RecursiveDocumentSplitter(
                split_length=_FITTED_CHARACTERS, split_unit="char", separators=["\n\n", "\n", " "]
            )
            if fitted
            else DocumentSplitter()
        )
        self.documents: Any = InMemoryDocumentStore(embedding_similarity_function="cosine")
        self.pipeline: Any = Pipeline()
        parts = {
            "converter": MultiFileConverter(),
            "cleaner": DocumentCleaner(),
            "splitter": splitter,
            "embedder": SentenceTransformersDocumentEmbedder(model=self.embedder),
            "writer": DocumentWriter(document_store=self.documents),
        }
        for name, part in parts.items():
            self.pipeline.add_component(name, part)
        for before, after in pairwise(parts):
            self.pipeline.connect(before, after)

    def add(self, files: Sequence[Path]) -> None:
        self.pipeline.run({"converter": {"sources": list(files)}})

    def save(self) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        self.documents.save_to_disk(str(self.store / "store.json"))

    def passages(self) -> Iterator[tuple[str, str]]:
        from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore
        from haystack_integrations.components.embedders.sentence_transformers import SentenceTransformersTextEmbedder

        documents = InMemoryDocumentStore.load_from_disk(str(self.store / "store.json"))
        embedder = SentenceTransformersTextEmbedder(model=self.embedder)
        embedder.warm_up()
        question = embedder.run(text=_QUESTION)["embedding"]
        if not InMemoryEmbeddingRetriever(document_store=documents).run(query_embedding=question)["documents"]:
            raise SystemExit("Haystack finds nothing in what it stored")
        for document in documents.filter_documents():
            yield Path(document.meta["file_path"]).name, document.content or ""


if __name__ == "__main__":
    main()
