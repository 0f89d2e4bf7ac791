"""What a web document would be called as a file: its content leaves open what its name then decides."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import httpx2

from indexer.detection.legacy_encodings import meant_by

if TYPE_CHECKING:
    from collections.abc import Mapping

# Media types that say more than an ending in a URL does, which often is that of the program that wrote the page.
_SUFFIXES: Final = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/geo+json": ".geojson",
    "application/x-ndjson": ".jsonl",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "text/vtt": ".vtt",
    "application/x-subrip": ".srt",
    "message/rfc822": ".eml",
    "application/mbox": ".mbox",
    "text/x-rst": ".rst",
    "application/x-tex": ".tex",
    "application/vnd.ms-outlook": ".msg",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
}
_FILENAME: Final = re.compile(r"filename\s*=\s*(?:\"([^\"]*)\"|([^\s;]+))", re.IGNORECASE)
_FILENAME_UTF8: Final = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^\s;]+)", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*+=\s*+\"?+\s*+([A-Za-z0-9_:.\-]{2,40})", re.IGNORECASE)


def name_of(url: str, headers: Mapping[str, str]) -> PurePosixPath:
    """A file name: the one the server gives, else the end of the URL's path; its ending by the media type if that is
    a telling one.
    """
    disposition = headers.get("content-disposition", "")
    if (found := _FILENAME_UTF8.search(disposition)) is not None:
        given = unquote(found[1])
    else:
        found = _FILENAME.search(disposition)
        given = (found[1] or found[2] or "") if found else ""
    parsed = httpx2.URL(url)
    path = unquote(parsed.raw_path.decode("ascii").partition("?")[0])
    last = re.split(r"[/\\]", given.rstrip("/\\"))[-1] or path.rstrip("/").rpartition("/")[2] or parsed.host
    last = "".join(character if character.isprintable() else "_" for character in last)[:200]
    name = PurePosixPath(last if last.strip(".") else "document")
    suffix = _SUFFIXES.get(headers.get("content-type", "").partition(";")[0].strip().lower())
    if suffix is None or name.suffix.lower() == suffix:
        return name
    # "v1.2" has no ending, and a host has none either.
    return PurePosixPath(f"{name.stem if len(name.suffix) in range(2, 7) and path.strip('/') else name}{suffix}")


def charset_of(headers: Mapping[str, str]) -> str | None:
    """The encoding that the server states, by the name of Python's codec for what is meant by it."""
    found = _CHARSET.search(headers.get("content-type", ""))
    return None if found is None else meant_by(found[1])
