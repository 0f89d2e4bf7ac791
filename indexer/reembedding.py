"""Embedding a live collection anew: a second set of embeddings grows beside the one that serves, and takes its place.

With another chunker it comes with the documents in other chunks, which change places with those that serve.

Documents come and go meanwhile. A run that ends before the swap, however it ends, is taken up by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from indexer.chunking.chunker import CHUNKER_VERSION
from indexer.chunking.sizes import version_in
from indexer.embeddings import Texts, encoded_anew
from indexer.recutting import recut
from indexer.sample_queries import SampleQueries
from rag.embedding.context import contextual_text
from rag.errors import Conflict, DatabaseDamaged, EmbedderChanged
from rag.stores.embeddings import cuts, embedding_sets, reembedding
from rag.stores.index import recall
from rag.stores.tables import SetState
from rag.stores.writing import recutting

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from rag.factory import Library
    from rag.protocols import Embedder
    from rag.stores.embeddings.embedding_set import EmbeddingSet
    from rag.stores.embeddings.reembedding import NextIndex
    from rag.types import Collection

# Enough for the embedder to sort by length; so much a killed run has to do again.
_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What was measured before the swap. ``found`` is the share of sample queries whose own passage was among the
    first ``k`` in the new embeddings, ``found_before`` in those that served; ``None`` where it was not measured.
    """

    chunks: int
    index: str
    recall_at_10: float
    queries: int
    k: int
    found: float | None
    found_before: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedReport:
    """``embedded`` chunks got vectors, ``reused`` of them stored ones, and ``recut`` documents were cut by this run;
    ``too_long`` chunks of all are longer than the embedder reads. ``without_outline`` documents keep their chunks: what
    a chunker needs is not stored.
    """

    outcome: Literal["swapped", "stopped"]
    embedded: int
    reused: int
    recut: int
    without_outline: int
    too_long: int
    validation: Validation | None


class Watcher:
    """Follows a run; every method may be overridden. ``stop`` is asked between batches."""

    def progress(self, done: int, total: int) -> None:
        """So many of so many chunks have a vector, those of past versions included."""

    def recut(self, done: int, total: int) -> None:
        """So many of so many documents are in the chunks asked for, or need no other ones."""

    def step(self, name: str) -> None:
        """Something longer begins: building the index, or asking the sample queries."""

    def validated(self, validation: Validation) -> None:
        """Measured, and about to be swapped in or refused; again of an index that was made anew before the swap."""

    def stop(self) -> bool:
        return False


class _Stopped(Exception):  # nothing went wrong: what was done is kept
    """The watcher asked to stop."""


