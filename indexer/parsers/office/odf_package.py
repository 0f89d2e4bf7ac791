"""The package around OpenDocument files; one that is a single XML file (fodt, fods, fodp) is a package of one part."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Final

from indexer.parsers.blocks import Title
from indexer.parsers.office.package import telling_title
from indexer.parsers.xml_parts import name_of, read_xml, top_elements
from indexer.parsers.zip_limits import LimitedZip
from rag.errors import SourceEncrypted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from lxml.etree import _Element

CONTENT: Final = "content.xml"
# The roots of both kinds.
ROOTS: Final = frozenset({"office:document-content", "office:document"})
_MANIFEST: Final = "META-INF/manifest.xml"
_META: Final = "meta.xml"
_ZIP_MARK: Final = b"PK"
_READ_BYTES: Final = 1 << 16
_PICTURE: Final = b"<office:binary-data>"
_PICTURE_DATA = re.compile(_PICTURE + rb"[^<]+")


def odf_package(file: BinaryIO) -> LimitedZip:
    """The package of a document. Raises as ``LimitedZip``."""
    flat = file.read(len(_ZIP_MARK)) != _ZIP_MARK
    file.seek(0)
    if not flat:
        return LimitedZip(file)
    package = BytesIO()
    with zipfile.ZipFile(package, "w") as archive, archive.open(CONTENT, "w") as part:
        part.writelines(_without_pictures(file))
    return LimitedZip(package)


def _without_pictures(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a single file without those of pictures, which may be longer than a text of XML."""
    tail = b""
    while data := file.read(_READ_BYTES):
        text = _PICTURE_DATA.sub(_PICTURE, tail + data)
        # The tag may go on in what comes, or the picture behind it.
        end = max(text.rfind(b"<"), len(text) - len(_PICTURE))
        yield text[:end]
        tail = text[end:]
    yield tail


def odf_title(archive: LimitedZip) -> Iterator[Title]:
    """The title in the document's properties. Looks first whether the document can be read at all."""
    if _MANIFEST in archive and b"encryption-data" in archive.read(_MANIFEST):
        raise SourceEncrypted(
            "This document is protected by a password.", hint="Save a copy without the password and ingest that."
        )
    meta: _Element | None = None
    if _META in archive:
        meta = read_xml(archive, _META)
    elif archive.names == [CONTENT]:  # properties come first in a single file
        meta = next(top_elements(archive, CONTENT, ROOTS), None)
    if meta is None:
        return
    element = next((e for e in meta.iter() if name_of(e.tag) == "dc:title"), None)
    if element is not None and (title := telling_title(element.text or "")):
        yield Title(text=title)
