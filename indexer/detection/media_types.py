"""What a file is: by its content first, by its name where the content leaves it open."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from indexer.detection.encodings import SAMPLE_BYTES, encoding_of, marked_encoding, stated_encoding, utf16
from indexer.detection.images import image_type
from indexer.detection.json import json_type
from indexer.detection.legacy_encodings import is_doubtful
from indexer.detection.marked_text import PLAIN_SUFFIXES, is_xml, marked_text
from indexer.detection.mixed_encodings import second_of
from indexer.detection.office import office_type
from indexer.detection.programs import program_type
from indexer.detection.tar_headers import is_tar
from indexer.detection.unread import NEXT_STEPS, ZIP_MARKS, common_name, marked_name, unread_zip
from indexer.formats import (
    CODE,
    HTML,
    HTML_SUFFIXES,
    JSON,
    LOAD_FILE,
    LOOSE,
    MAIL,
    MAILBOX,
    NOTEBOOK,
    OUTLOOK,
    PDF,
    PROSE,
    SUFFIX_TYPES,
    TAR,
    TEXT,
    XML,
    ZIP,
)
from rag.errors import SourceBinary, SourceEmpty, SourceUnsupported

if TYPE_CHECKING:
    from pathlib import PurePath

    from indexer.sources import SourceScan

READABLE: Final = (
    "text, Markdown, HTML, PDF, XPS, EPUB, office documents, diagrams, images, reStructuredText, AsciiDoc, MediaWiki, "
    "Textile, Org, LaTeX, manual pages, POD, Texinfo, CSV, JSON, XML, notebooks, subtitles, contacts, calendars, "
    "references, statements of accounts, source code, mail, and ZIP and TAR archives of these"
)

# Data that is named like text is meant to be read as it stands, unless it is one line.
_ONE_LINE_BYTES: Final = 1000
_TEXT_SUFFIXES: Final = frozenset({*PLAIN_SUFFIXES, *HTML_SUFFIXES, *SUFFIX_TYPES} - {".ts", ".m", ".v", ".s"})

_PDF_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*+%PDF-")
# PDF readers accept the mark anywhere in the first kilobyte.
_PDF_MARK_BYTES: Final = 1024
# Above these shares a file is not text, whatever its name says.
_MAX_NUL_SHARE: Final = 0.001
_MAX_CONTROL_SHARE: Final = 0.02

# These are matched in this process, against bytes that anybody may have written: what repeats is never tried again.
_HTML_START = re.compile(
    rb"\A\s*+(?:<\?xml[^>]*\?>\s*+)?(?>(?:<!--.*?-->\s*)*)<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(rb"<(?:p|div|table|h[1-6]|body|html|head|ul|ol|a|br|span)\b", re.IGNORECASE)
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60}):[^\n]*\n(?:[ \t][^\n]*\n)*", re.ASCII)
_MAIL_SUFFIXES: Final = frozenset({".eml", ".mht", ".mhtml", ".mbox"})
_MAILBOX_MARK: Final = "From "  # begins the line that a mailbox puts before each message
_MAIL_HEADERS: Final = frozenset(
    "from to subject date received message-id mime-version content-type return-path delivered-to reply-to cc".split()
)
# Base64 and hexadecimal blobs, broken into lines or not.
_BLOB_BYTE: Final = rb"[A-Za-z0-9+/=_-]"
_UNBROKEN = re.compile(
    # From where a run begins; of a long one 60 bytes at a time.
    rb"(?<!BYTE)(?>BYTE{60}(?:(?=BYTE{60})|BYTE{0,59}\r?\n?)){4,}".replace(b"BYTE", _BLOB_BYTE)
)
_SIGNS: Final = b"+/=_-"
_MAX_UNBROKEN_SHARE: Final = 0.5
_LONG_LINE_BYTES: Final = 2000
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# The level of bzip2 is a digit; then comes its first block, or the end of an empty file.
_PACKED = re.compile(rb"\x1f\x8b\x08|\xfd7zXZ\x00|BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_OLE_MARK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# The names of a message's streams, as OLE writes names.
_OUTLOOK_NAME: Final = "__properties_version1.0".encode("utf-16-le")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A media type that a parser exists for, and the encoding of its text (unused for formats that say it inside).

    ``doubtful``: the encoding is nowhere stated, and read so the text is not spelt as one language is.
    """

    media_type: str
    encoding: str
    doubtful: bool = False


