"""Records of an export as a Parquet table: a row each, whose ``type`` says which columns it has; the others are null.

Vectors are lists of 32-bit numbers, so that every program reads them; they hold just what float16 does. Metadata is
JSON in a column of text, because its values are of several types.
"""

from __future__ import annotations

from base64 import b64decode
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from indexer.records import RecordReader
from rag.errors import InvalidRequest
from rag.stores.exchange import ExportedChunk, ExportedDocument, ExportedText, ExportEnd, ExportHeader, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import ModuleType

    from pyarrow.parquet import ParquetFile

MAGIC: Final = b"PAR1"
_ARROW_SCHEMA: Final = b"ARROW:schema"

_ROWS = 1024  # of a row group: some tens of megabytes at most
_RECORDS = {
    record.__struct_config__.tag: record
    for record in (ExportHeader, ExportedDocument, ExportedText, ExportedChunk, ExportEnd)
}
_NUMBERS = {
    "chunks", "dimension", "documents", "end", "format_version", "members_failed", "mtime_ns", "ordinal", "page",
    "size", "start", "token_count",
}  # fmt: skip


def write_parquet(path: Path, records: Iterable[Record]) -> ExportEnd:
    """Write all records to a new file; returns the last. Raises InvalidRequest if pyarrow is not installed."""
    pa, parquet = _libraries()
    names = dict.fromkeys(name for record in _RECORDS.values() for name in record.__struct_fields__)
    special = {"heading_path": pa.list_(pa.string()), "vector": pa.list_(pa.float32()), "dense_weight": pa.float64()}
    special["outline"] = pa.list_(pa.binary())
    special |= {name: pa.int64() for name in _NUMBERS}
    columns = [("type", pa.string()), *((name, special.get(name, pa.string())) for name in names)]
    schema, rest, last = pa.schema(columns), iter(records), None
    with parquet.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        while batch := list(islice(rest, _ROWS)):
            writer.write_batch(pa.RecordBatch.from_pylist([_row(record) for record in batch], schema))
            last = batch[-1]
    if not isinstance(last, ExportEnd):
        raise TypeError("records of an export end with its end")
    return last


def read_parquet(path: Path) -> RecordReader:
    """Raises InvalidRequest if pyarrow is not installed."""
    _libraries()
    return RecordReader(str(path), _records(path), "row")


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidRequest(
            "Parquet files need pyarrow, which is not installed.",
            hint="Run: pip install 'plumbline[parquet]', or use JSON lines (--format jsonl).",
        ) from error
    return pa, parquet


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {"type": record.__struct_config__.tag, **msgspec.structs.asdict(record)}
    if isinstance(record, ExportedDocument):
        row["metadata"] = msgspec.json.encode(record.metadata).decode()
    elif isinstance(record, ExportedChunk):
        row["vector"] = np.frombuffer(record.vector, "<f2").astype(np.float32)
    return row


def _records(path: Path) -> Iterator[Record]:
    pa, parquet = _libraries()
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _require_columns(file)
            for batch in file.iter_batches(batch_size=_ROWS):
                yield from map(_record, batch.to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise msgspec.DecodeError(str(error)) from error


def _require_columns(file: ParquetFile) -> None:
    """Raises ValueError: the footer, which has no checksum, names other columns than in the copy that Arrow keeps."""
    pa, _ = _libraries()
    kept = (file.metadata.metadata or {}).get(_ARROW_SCHEMA)
    if kept is not None and pa.ipc.read_schema(pa.py_buffer(b64decode(kept))).names != file.schema_arrow.names:
        raise ValueError("its columns have other names than when it was written")


def _record(row: dict[str, Any]) -> Record:
    kind = _RECORDS.get(row.get("type"))
    fields = {name: row[name] for name in kind.__struct_fields__ if name in row} if kind else {}
    if kind is ExportedDocument and isinstance(fields.get("metadata"), str):
        fields["metadata"] = msgspec.json.decode(fields["metadata"])
    elif kind is ExportedChunk and isinstance(fields.get("vector"), list):
        with np.errstate(over="ignore"):  # too large for two bytes is infinite, and refused as that
            fields["vector"] = np.array(fields["vector"], "<f2").tobytes()
    converted: Record = msgspec.convert({"type": row.get("type"), **fields}, Record)
    return converted
