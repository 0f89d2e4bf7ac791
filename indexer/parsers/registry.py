"""Which parser reads which media type, by name: parsers are imported only in the process that parses."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from indexer.detection import HTML, MARKDOWN, PDF, TEXT
from indexer.image_detection import BMP, JPEG, PNG, TIFF, WEBP
from indexer.office_detection import DOC, DOCX, EPUB, ODP, ODS, ODT, PPT, PPTX, RTF, XLS, XLSX
from indexer.parsers.ocr import ocr_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from indexer.parsers.blocks import Parser

# Bump when a parser yields other text for the same bytes: unchanged files are then read again.
# With text recognition installed, scanned pages that were left out before are found.
PARSER_VERSION: Final = "plumbline-parsers-2" + ("+ocr" if ocr_installed() else "")

PARSERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        TEXT: "indexer.parsers.text:parse_text",
        MARKDOWN: "indexer.parsers.markdown:parse_markdown",
        HTML: "indexer.parsers.html:parse_html",
        PDF: "indexer.parsers.pdf:parse_pdf",
        DOCX: "indexer.parsers.docx:parse_docx",
        PPTX: "indexer.parsers.pptx:parse_pptx",
        XLSX: "indexer.parsers.spreadsheet:parse_spreadsheet",
        XLS: "indexer.parsers.spreadsheet:parse_spreadsheet",
        DOC: "indexer.parsers.doc:parse_doc",
        PPT: "indexer.parsers.ppt:parse_ppt",
        RTF: "indexer.parsers.rtf:parse_rtf",
        EPUB: "indexer.parsers.epub:parse_epub",
        ODT: "indexer.parsers.odf:parse_odt",
        ODP: "indexer.parsers.odf:parse_odp",
        ODS: "indexer.parsers.spreadsheet:parse_spreadsheet",
        **dict.fromkeys((PNG, JPEG, TIFF, BMP, WEBP), "indexer.parsers.image:parse_image"),
    }
)


def load_parser(name: str) -> Parser:
    """Import the parser that ``module:function`` names."""
    module, _, function = name.partition(":")
    return cast("Parser", getattr(import_module(module), function))