def detect(path: PurePath, scan: SourceScan) -> Detected:
    """Decide how to read a file.

    Raises:
        SourceEmpty: no bytes.
        SourceUnsupported: a known format that no parser reads.
        SourceBinary: not text and no known format either, or a binary file with a text file's name.
        SourceEncrypted: an office document behind a password.
    """
    if not scan.size:
        raise SourceEmpty(f"{path} is empty.", hint="If it should not be, get it again.")
    head = scan.head
    if (marked := _marked_type(path, head)) is not None:
        return Detected(media_type=marked, encoding="utf-8")
    encoding, doubtful = marked_encoding(head), False
    if (container := _container(path, head, encoding)) is not None:
        return container
    if b"%PDF-" in head[:_PDF_MARK_BYTES] and _is_pdf(path, scan):
        return Detected(media_type=PDF, encoding="utf-8")
    if encoding is None and marked_text(head) == LOAD_FILE:  # what is between its fields is no text
        return Detected(media_type=LOAD_FILE, encoding="utf-8" if scan.utf8 else "cp1252")
    if encoding is None:
        unpadded = scan.without_padding()
        if scan.padding and _is_text(unpadded) and not (_binary_name(path, head) or _magic_name(head)):
            scan = unpadded
            head = scan.head
        _refuse_known_binary(path, scan)
        is_html = _looks_like_html(path, head)
        encoding = encoding_of(path, scan, is_html=is_html)
        stated = scan.utf8 or stated_encoding(scan, is_html=is_html) is not None
        sample = (scan.late or head)[:SAMPLE_BYTES]
        doubtful = not stated and second_of(encoding) is None and is_doubtful(sample, encoding)
    media_type = _text_type(path, head, encoding, whole=scan.size <= len(head))
    if media_type not in LOOSE:
        _refuse_noise(path, head, is_code=media_type.startswith("text/x-") and media_type not in PROSE)
    return Detected(media_type=media_type, encoding=encoding, doubtful=doubtful)


def _marked_type(path: PurePath, head: bytes) -> str | None:
    """What says in its first bytes what it is, and its encoding inside."""
    if _PDF_START.match(head):
        return PDF
    if (office := office_type(path, head)) is not None:
        return office
    return image_type(head) if path.suffix.lower() not in _TEXT_SUFFIXES else None


def _is_pdf(path: PurePath, scan: SourceScan) -> bool:
    """Whether what holds the mark somewhere is a PDF behind other bytes, not a text or a program's file with one."""
    return path.suffix.lower() == ".pdf" or not (_is_text(scan) or _binary_name(path, scan.head))


def _binary_name(path: PurePath, head: bytes) -> str | None:
    return marked_name(path, head) or common_name(path, head)


def _container(path: PurePath, head: bytes, encoding: str | None) -> Detected | None:
    """What may hold documents of its own."""
    if head.startswith(ZIP_MARKS):
        return None if unread_zip(path, head) else Detected(media_type=ZIP, encoding="utf-8")
    if _PACKED.match(head) or is_tar(head):
        return Detected(media_type=TAR, encoding="utf-8")
    suffix = path.suffix.lower()
    if head.startswith(_OLE_MARK):
        message = suffix == ".msg" or (_OUTLOOK_NAME in head and suffix not in {".doc", ".xls", ".ppt"})
        return Detected(media_type=OUTLOOK, encoding="utf-8") if message else None
    encoding = encoding or utf16(head)
    text = head.decode(encoding or "latin-1", errors="replace").replace("\r\n", "\n").lstrip("\ufeff")
    if _is_mail(suffix, text):
        # Without a mark a mail's parts have encodings of their own.
        media_type = MAILBOX if text.startswith(_MAILBOX_MARK) else MAIL
        return Detected(media_type=media_type, encoding=encoding or "latin-1")
    return None


def _is_mail(suffix: str, text: str) -> bool:
    """Whether it begins like a message (RFC 5322): by its headers, the fewer of them the clearer its name."""
    if suffix in _TEXT_SUFFIXES:
        return False
    position, known = 0, set()
    if text.startswith(_MAILBOX_MARK):
        position = text.find("\n") + 1
    while found := _HEADER.match(text, position):
        known.add(found[1].lower())
        position = found.end()
    return len(known & _MAIL_HEADERS) >= (1 if suffix in _MAIL_SUFFIXES else 3)


