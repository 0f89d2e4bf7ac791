"""The formats that are read: their media types, and the endings of names that tell those made of text apart."""

from __future__ import annotations

from typing import Final

PDF: Final = "application/pdf"
HTML: Final = "text/html"
MARKDOWN: Final = "text/markdown"
TEXT: Final = "text/plain"

RST: Final = "text/x-rst"
MANUAL_PAGE: Final = "text/troff"
ORG: Final = "text/x-org"
ASCIIDOC: Final = "text/asciidoc"
MEDIAWIKI: Final = "text/x-mediawiki"
TEXTILE: Final = "text/x-textile"
POD: Final = "text/x-pod"
TEXINFO: Final = "text/x-texinfo"
LATEX: Final = "text/x-tex"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"
NOTEBOOK: Final = "application/x-ipynb+json"
XML: Final = "application/xml"
DRAWIO: Final = "application/vnd.jgraph.mxfile"
EXCALIDRAW: Final = "application/vnd.excalidraw+json"
MIND_MAP: Final = "application/x-freemind"
CANVAS: Final = "application/x-canvas+json"
REFERENCES: Final = "application/x-bibliography"
SRT: Final = "application/x-subrip"
VTT: Final = "text/vtt"
TIMED_TEXT: Final = "application/ttml+xml"
ASS: Final = "text/x-ssa"
CONTACTS: Final = "text/vcard"
CALENDAR: Final = "text/calendar"
OFX: Final = "application/x-ofx"
QIF: Final = "application/qif"
LOAD_FILE: Final = "application/x-concordance"
CODE: Final = "text/x-source"
MAIL: Final = "message/rfc822"
MAILBOX: Final = "application/mbox"
OUTLOOK: Final = "application/vnd.ms-outlook"
ZIP: Final = "application/zip"
TAR: Final = "application/x-tar"

# These may hold documents of their own; see docs/decisions/0023.
CONTAINERS: Final = frozenset({MAIL, MAILBOX, OUTLOOK, ZIP, TAR})

MARKDOWN_SUFFIXES: Final = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx", ".rmd", ".qmd", ".livemd"})
HTML_SUFFIXES: Final = frozenset({".html", ".htm", ".xhtml"})
# Without the line that says so they are XML all the same.
XML_SUFFIXES: Final = frozenset({".xml", ".svg", ".opml", ".rss", ".atom", ".kml", ".gpx", ".tei", ".dita", ".fb2"})
# Formats that are text and told by their names. Source code is by language: ``CODE`` is any other one.
SUFFIX_TYPES: Final = {
    **dict.fromkeys(MARKDOWN_SUFFIXES, MARKDOWN),
    ".rst": RST,
    ".rest": RST,
    ".org": ORG,
    **dict.fromkeys((".adoc", ".asciidoc", ".asc"), ASCIIDOC),
    **dict.fromkeys((".mediawiki", ".wiki"), MEDIAWIKI),
    ".textile": TEXTILE,
    ".pod": POD,
    **dict.fromkeys((".texi", ".texinfo", ".txi"), TEXINFO),
    ".tex": LATEX,
    **dict.fromkeys((".ltx", ".bbl", ".rnw"), LATEX),
    ".csv": CSV,
    ".tsv": TSV,
    ".tab": TSV,
    ".json": JSON,
    ".geojson": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".ipynb": NOTEBOOK,
    ".excalidraw": EXCALIDRAW,
    ".canvas": CANVAS,
    **dict.fromkeys((".bib", ".bibtex", ".ris", ".nbib", ".enw"), REFERENCES),
    **dict.fromkeys((".srt", ".sbv"), SRT),
    ".vtt": VTT,
    ".ass": ASS,
    ".ssa": ASS,
    **{
        f".{suffix}": f"text/x-{language}"
        for language, suffixes in {
            "python": "py pyi pyw",
            "javascript": "js mjs cjs jsx",
            "typescript": "ts mts cts",
            "tsx": "tsx",
            "java": "java",
            "go": "go",
            "rust": "rs",
            "c": "c h",
            "cpp": "cc cpp cxx hh hpp hxx",
            "csharp": "cs",
            "ruby": "rb",
            "php": "php",
            "shell": "sh bash",
            "sql": "sql",
            "make": "mk make",
            "dockerfile": "dockerfile",
            "source": "kt kts swift scala lua pl pm r jl hs ml ex exs erl clj dart groovy css scss less vue "
            "xsd xsl xslt dtd rng ps1 bat cmake gradle tf proto graphql zig nim v f90 f95 m asm s yaml yml toml "
            "ini cfg conf properties patch diff puml plantuml mmd dot gv sty cls do ado sps sas zsh fish awk tcl el "
            "lisp cljs fs fsx vb vbs pas adb ads vhd vhdl cu glsl hlsl wgsl sol svelte astro",
        }.items()
        for suffix in suffixes.split()
    },
}
# Formats that may hold blobs beside text, which their parsers leave out.
LOOSE: Final = frozenset(
    {
        HTML,
        MARKDOWN,
        XML,
        DRAWIO,
        TIMED_TEXT,
        EXCALIDRAW,
        CANVAS,
        MIND_MAP,
        JSON,
        JSON_LINES,
        NOTEBOOK,
        CSV,
        TSV,
        ORG,
        LATEX,
        CONTACTS,
        CALENDAR,
    }
)
PROSE: Final = frozenset({RST, ORG, MEDIAWIKI, TEXTILE, POD, TEXINFO, LATEX, ASS})
