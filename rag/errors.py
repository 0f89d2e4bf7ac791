"""Every error Plumbline raises on purpose.

RagError
├── InputError                what was asked cannot be done as asked
│   ├── EmptyQuestion  QuestionTooLong  InvalidRequest  InvalidSettings  UnsupportedSampling
├── NotFound
│   ├── UnknownCollection  UnknownDocument  UnknownModel  UnknownAdapter  UnknownJob  HistoryGone
├── Conflict
│   ├── IngestInProgress  EmbedderChanged  PortInUse  JobLost
├── SourceError               one document could not be taken in; the others go on
│   ├── SourceNotFound  SourceUnreadable  SourceEmpty  SourceBinary  SourceUnsupported  SourceEncrypted
│   ├── SourceDamaged  SourceTooLarge  SourceUnsafe  SourceHasNoText  SourceNeedsOcr  ParserTimeout  ParserOutOfMemory
│   ├── ParserCrashed  SourceCrashed  SourceAddressRefused  SourceDisallowed  SourceUnreachable  SourcePurged
│   ├── SourceLeftOut         by a rule that was meant for it: no failure
├── ModelError
│   ├── ModelMissing  ModelCorrupt  ModelUnloadable  ModelSourcesFailed  AcceleratorUnavailable
├── StorageError
│   ├── DataDirectoryUnwritable  DatabaseTooNew  DatabaseOutdated  DatabaseBusy  DatabaseDamaged  IndexDamaged  DiskFull
│   ├── BackupDamaged  ErasureIncomplete
└── ServiceError
    ├── GenerationFailed  Overloaded  DeadlineExceeded  RemoteUnavailable  ShuttingDown

A message says what happened, why, and what to do next. ``code`` is stable: problem details (RFC 9457), ``--json``
output and tests use it.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AcceleratorUnavailable",
    "BackupDamaged",
    "Conflict",
    "DataDirectoryUnwritable",
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseOutdated",
    "DatabaseTooNew",
    "DeadlineExceeded",
    "DiskFull",
    "EmbedderChanged",
    "EmptyQuestion",
    "ErasureIncomplete",
    "GenerationFailed",
    "HistoryGone",
    "IndexDamaged",
    "IngestInProgress",
    "InputError",
    "InvalidRequest",
    "InvalidSettings",
    "JobLost",
    "ModelCorrupt",
    "ModelError",
    "ModelMissing",
    "ModelSourcesFailed",
    "ModelUnloadable",
    "NotFound",
    "Overloaded",
    "ParserCrashed",
    "ParserOutOfMemory",
    "ParserTimeout",
    "PortInUse",
    "QuestionTooLong",
    "RagError",
    "RemoteUnavailable",
    "ServiceError",
    "ShuttingDown",
    "SourceAddressRefused",
    "SourceBinary",
    "SourceCrashed",
    "SourceDamaged",
    "SourceDisallowed",
    "SourceEmpty",
    "SourceEncrypted",
    "SourceError",
    "SourceHasNoText",
    "SourceLeftOut",
    "SourceNeedsOcr",
    "SourceNotFound",
    "SourcePurged",
    "SourceTooLarge",
    "SourceUnreachable",
    "SourceUnreadable",
    "SourceUnsafe",
    "SourceUnsupported",
    "StorageError",
    "UnknownAdapter",
    "UnknownCollection",
    "UnknownDocument",
    "UnknownJob",
    "UnknownModel",
    "UnsupportedSampling",
]


class RagError(Exception):
    """Base of all. ``hint`` is the next step for the person who sees the error."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class InputError(RagError):
    code = "invalid_input"


class EmptyQuestion(InputError):
    code = "empty_question"


class QuestionTooLong(InputError):
    code = "question_too_long"


class InvalidRequest(InputError):
    code = "invalid_request"


class InvalidSettings(InputError):
    code = "invalid_settings"


class UnsupportedSampling(InputError):
    code = "unsupported_sampling"


class NotFound(RagError):
    code = "not_found"


class UnknownCollection(NotFound):
    code = "unknown_collection"


class UnknownDocument(NotFound):
    code = "unknown_document"


class HistoryGone(NotFound):
    """What was asked about is longer ago than versions are kept."""

    code = "history_gone"


class UnknownJob(NotFound):
    code = "unknown_job"


class UnknownModel(NotFound):
    code = "unknown_model"


class UnknownAdapter(NotFound):
    code = "unknown_adapter"


class Conflict(RagError):
    code = "conflict"