def _refuse_noise(path: PurePath, head: bytes, *, is_code: bool) -> None:
    """Refuse what is made of text and not for reading: keys, encoded blobs, minified programs."""
    # Signs alone are lines to write on, or drawn.
    unbroken = sum(len(run.translate(None, _SIGNS)) for run in _UNBROKEN.findall(head))
    if unbroken > _MAX_UNBROKEN_SHARE * len(head):
        raise SourceBinary(
            f"{path} is encoded data (base64 or the like), not text.",
            hint="If it encodes a document, decode it and ingest that.",
        )
    long = sum(len(line) for line in head.split(b"\n") if len(line) > _LONG_LINE_BYTES)
    if is_code and long > _MAX_UNBROKEN_SHARE * len(head):
        raise SourceBinary(
            f"{path} is minified or generated code: lines of thousands of characters.",
            hint="Ingest the program it was made from.",
        )


def _refuse_known_binary(path: PurePath, scan: SourceScan) -> None:
    head = scan.head
    name = marked_name(path, head)
    if name is None and not _is_text(scan) and utf16(head) is None:
        name = common_name(path, head) or _magic_name(head)
        if name is None:
            raise SourceBinary(f"{path} holds binary data, not text.", hint=f"Plumbline reads {READABLE}.")
    if name is None:
        return
    if path.suffix.lower() in _TEXT_SUFFIXES and not name.startswith("a Post"):
        raise SourceBinary(f"{path} is named like a text file, but it is {name}.", hint=f"Plumbline reads {READABLE}.")
    hint = NEXT_STEPS.get(name, f"Plumbline reads {READABLE}; export it to one of these.")
    raise SourceUnsupported(f"{path} is {name}, which no parser reads.", hint=hint)


def _is_text(scan: SourceScan) -> bool:
    if not scan.size or scan.nul_bytes > _MAX_NUL_SHARE * scan.size:
        return False
    sample = scan.head[:SAMPLE_BYTES]
    return len(_CONTROLS.findall(sample)) <= _MAX_CONTROL_SHARE * len(sample)


def _magic_name(head: bytes) -> str | None:
    import puremagic

    if not head.strip(b"\x00"):  # a hole in a disk image or the rest of a torn download, which some marks fit
        return None
    try:
        matches = puremagic.magic_string(head)
    except puremagic.PureError:
        return None
    # Marks of two bytes match a file in 65,536 by chance.
    strong = [match for match in matches if len(match.byte_match) >= 3 and match.name]
    if not strong:
        return None
    best = max(strong, key=lambda match: (match.confidence, len(match.byte_match)))
    return f"of another format ({best.name})"


def _looks_like_html(path: PurePath, head: bytes) -> bool:
    return bool(_HTML_START.match(head)) or path.suffix.lower() in HTML_SUFFIXES


def _text_type(path: PurePath, head: bytes, encoding: str, *, whole: bool) -> str:
    if encoding.startswith(("utf-16", "utf-32")):
        # Tags are searched for in bytes; a stray odd byte at the end of the head does not matter here.
        head = head.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    start = head.removeprefix(codecs.BOM_UTF8)
    suffix = path.suffix.lower()
    if _HTML_START.match(start) or (suffix in HTML_SUFFIXES and _TAG.search(start)):
        return HTML
    if SUFFIX_TYPES.get(suffix) == CODE:  # schemas and style sheets are programs written in XML
        return CODE
    plain = suffix in PLAIN_SUFFIXES and len(start.partition(b"\n")[0]) < _ONE_LINE_BYTES
    marked = marked_text(start)
    if marked is None and is_xml(suffix, start, plain=plain):
        return XML
    named = marked or SUFFIX_TYPES.get(suffix, TEXT)
    if suffix not in PLAIN_SUFFIXES and (program := program_type(path, start)) is not None:
        return program
    if named == JSON or (named == TEXT and not plain):
        found = json_type(start.decode("utf-8", errors="replace"), whole=whole)
        return found if found is not None and (named == TEXT or found == NOTEBOOK) else named
    return named
