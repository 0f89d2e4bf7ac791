"""The composition root: settings to adapters to pipeline. The only module that names adapters, beside
``rag.generators``, which makes the language model.

Opening a library is cheap (a database connection); models load when they are first needed, each once.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self

from rag.embedders import CollectionEmbedders
from rag.errors import Conflict, UnknownCollection
from rag.generators import GeneratorSource
from rag.job_types import JobState
from rag.once import Once
from rag.pipeline import PipelineOptions, RagPipeline
from rag.readiness import Check, collection_check, database_check, generator_check, inspection_check, model_check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rag.catalog import Catalog
    from rag.config import Settings
    from rag.embedding.bi_encoder import BiEncoder
    from rag.erasure import DeletionFollower, ErasureReport
    from rag.job_types import Job
    from rag.model_types import PassageReuse
    from rag.protocols import Embedder, Generator
    from rag.retrieval.retriever import Retriever
    from rag.stores.compaction import Compaction
    from rag.stores.documents import SqlDocumentStore
    from rag.stores.full_text.lexical import FtsIndex
    from rag.stores.jobs.blobs import Blobs
    from rag.stores.jobs.queue import JobQueue
    from rag.stores.live_vectors import LiveVectors
    from rag.stores.removal.expiry import Expiry
    from rag.stores.removal.purge import Places
    from rag.stores.sqlite.database import Database
    from rag.stores.verification.inspection import Inspected, Inspection
    from rag.stores.versions.history import History
    from rag.types import Collection
    from rag.version_types import Dropped, Searched


class Library:
    """Everything a program needs, opened over one data directory."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        measured_reuse: PassageReuse | None = None,
        embeds_apart: bool = False,
    ) -> None:
        self.settings = settings
        self.database = database
        self.generator_source = GeneratorSource(settings, lambda: self.catalog, measured_reuse=measured_reuse)
        self._embeds_apart = embeds_apart
        self._opened_embedders: list[BiEncoder] = []
        self._embedder = Once(self._load_embedder)
        self._embedders = CollectionEmbedders(configured=self._embedder, open_named=self._open_embedder)
        self._follower: DeletionFollower | None = None
        self._generator = Once(self._open_generator)
        self._retriever = Once(self._make_retriever)
        self._vectors = Once(self._open_vectors)
        self._maintenance: tuple[Compaction | Expiry | Inspection, ...] = ()
        self._inspection: Inspection | None = None

    @cached_property
    def catalog(self) -> Catalog:
        from rag.catalog import Catalog

        return Catalog.load(self.settings)

    @cached_property
    def store(self) -> SqlDocumentStore:
        from rag.stores.documents import SqlDocumentStore

        # Of new collections; those that are there have their own.
        return SqlDocumentStore(self.database, retention=timedelta(days=self.settings.retention_days))

    @cached_property
    def history(self) -> History:
        from rag.stores.versions.history import History

        return History(self.database)

    @cached_property
    def jobs(self) -> JobQueue:
        from rag.stores.jobs.queue import JobQueue

        return JobQueue(self.database)

    @cached_property
    def blobs(self) -> Blobs:
        from rag.stores.jobs.blobs import Blobs

        return Blobs(self.settings.home / "blobs")

    @cached_property
    def lexical(self) -> FtsIndex:
        from rag.stores.full_text.lexical import FtsIndex

        return FtsIndex(self.database)

    @property
    def index_directory(self) -> Path:
        return self.settings.home / "indexes"

    @property
    def vectors(self) -> LiveVectors:
        return self._vectors()

    @property
    def embedder(self) -> Embedder:
        """The configured one, which new collections are embedded with."""
        return self._embedder()

    def embedder_of(self, collection: Collection) -> Embedder:
        """The one that made the collection's embeddings, whatever is configured.

        Raises:
            EmbedderChanged: the catalog does not have it, or it cannot be loaded.
        """
        return self._embedders.of(collection)

    def embedder_for(self, collection: str) -> Embedder:
        """The one to take documents into a collection with: its own, or the configured one if it is empty."""
        try:
            found = self.store.collection(collection)
            return self.embedder if self.store.is_empty(found) else self.embedder_of(found)
        except UnknownCollection:
            return self.embedder

    @property
    def generator(self) -> Generator:
        return self._generator()

    @property
    def retriever(self) -> Retriever:
        return self._retriever()

    @cached_property
    def pipeline(self) -> RagPipeline:
        settings = self.settings
        return RagPipeline(
            store=self.store,
            retriever=self._retriever,
            generator=self._up_to_date_generator,
            check=self.generator_source.check,
            options=PipelineOptions(
                top_k=settings.top_k,
                parent_tokens=settings.parent_tokens,
                min_dense_score=settings.min_dense_score,
                min_answerability=settings.min_answerability,
                max_answer_tokens=settings.max_answer_tokens,
            ),
        )

    @property
    def loaded_generator(self) -> Generator | None:
        """The generator if it is loaded already."""
        return self._generator.value

    @property
    def inspected(self) -> Inspected | None:
        """What was found when a service looked through what is stored the last time; nothing before it has."""
        return None if self._inspection is None else self._inspection.last

    def warm_up(self) -> None:
        """Load both models, or connect to the remote one. Blocks for seconds; later calls return at once."""
        self._embedder().load()
        self._generator()

    def maintain(self) -> None:
        """From now on, until it is closed: write index files when searches grow longer, let old versions expire, finish
        purges that were broken off, and look for damage.
        """
        from rag.stores.compaction import Compaction
        from rag.stores.removal.expiry import Expiry
        from rag.stores.verification.inspection import Inspection

        if not self._maintenance:
            self._inspection = Inspection(self.database, self.index_directory)
            keep = self.vectors.open_indexes.keep_only
            expiry = Expiry(self.store, finish_purges=self.finish_purges, keep_only=keep, forget_jobs=self.forget_jobs)
            self._maintenance = (Compaction(self.vectors), expiry, self._inspection)
            for each in self._maintenance:
                each.start()

    def cancel_job(self, job_id: int) -> Job:
        """End a job that waits, and let go of its uploads, or ask the worker that has it to stop.

        Raises:
            UnknownJob: there is none.
            Conflict: it had succeeded or failed before.
        """
        job = self.jobs.cancel(job_id)
        if job.state in {JobState.SUCCEEDED, JobState.FAILED}:
            raise Conflict(
                f"Job {job_id} had ended before ({job.state}): nothing was cancelled.",
                hint=f"`indexer jobs {job_id}` and GET /v1/jobs/{job_id}/files tell what came of its files.",
            )
        if job.state.ended:
            for upload in job.request.uploads:
                self.blobs.remove(upload.blob)
        return job

    def forget_jobs(self) -> None:
        """Delete what is told of jobs that ended long ago, and the uploads that no job needs."""
        from rag.stores.jobs.queue import KEPT

        self.jobs.forget(KEPT)
        self.blobs.remove_except(self.jobs.blobs())

    def finish_purges(self) -> None:
        """Bring the purges and drops to their end in which a process has died: one short read where there are none.
        Raises as any write.
        """
        from rag.stores.collection_rows import being_removed

        with self.database.read() as connection:
            if not being_removed(connection):
                return
        from rag.stores.removal.dropping import finish_drops
        from rag.stores.removal.purge import finish_purges  # with FAISS, which takes a third of a second

        finish_purges(self.database, self.vectors, **self._searched_places)
        finish_drops(self.database, self.vectors, **self._searched_places)

    def erase_deleted(self) -> ErasureReport:
        """Have what models have stored of deleted passages erased, on disk and in every process with a model over this
        data directory, and say what was searched. Seconds where such a process is busy; loads nothing.

        Raises:
            DataDirectoryUnwritable: a file of stored state cannot be read or deleted.
        """
        from rag.erasure import erase_deleted

        if self._follower is not None:
            self._follower.look()
        return erase_deleted(self.database, self.generator_source.snapshot_directory)

    def purge(self, collection: Collection, document_ids: Sequence[int]) -> list[Searched]:
        """Delete all versions of documents from everything that this data directory holds, model state included; what
        was searched, as ``rag.stores.removal.purge.purge``, which says what it raises. Seconds to minutes.
        """
        from rag.stores.removal.purge import purge

        places = self._searched_places
        return purge(self.database, self.vectors, collection, document_ids, blobs=self.blobs, **places)

    def drop(self, collection: Collection, *, purge: bool = False) -> Dropped:
        """As ``rag.stores.removal.dropping.drop``, which says what it raises. Seconds to minutes."""
        from rag.stores.removal.dropping import drop

        return drop(self.database, self.vectors, collection, purge=purge, blobs=self.blobs, **self._searched_places)

    def rename(self, collection: Collection, name: str) -> Collection:
        """As ``rag.stores.collections.renaming.rename``, which says what it raises."""
        from rag.stores.collections.renaming import rename

        self.finish_purges()  # one that is being dropped has its name no longer than it must
        return rename(self.database, self.settings.home, collection, name)

    @property
    def _searched_places(self) -> Places:
        return {"home": self.settings.home, "indexes": self.index_directory, "erase": self._erase_searching}

    def _erase_searching(self) -> list[Searched]:
        return self.erase_deleted().searched()

    def readiness(self) -> list[Check]:
        """What works and what does not, without loading anything that is not loaded."""
        checks = [database_check(self.database)]
        if self._inspection is not None:  # of a program that maintains the library
            checks.append(inspection_check(self._inspection.last))
        checks += [collection_check(each, self.embedder_of) for each in self.store.collections()]
        embedder = self._embedder.value
        loaded = embedder is not None and embedder.loaded
        checks.append(model_check("embedder", self.settings.embedder, lambda: self.catalog, loaded=loaded))
        checks.append(self._generator_check())
        return checks

    def close(self) -> None:
        """Stop the model's thread and the processes that embed, and close the database."""
        for embedder in self._opened_embedders:
            embedder.close()
        if self._generator.value is not None:
            self._generator.value.close()
        if self._follower is not None:
            self._follower.close()
        for each in self._maintenance:
            each.stop()
        if self._vectors.value is not None:
            self._vectors.value.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _generator_check(self) -> Check:
        generator, address = self.loaded_generator, self.generator_source.remote_address
        if generator is not None:
            return generator_check(generator, address)
        if address is not None:
            return Check(name="generator", ok=False, detail=f"remote: not loaded yet ({address})")
        return model_check("generator", self.settings.generator, lambda: self.catalog, loaded=False)

    def _open_generator(self) -> Generator:
        """The generator, and what follows the deletions for it from before it reads what is stored to its end."""
        from rag.erasure import DeletionFollower

        with ExitStack() as undo:
            follower = DeletionFollower(self.database, self.generator_source.snapshot_directory)
            undo.callback(follower.close)
            generator = self.generator_source.open()
            undo.callback(generator.close)
            follower.follow(generator)
            undo.pop_all()
        self._follower = follower
        return generator

    def _up_to_date_generator(self) -> Generator:
        generator = self._generator()
        if self._follower is not None:
            self._follower.look()
        return generator

    def _make_retriever(self) -> Retriever:
        from rag.retrieval.retriever import Retriever

        return Retriever(
            store=self.store,
            embedder_of=self.embedder_of,
            vectors=self.vectors,
            lexical=self.lexical,
        )

    def _open_vectors(self) -> LiveVectors:
        from rag.stores.live_vectors import LiveVectors

        settings = self.settings
        return LiveVectors(self.database, self.index_directory, most_bytes=settings.index_ram_bytes)

    def _load_embedder(self) -> BiEncoder:
        return self._open_embedder(self.settings.embedder)

    def _open_embedder(self, name: str) -> BiEncoder:
        from rag.embedding.bi_encoder import BiEncoder

        model, settings = self.catalog.resolve(name, kind="embedder"), self.settings
        embedder = BiEncoder(
            model.path,
            name=model.name,
            sha256=model.sha256,
            threads=settings.threads,
            precision=settings.embedder_precision,
            apart=self._embeds_apart,
        )
        self._opened_embedders.append(embedder)
        return embedder


def open_library(
    settings: Settings,
    *,
    measured_reuse: PassageReuse | None = None,
    migrate: bool = True,
    embeds_apart: bool = False,
) -> Library:
    """Open (and where needed create or migrate, unless ``migrate`` is off) the data directory.

    ``measured_reuse`` places passages that way whatever setting and gate say; it is for measuring the gate itself.
    ``embeds_apart``: in a process of its own, for programs that take documents in.

    Raises:
        DataDirectoryUnwritable, DatabaseTooNew, DatabaseOutdated, DatabaseBusy, DatabaseDamaged.
    """
    from rag.stores.sqlite.database import Database

    database = Database.open(settings, migrate=migrate)
    return Library(settings, database, measured_reuse=measured_reuse, embeds_apart=embeds_apart)