class IngestInProgress(Conflict):
    code = "ingest_in_progress"


class EmbedderChanged(Conflict):
    code = "embedder_changed"


class JobLost(Conflict):
    """A worker's job was taken over by another."""

    code = "job_lost"


class PortInUse(Conflict):
    code = "port_in_use"


class SourceError(RagError):
    """``passes``: the cause lies outside of the document, and may be gone when it is tried again."""

    code = "source_error"
    passes: ClassVar[bool] = False


class SourceNotFound(SourceError):
    code = "source_not_found"


class SourceUnreadable(SourceError):
    code = "source_unreadable"
    passes = True


class SourceEmpty(SourceError):
    code = "source_empty"


class SourceBinary(SourceError):
    code = "source_binary"


class SourceUnsupported(SourceError):
    code = "source_unsupported"


class SourceEncrypted(SourceError):
    code = "source_encrypted"


class SourceDamaged(SourceError):
    code = "source_damaged"


class SourceTooLarge(SourceError):
    code = "source_too_large"


class SourceUnsafe(SourceError):
    code = "source_unsafe"


class SourceHasNoText(SourceError):
    code = "source_has_no_text"


class SourceNeedsOcr(SourceError):
    """Its text is in images, and the extra that recognises it is not installed."""

    code = "source_needs_ocr"


class SourcePurged(SourceError):
    """Its document was purged or deleted while it was taken in."""

    code = "source_purged"


class SourceAddressRefused(SourceError):
    """An address on the web that is not fetched from, whatever is there."""

    code = "source_address_refused"


class SourceLeftOut(SourceError):
    """It was found beside what was asked for and is not taken in, by a rule: no failure. ``kind`` is counted by."""

    code = "source_left_out"

    def __init__(self, message: str, *, kind: str = "source", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class SourceDisallowed(SourceError):
    """Its site's robots.txt asks programs to leave it alone."""

    code = "source_disallowed"


class SourceUnreachable(SourceError):
    """Its server cannot be reached, is too slow, or answers with an error."""

    code = "source_unreachable"
    passes = True


class ParserTimeout(SourceError):
    code = "parser_timeout"
    passes = True


class ParserOutOfMemory(SourceError):
    code = "parser_out_of_memory"


class ParserCrashed(SourceError):
    code = "parser_crashed"


class SourceCrashed(SourceError):
    """A mistake of the program outside of the parser showed on it."""

    code = "source_crashed"


class ModelError(RagError):
    code = "model_error"


class ModelMissing(ModelError):
    code = "model_missing"


class ModelCorrupt(ModelError):
    code = "model_corrupt"


class ModelUnloadable(ModelError):
    code = "model_unloadable"


class ModelSourcesFailed(ModelError):
    code = "model_sources_failed"


class AcceleratorUnavailable(ModelError):
    code = "accelerator_unavailable"


class StorageError(RagError):
    code = "storage_error"


class DataDirectoryUnwritable(StorageError):
    code = "data_directory_unwritable"


class DatabaseTooNew(StorageError):
    code = "database_too_new"


class DatabaseOutdated(StorageError):
    code = "database_outdated"


class DatabaseBusy(StorageError):
    code = "database_busy"


class DatabaseDamaged(StorageError):
    code = "database_damaged"


class IndexDamaged(StorageError):
    code = "index_damaged"


class DiskFull(StorageError):
    code = "disk_full"


class BackupDamaged(StorageError):
    code = "backup_damaged"


class ErasureIncomplete(StorageError):
    """Documents are deleted, but a process or a file may still hold model state made of their passages."""

    code = "erasure_incomplete"


class ServiceError(RagError):
    code = "service_error"


class GenerationFailed(ServiceError):
    code = "generation_failed"


class Overloaded(ServiceError):
    """Too many requests are waiting. ``retry_after_s`` is a fair time to come back, ``queue_position`` the place (from
    1) the request would have had.
    """

    code = "overloaded"

    def __init__(
        self, message: str, *, hint: str = "", retry_after_s: int = 1, queue_position: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.queue_position = queue_position


class DeadlineExceeded(ServiceError):
    code = "deadline_exceeded"


class RemoteUnavailable(ServiceError):
    code = "remote_unavailable"


class ShuttingDown(ServiceError):
    """Nothing new is begun any more, or the time that running requests get at the end is over."""

    code = "shutting_down"

    def __init__(
        self, message: str = "The service is shutting down.", *, hint: str = "Ask again when it is back."
    ) -> None:
        super().__init__(message, hint=hint)
