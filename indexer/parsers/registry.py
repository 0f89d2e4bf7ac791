"""Which parser reads which media type, by name: parsers are imported only in the process that parses."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from indexer.formats import (
    ASS,
    CODE,
    CSV,
    HTML,
    JSON,
    JSON_LINES,
    LATEX,
    MAIL,
    MARKDOWN,
    NOTEBOOK,
    ORG,
    OUTLOOK,
    PDF,
    RST,
    SRT,
    TAR,
    TEXT,
    TSV,
    VTT,
    XML,
    ZIP,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from indexer.parsers.blocks import ContainerParser, Parser

# Bump when a parser yields other text for the same bytes: unchanged files are then read again.
PARSER_VERSION: Final = "plumbline-parsers-2"

# Source code that is split by its syntax.
LANGUAGES: Final = tuple("python javascript typescript tsx java go rust c cpp csharp ruby php shell".split())

PARSERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        TEXT: "indexer.parsers.text:parse_text",
        MARKDOWN: "indexer.parsers.markdown:parse_markdown",
        HTML: "indexer.parsers.html:parse_html",
        PDF: "indexer.parsers.pdf:parse_pdf",
        RST: "indexer.parsers.restructured_text:parse_rst",
        ORG: "indexer.parsers.org:parse_org",
        LATEX: "indexer.parsers.latex:parse_latex",
        CSV: "indexer.parsers.separated:parse_csv",
        TSV: "indexer.parsers.separated:parse_tsv",
        JSON: "indexer.parsers.json_data:parse_json",
        JSON_LINES: "indexer.parsers.json_data:parse_json_lines",
        NOTEBOOK: "indexer.parsers.notebook:parse_notebook",
        XML: "indexer.parsers.xml_data:parse_xml",
        SRT: "indexer.parsers.subtitles:parse_srt",
        VTT: "indexer.parsers.subtitles:parse_vtt",
        ASS: "indexer.parsers.subtitles:parse_ass",
        CODE: "indexer.parsers.source_code:parse_code",
        **{f"text/x-{language}": f"indexer.parsers.source_code:parse_{language}" for language in LANGUAGES},
        MAIL: "indexer.parsers.mail:parse_mail",
        OUTLOOK: "indexer.parsers.outlook:parse_outlook",
        ZIP: "indexer.parsers.zip_archive:parse_zip",
        TAR: "indexer.parsers.tar_archive:parse_tar",
    }
)


def load_parser(name: str) -> Parser | ContainerParser:
    """Import the parser that ``module:function`` names."""
    module, _, function = name.partition(":")
    return cast("Parser | ContainerParser", getattr(import_module(module), function))
