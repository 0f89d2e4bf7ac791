"""Which office format a container's first bytes show: ZIP packages, flat XML, compound files of older programs, RTF."""

from __future__ import annotations

import codecs
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rag.errors import SourceEncrypted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePath

_OPEN_XML: Final = "application/vnd.openxmlformats-officedocument"
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument"

DOCX: Final = f"{_OPEN_XML}.wordprocessingml.document"
PPTX: Final = f"{_OPEN_XML}.presentationml.presentation"
XLSX: Final = f"{_OPEN_XML}.spreadsheetml.sheet"
ODT: Final = f"{_OPEN_DOCUMENT}.text"
ODS: Final = f"{_OPEN_DOCUMENT}.spreadsheet"
ODP: Final = f"{_OPEN_DOCUMENT}.presentation"
VSDX: Final = "application/vnd.ms-visio.drawing"
XPS: Final = "application/vnd.ms-xpsdocument"
EPUB: Final = "application/epub+zip"
RTF: Final = "application/rtf"
DOC: Final = "application/msword"
XLS: Final = "application/vnd.ms-excel"
PPT: Final = "application/vnd.ms-powerpoint"

_ZIP_MARK: Final = b"PK\x03\x04"
_COMPOUND_MARK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_RTF_MARK = re.compile(rb"\{\\rtf[\d\\{}]")
# A stored first member of this name holds the type itself (OpenDocument part 2, section 3.3; EPUB OCF section 4.3).
_MIMETYPE = re.compile(rb"\APK\x03\x04.{26}mimetype(application/[a-z.+\-]+)", re.DOTALL)
# The same of a document that is a single XML file.
_FLAT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<office:document\s[^>]*?\boffice:mimetype=[\"'](application/[a-z.+\-]+)"
)
# A workbook of Excel 2003 in XML.
_XML_WORKBOOK = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?[^>]*>\s*)*<(?:ss:)?Workbook\s[^>]*[\"']urn:schemas-microsoft-com:office:spreadsheet[\"']"
)
# Names in the headers of members, as far as they are in view.
_MEMBER = re.compile(
    rb"PK\x03\x04.{26}(\[Content_Types\]\.xml|_rels/|docProps/|customXml/|Metadata/|word/|ppt/|xl/|visio/|Documents/\d)",
    re.DOTALL,
)
_FOLDERS: Final[Mapping[bytes, str]] = MappingProxyType(
    {b"word/": DOCX, b"ppt/": PPTX, b"xl/": XLSX, b"visio/": VSDX, b"Documents/": XPS}
)
_STREAMS: Final[Mapping[str, str]] = MappingProxyType(
    {"WordDocument": DOC, "PowerPoint Document": PPT, "Workbook": XLS, "Book": XLS}
)
_ENCRYPTED_STREAM: Final = "EncryptedPackage"
_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), DOCX),
        **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"), PPTX),
        **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm", ".xlsb"), XLSX),
        **dict.fromkeys((".vsdx", ".vsdm", ".vstx", ".vstm"), VSDX),
        **dict.fromkeys((".xps", ".oxps"), XPS),
        **dict.fromkeys((".odt", ".ott"), ODT),
        **dict.fromkeys((".ods", ".ots"), ODS),
        **dict.fromkeys((".odp", ".otp"), ODP),
        ".epub": EPUB,
        **dict.fromkeys((".doc", ".dot"), DOC),
        **dict.fromkeys((".xls", ".xlt"), XLS),
        **dict.fromkeys((".ppt", ".pps", ".pot"), PPT),
    }
)
_PACKAGES: Final = frozenset({DOCX, PPTX, XLSX, VSDX, XPS, ODT, ODS, ODP, EPUB})


def office_type(path: PurePath, head: bytes) -> str | None:
    """Media type of an office document or book by its first bytes; None for anything else.

    Where they leave it open (a large picture may come before everything that tells) the name decides, and the parser
    finds out.

    Raises:
        SourceEncrypted: a package of a newer program behind a password, which is kept in a compound file.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", errors="replace").encode()
    if _RTF_MARK.match(head):
        return RTF
    if (match := _FLAT.match(head)) is not None:
        return _open_document(match)
    if _XML_WORKBOOK.match(head):
        return XLS
    named = _SUFFIXES.get(path.suffix.lower())
    if head.startswith(_ZIP_MARK):
        return _package_type(head) or (named if named in _PACKAGES else None)
    if head.startswith(_COMPOUND_MARK):
        return _compound_type(path, head, named)
    return None


def _package_type(head: bytes) -> str | None:
    if (match := _MIMETYPE.match(head)) is not None:
        return _open_document(match) or (EPUB if match[1].decode("ascii") == EPUB else None)
    members = {match[1].rstrip(b"0123456789") for match in _MEMBER.finditer(head)}
    # Any archive may have a folder of such a name; only office packages keep these beside it.
    if members.isdisjoint({b"[Content_Types].xml", b"_rels/", b"docProps/", b"Metadata/"}):
        return None
    return next((kind for folder, kind in _FOLDERS.items() if folder in members), None)


def _open_document(match: re.Match[bytes]) -> str | None:
    kind = match[1].decode("ascii").removesuffix("-template")
    return kind if kind in {ODT, ODS, ODP} else None


def _compound_type(path: PurePath, head: bytes, named: str | None) -> str | None:
    if _utf16(_ENCRYPTED_STREAM) in head or named in _PACKAGES:
        raise SourceEncrypted(
            f"{path} is protected by a password.", hint="Save a copy without the password and ingest that."
        )
    found = next((kind for stream, kind in _STREAMS.items() if _utf16(stream) in head), None)
    return found or (named if named not in _PACKAGES else None)


def _utf16(name: str) -> bytes:
    # With the zero that ends it, so that no longer name begins with it.
    return f"{name}\x00".encode("utf-16-le")