class Reembedding:
    """One run on one set. The caller holds the collection's ``ReembeddingLock``."""

    def __init__(
        self,
        library: Library,
        collection: Collection,
        target: EmbeddingSet,
        *,
        embedder: Callable[[], Embedder],
        watcher: Watcher | None = None,
    ) -> None:
        """``embedder`` is the target's; it is asked when something has to be embedded."""
        self._library = library
        self._database = library.database
        self._indexes = library.index_directory
        self._collection = collection
        self._target = target
        self._embedder = embedder
        self._watcher = watcher or Watcher()
        self._embedded = self._reused = self._recut = self._without_outline = 0
        # Going back to what another release has cut: documents that came since keep their chunks.
        self._cutting = target.chunker is not None and version_in(target.chunker) == CHUNKER_VERSION

    def run(self, *, sampled: bool = True, force: bool = False) -> ReembedReport:
        """Embed what is missing, build the index, validate, swap. ``force`` swaps whatever was measured.

        ``sampled`` asks sample queries of both sets; going back to a set that has served before needs none.

        Raises:
            Conflict: what was measured is too bad, or the set was cancelled by another process.
            StorageError, ModelError: the run cannot go on; what was embedded is kept.
        """
        validation = None
        try:
            reembedding.remove_unfinished(self._indexes, self._collection)
            recutting.remove_unfinished(self._database, self._collection)
            outcome = reembedding.Swap.INDEX_STALE
            while outcome is not reembedding.Swap.DONE:
                if outcome is reembedding.Swap.INDEX_STALE:
                    index = self._build()
                    validation = self._accepted(index, sampled=sampled, force=force)
                outcome = self._swap(index)
        except _Stopped:
            return self._report("stopped", validation)
        finally:
            reembedding.remove_unfinished(self._indexes, self._collection)
        fingerprint = self._collection.fingerprint
        same = (fingerprint.embedder, fingerprint.dimension) == (self._target.embedder, self._target.dimension)
        if same and self._target.chunker is None:
            # Made anew because they were damaged: nobody could go back to them.
            embedding_sets.drop(self._database, self._collection, SetState.PREVIOUS)
        embedding_sets.delete_dropped(self._database, self._collection)
        return self._report("swapped", validation)

    def _build(self) -> NextIndex:
        """The index of the set, once that has every chunk."""
        while True:
            self._complete()
            self._watcher.step("building the index")
            index = reembedding.build_index(self._database, self._indexes, self._collection, self._target)
            if index is not None:
                return index

    def _complete(self) -> int:
        """Embed until nothing is missing; returns the seq at which nothing was."""
        arguments = (self._database, self._collection, self._target)
        while (seq := reembedding.complete_at(*arguments, cutting=self._cutting)) is None:
            if self._cutting:
                self._cut_anew()
            self._embed_missing()
        return seq

    def _cut_anew(self) -> None:
        with self._database.read() as connection:
            self._without_outline = connection.scalars(cuts.count_without_outline(self._target)).one()
            waiting = connection.scalars(cuts.count_uncut(self._target)).one()
        if not waiting:
            return
        watcher = self._watcher
        written = recut(self._library, self._target, self._embedder(), progress=watcher.recut, go_on=self._go_on)
        for batch in written:
            self._recut += batch.finished
            self._embedded += batch.chunks
            self._reused += batch.reused

    def _embed_missing(self) -> None:
        with self._database.read() as connection:
            done, total = embedding_sets.progress(connection, self._target)
        if done == total:
            return
        embedder = self._embedder()
        inputs = self._library.store.embedding_inputs(self._collection, lacking=self._target)
        self._watcher.progress(done, total)
        while batch := list(islice(inputs, _BATCH)):
            self._go_on()
            texts = [contextual_text(item.title, item.heading_path, item.text) for item in batch]
            too_long = sum(count > embedder.max_tokens for count in embedder.count_tokens(texts))
            values = encoded_anew(self._vectors(texts, embedder), embedder, self._collection.name)
            ids = [item.chunk_id for item in batch]
            written = embedding_sets.add(self._database, self._target, ids, values, too_long=too_long)
            self._embedded += written
            done += written
            self._watcher.progress(min(done, total), total)

    def _vectors(self, texts: list[str], embedder: Embedder) -> NDArray[np.float32]:
        """What is stored by the embedder and whole is taken where the set comes with other chunks, or is to mend one
        that serves; another embedder's makes all anew.
        """
        if self._target.chunker is None and self._target.embedder != self._collection.fingerprint.embedder:
            return embedder.embed_passages(texts)
        known = Texts(texts, store=self._library.store, embedder=embedder)
        vectors = known.embed().vectors
        self._reused += known.reused
        return vectors

    def _accepted(self, index: NextIndex, *, sampled: bool, force: bool) -> Validation:
        """What was measured of the index that is to be swapped in. Raises Conflict unless it will do."""
        validation = self._validate(index, sampled=sampled)
        self._watcher.validated(validation)
        if validation.problems and not force:
            raise self._refusal(validation)
        return validation

    def _validate(self, index: NextIndex, *, sampled: bool) -> Validation:
        self._go_on()
        manifest = index.generation.manifest
        problems = []
        if manifest.recall_at_10 < recall.LEAST:
            problems.append(f"the index finds {manifest.recall_at_10:.3f} of the nearest neighbours")
        queries, k, found, before = 0, 0, None, None
        if sampled and manifest.count:
            self._watcher.step("asking sample queries")
            samples = SampleQueries(self._library, self._collection, self._target, index.generation.base.ids)
            queries, k = len(samples), samples.k
            found = samples.found_in(index, self._target, self._embedder(), go_on=self._go_on)
            before = self._found_before(samples)
            problem = samples.problem(found, before)
            problems += [problem] if problem else []
        return Validation(
            chunks=manifest.count,
            index=manifest.kind,
            recall_at_10=manifest.recall_at_10,
            queries=queries,
            k=k,
            found=found,
            found_before=before,
            problems=tuple(problems),
        )

    def _found_before(self, samples: SampleQueries) -> float | None:
        """The share found in the set that serves; ``None`` if its embedder is not there any more, or it is damaged."""
        try:
            embedder = self._library.embedder_of(self._collection)
            with self._database.read() as connection:
                live = embedding_sets.find(connection, self._collection, SetState.LIVE)
            return None if live is None else samples.found_live(live, embedder, go_on=self._go_on)
        except (EmbedderChanged, DatabaseDamaged):
            return None

    def _swap(self, index: NextIndex) -> reembedding.Swap:
        self._go_on()
        seen = self._complete()
        return reembedding.swap(self._database, self._indexes, self._collection, self._target, index, seen=seen)

    def _go_on(self) -> None:
        if self._watcher.stop():
            raise _Stopped

    def _refusal(self, validation: Validation) -> Conflict:
        name = self._collection.name
        return Conflict(
            f"The new embeddings of {name!r} were not swapped in: {'; '.join(validation.problems)}.",
            hint="Those that were serving go on serving. Swap all the same with --force, or drop the new ones: "
            f"indexer reembed --collection {name} --cancel",
        )

    def _report(self, outcome: Literal["swapped", "stopped"], validation: Validation | None) -> ReembedReport:
        with self._database.read() as connection:
            state = SetState.LIVE if outcome == "swapped" else self._target.state
            now = embedding_sets.find(connection, self._collection, state)
        return ReembedReport(
            outcome=outcome,
            embedded=self._embedded,
            reused=self._reused,
            recut=self._recut,
            without_outline=self._without_outline,
            too_long=now.too_long if now else 0,
            validation=validation,
        )
