"""Reads catalog files (TOML) into entries. The format is described at the top of ``catalog.toml``."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from rag.catalog.entries import (
    MODEL_KINDS,
    Location,
    ModelEntry,
    ModelFile,
    Piece,
    Source,
    check_file_path,
    check_model_name,
    check_sha256,
)
from rag.errors import InvalidSettings

if TYPE_CHECKING:
    from pathlib import Path

CATALOG_FORMAT = 1  # bump when a file of this version could be misread by the code before it

Table = dict[str, Any]


def read_catalog(path: Path) -> dict[str, ModelEntry]:
    """Read a catalog file.

    Raises:
        InvalidSettings: the file cannot be read or says something the catalog cannot use; names the entry.
    """
    hint = "Correct the file, or move it away."
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"The model catalog {path} cannot be read: {error}.", hint=hint) from error
    if table.get("format") != CATALOG_FORMAT:
        raise InvalidSettings(
            f"The model catalog {path} has format {table.get('format')!r}; this version reads {CATALOG_FORMAT}.",
            hint=f"Its first line must be: format = {CATALOG_FORMAT}",
        )
    models = table.get("models", {})
    if not isinstance(models, dict):
        raise InvalidSettings(f"{path}: models must be tables, one [models.NAME] each.", hint=hint)
    entries = {}
    for name, model in models.items():
        try:
            entries[name] = _entry(name, model, folder=path.parent)
        except KeyError as error:
            raise InvalidSettings(f"{path}: model {name!r} lacks {error}.", hint=hint) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidSettings(f"{path}: model {name!r}: {error}.", hint=hint) from error
    return entries


def _entry(name: str, model: Table, *, folder: Path) -> ModelEntry:
    kind = model["kind"]
    if kind not in MODEL_KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(MODEL_KINDS)}")
    files = tuple(
        ModelFile(path=check_file_path(row["path"]), bytes=_size(row["bytes"]), sha256=check_sha256(row["sha256"]))
        for row in model["files"]
    )
    if not files or len({file.path for file in files}) != len(files):
        raise ValueError("files must be given, each once")
    return ModelEntry(
        name=check_model_name(name),
        kind=kind,
        title=str(model.get("title", name)),
        licence=str(model["licence"]),
        files=files,
        sources=tuple(_source(row, files, folder=folder) for row in model.get("sources", ())),
        gate=dict(model["gate"]) if "gate" in model else None,
    )


def _source(row: Table, files: tuple[ModelFile, ...], *, folder: Path) -> Source:
    if "parts" in row:
        return _parted_source(row["parts"], files, folder=folder)
    location = _location(row["from"], folder)
    below = row.get("folder", "")
    names = row.get("names", {})
    pieces: dict[str, tuple[Piece, ...]] = {
        file.path: (
            Piece(
                location=location,
                name=check_file_path(below + names.get(file.path, file.path)),
                bytes=file.bytes,
                sha256=file.sha256,
            ),
        )
        for file in files
    }
    return Source(label=str(location), pieces=pieces)


def _parted_source(rows: list[Table], files: tuple[ModelFile, ...], *, folder: Path) -> Source:
    if len(files) != 1:
        raise ValueError("parts can make a single file only")
    parts = tuple(
        Piece(
            location=_location(row["from"], folder),
            name=check_file_path(row["name"]),
            bytes=_size(row["bytes"]),
            sha256=check_sha256(row["sha256"]) if "sha256" in row else None,
        )
        for row in rows
    )
    total = sum(part.bytes for part in parts)
    if total != files[0].bytes:
        raise ValueError(f"the parts are {total} bytes together, the file is {files[0].bytes}")
    return Source(label=f"{parts[0].location} to {parts[-1].location}", pieces={files[0].path: parts})


def _location(text: str, folder: Path) -> Location:
    location = Location.parse(text)
    if location.scheme != "file":
        return location
    return Location(scheme="file", target=str(folder / location.target.removeprefix("//")))


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"bytes is {value!r}; expected a positive whole number")
    return value
