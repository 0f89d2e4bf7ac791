"""Which parser reads which media type, by name: parsers are imported only in the process that parses."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from indexer.detection.images import AVIF, BMP, GIF, HEIF, JPEG, JPEG_2000, PNG, TIFF, WEBP
from indexer.detection.office import DOC, DOCX, EPUB, ODP, ODS, ODT, PPT, PPTX, RTF, VSDX, XLS, XLSX, XPS
from indexer.formats import (
    ASCIIDOC,
    ASS,
    CALENDAR,
    CANVAS,
    CODE,
    CONTACTS,
    CSV,
    DRAWIO,
    EXCALIDRAW,
    HTML,
    JSON,
    JSON_LINES,
    LATEX,
    LOAD_FILE,
    MAIL,
    MAILBOX,
    MANUAL_PAGE,
    MARKDOWN,
    MEDIAWIKI,
    MIND_MAP,
    NOTEBOOK,
    OFX,
    ORG,
    OUTLOOK,
    PDF,
    POD,
    QIF,
    REFERENCES,
    RST,
    SRT,
    TAR,
    TEXINFO,
    TEXT,
    TEXTILE,
    TIMED_TEXT,
    TSV,
    VTT,
    XML,
    ZIP,
)
from indexer.parsers.ocr import ocr_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from indexer.parsers.blocks import ContainerParser, Parser

# Bump when a parser yields other text for the same bytes: unchanged files are then read again.
# With text recognition installed, scanned pages that were left out before are found.
PARSER_VERSION: Final = "plumbline-parsers-16" + ("+ocr" if ocr_installed() else "")

# Source code that is split by its syntax, the last three by their lines.
LANGUAGES: Final = tuple(
    "python javascript typescript tsx java go rust c cpp csharp ruby php shell sql make dockerfile".split()
)

PARSERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        TEXT: "indexer.parsers.text:parse_text",
        MARKDOWN: "indexer.parsers.markdown.parser:parse_markdown",
        HTML: "indexer.parsers.html.parser:parse_html",
        PDF: "indexer.parsers.pdf.parser:parse_pdf",
        DOCX: "indexer.parsers.office.docx:parse_docx",
        PPTX: "indexer.parsers.office.pptx:parse_pptx",
        VSDX: "indexer.parsers.office.visio:parse_vsdx",
        XPS: "indexer.parsers.xps:parse_xps",
        XLSX: "indexer.parsers.office.spreadsheet:parse_spreadsheet",
        XLS: "indexer.parsers.office.spreadsheet:parse_spreadsheet",
        DOC: "indexer.parsers.office.doc:parse_doc",
        PPT: "indexer.parsers.office.ppt:parse_ppt",
        RTF: "indexer.parsers.office.rtf:parse_rtf",
        EPUB: "indexer.parsers.epub:parse_epub",
        ODT: "indexer.parsers.office.odf:parse_odt",
        ODP: "indexer.parsers.office.odf:parse_odp",
        ODS: "indexer.parsers.office.odf_sheets:parse_ods",
        **dict.fromkeys((PNG, JPEG, TIFF, BMP, WEBP, GIF, JPEG_2000, AVIF, HEIF), "indexer.parsers.image:parse_image"),
        RST: "indexer.parsers.restructured_text:parse_rst",
        MANUAL_PAGE: "indexer.parsers.manual.page:parse_manual_page",
        ORG: "indexer.parsers.org:parse_org",
        ASCIIDOC: "indexer.parsers.asciidoc.parser:parse_asciidoc",
        MEDIAWIKI: "indexer.parsers.mediawiki.parser:parse_mediawiki",
        TEXTILE: "indexer.parsers.textile:parse_textile",
        POD: "indexer.parsers.pod:parse_pod",
        TEXINFO: "indexer.parsers.texinfo.parser:parse_texinfo",
        LATEX: "indexer.parsers.latex.parser:parse_latex",
        CSV: "indexer.parsers.separated.parser:parse_csv",
        TSV: "indexer.parsers.separated.parser:parse_tsv",
        JSON: "indexer.parsers.json_data:parse_json",
        JSON_LINES: "indexer.parsers.json_data:parse_json_lines",
        NOTEBOOK: "indexer.parsers.notebook:parse_notebook",
        XML: "indexer.parsers.xml_data:parse_xml",
        DRAWIO: "indexer.parsers.drawings.drawio:parse_drawio",
        EXCALIDRAW: "indexer.parsers.drawings.boards:parse_excalidraw",
        CANVAS: "indexer.parsers.drawings.boards:parse_canvas",
        MIND_MAP: "indexer.parsers.drawings.mind_map:parse_mind_map",
        REFERENCES: "indexer.parsers.references:parse_references",
        TIMED_TEXT: "indexer.parsers.subtitles.timed_text:parse_timed_text",
        SRT: "indexer.parsers.subtitles.parser:parse_srt",
        VTT: "indexer.parsers.subtitles.parser:parse_vtt",
        ASS: "indexer.parsers.subtitles.parser:parse_ass",
        **dict.fromkeys((CONTACTS, CALENDAR), "indexer.parsers.cards:parse_cards"),
        LOAD_FILE: "indexer.parsers.load_file:parse_load_file",
        OFX: "indexer.parsers.bank_statements:parse_ofx",
        QIF: "indexer.parsers.bank_statements:parse_qif",
        CODE: "indexer.parsers.code.parser:parse_code",
        **{f"text/x-{language}": f"indexer.parsers.code.parser:parse_{language}" for language in LANGUAGES},
        MAIL: "indexer.parsers.mail.message:parse_mail",
        MAILBOX: "indexer.parsers.mail.mailbox:parse_mailbox",
        OUTLOOK: "indexer.parsers.mail.outlook:parse_outlook",
        ZIP: "indexer.parsers.archives.zip:parse_zip",
        TAR: "indexer.parsers.archives.tar:parse_tar",
    }
)


def load_parser(name: str) -> Parser | ContainerParser:
    """Import the parser that ``module:function`` names."""
    module, _, function = name.partition(":")
    return cast("Parser | ContainerParser", getattr(import_module(module), function))
