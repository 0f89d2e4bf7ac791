"""What the catalog knows of a model: its files with their hashes, and its sources in the order they are tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

ModelKind = Literal["generator", "embedder", "reranker"]
MODEL_KINDS: tuple[ModelKind, ...] = ("generator", "embedder", "reranker")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUB = re.compile(r"[\w.-]+/[\w.-]+@[\w./-]+")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+")
_LOOPBACK = re.compile(r"//(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?(/|$)")

Scheme = Literal["hf", "pypi", "https", "http", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where pieces can be fetched: ``hf:OWNER/REPO@REVISION``, ``pypi:NAME==VERSION``, ``https:...``, ``file:PATH``."""

    scheme: Scheme
    target: str

    def __str__(self) -> str:
        return self.target if self.scheme in ("http", "https") else f"{self.scheme}:{self.target}"

    @classmethod
    def parse(cls, text: str) -> Location:
        """Raises ValueError with a reason if the text is no location."""
        scheme, _, target = text.partition(":")
        match scheme:
            case "hf" if _HUB.fullmatch(target) and ".." not in target:
                return cls(scheme="hf", target=target)
            case "pypi" if _WHEEL.fullmatch(target):
                return cls(scheme="pypi", target=target)
            case "file" if target:
                return cls(scheme="file", target=target)
            case "https" if target.startswith("//"):
                return cls(scheme="https", target=text)
            case "http" if _LOOPBACK.match(target):
                return cls(scheme="http", target=text)
            case "http":
                raise ValueError(f"{text!r}: plain http is accepted for loopback addresses only")
        raise ValueError(
            f"{text!r} is not a source: expected hf:OWNER/REPO@REVISION, pypi:NAME==VERSION, https://... or file:PATH"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes that one location holds under ``name``: a file, or a part of one. ``sha256`` may be unknown of a part."""

    location: Location
    name: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file of a model. ``path`` is relative to the model's folder; ``bytes`` and ``sha256`` are of the whole file."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One way to obtain a model: for every file the pieces that, concatenated in order, make it."""

    label: str
    pieces: dict[str, tuple[Piece, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model of the catalog. ``sources`` are tried in order; what they give must match ``files`` to the byte.

    ``gate`` is a generator's known quality gate as it stands in the file; see ``rag.inference.quality_gate``.
    """

    name: str
    kind: ModelKind
    title: str
    licence: str
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...]
    gate: dict[str, Any] | None = None

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def check_model_name(name: str) -> str:
    """Return the name; raises ValueError if it could not serve as a folder's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a model name: lower-case letters, digits and . _ - only")
    return name


def check_file_path(path: str) -> str:
    """Return the path; raises ValueError unless it stays inside the folder it is joined to."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or any(part.startswith(".") for part in parts):
        raise ValueError(f"{path!r} is not a file path inside a model's folder")
    return path


def check_sha256(digest: str) -> str:
    """Return the digest; raises ValueError unless it is 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a sha256 in lower-case hexadecimal")
    return digest
