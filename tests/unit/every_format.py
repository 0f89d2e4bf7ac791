"""The same content as a file of each format that is read: what a test says of all of them, it says with these."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from html import escape
from itertools import chain
from textwrap import wrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from indexer import formats
from indexer.detection.images import AVIF, BMP, GIF, HEIF, JPEG, JPEG_2000, PNG, TIFF, WEBP
from indexer.detection.office import DOC, DOCX, EPUB, ODP, ODS, ODT, PPT, PPTX, RTF, VSDX, XLS, XLSX, XPS
from tests.unit import office_files as office
from tests.unit.mails import mail, tarred, zipped
from tests.unit.outlook_files import msg, outlook
from tests.unit.pdf_pages import make_pdf
from tests.unit.scripted_ocr import picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, kw_only=True)
class Content:
    """Sections (a heading, and paragraphs below it), then a table with its caption. No text has a line break."""

    sections: list[tuple[str, list[str]]]
    rows: list[list[str]]
    caption: str

    @property
    def lines(self) -> list[str]:
        """All of it, without a structure."""
        return [*chain.from_iterable([heading, *texts] for heading, texts in self.sections), *map(" ".join, self.rows)]

    @property
    def body(self) -> str:
        return "".join(f"{line}\n\n" for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a file of a format is named and made. ``worded``: the file itself holds the content's words."""

    name: str
    make: Callable[[Content], bytes | str]
    worded: bool = True

    def file(self, content: Content) -> bytes:
        made = self.make(content)
        return made.encode() if isinstance(made, str) else made


def _markdown(content: Content) -> str:
    parts = [f"{'#' * (1 + n % 3)} {h}\n\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    rows = [f"| {' | '.join(row)} |" for row in content.rows]
    table = "\n".join([*rows[:1], f"|{'---|' * len(content.rows[0])}", *rows[1:]])
    return "".join(parts) + f"{table}\n\nTable: {content.caption}\n"


def _html(content: Content) -> str:
    parts = [
        f"<h{1 + n % 3}>{escape(h)}</h{1 + n % 3}>" + "".join(f"<p>{escape(text)}</p>" for text in texts)
        for n, (h, texts) in enumerate(content.sections)
    ]
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in content.rows)
    table = f"<table><caption>{escape(content.caption)}</caption>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
    return "".join(parts) + table


def _rst(content: Content) -> str:
    parts = [f"{h}\n{'=-~'[n % 3] * max(4, len(h))}\n\n{_joined(t)}" for n, (h, t) in enumerate(content.sections)]
    table = f".. list-table:: {content.caption}\n\n" + "".join(f"   * - {row[0]}\n" for row in content.rows)
    return "".join(parts) + table


def _org(content: Content) -> str:
    parts = [f"{'*' * (1 + n % 3)} {h}\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in content.rows)
    return f"{''.join(parts)}#+CAPTION: {content.caption}\n{table}"


def _asciidoc(content: Content) -> str:
    parts = [f"{'=' * (1 + n % 3)} {h}\n\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    table = "".join(f"|{' |'.join(row)}\n" for row in content.rows)
    return f"{''.join(parts)}.{content.caption}\n|===\n{table}|===\n"


def _mediawiki(content: Content) -> str:
    parts = [
        f"{'=' * (1 + n % 3)} {h} {'=' * (1 + n % 3)}\n{_joined(texts)}"
        for n, (h, texts) in enumerate(content.sections)
    ]
    table = "".join(f"|-\n| {' || '.join(row)}\n" for row in content.rows)
    return f"{''.join(parts)}{{|\n|+ {content.caption}\n{table}|}}\n"


def _textile(content: Content) -> str:
    parts = [f"h{1 + n % 3}. {h}\n\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    return "".join(parts) + "".join(f"|{'|'.join(row)}|\n" for row in content.rows)


def _ofx(content: Content) -> str:
    rows = (f"<STMTTRN><DTPOSTED>20240301<NAME>{escape(line)}</STMTTRN>" for line in content.lines)
    return f"OFXHEADER:100\n<OFX>{''.join(rows)}</OFX>"


def _qif(content: Content) -> str:
    return "!Type:Bank\n" + "".join(f"D1/1/2024\nP{line}\n^\n" for line in content.lines)


def _excalidraw(content: Content) -> str:
    texts = [{"id": str(n), "type": "text", "text": line} for n, line in enumerate(content.lines)]
    return json.dumps({"type": "excalidraw", "elements": texts})


def _mind_map(content: Content) -> str:
    nodes = "".join(f"<node TEXT={quoteattr(_readable(line))}/>" for line in content.lines)
    return f'<map version="1.0.1"><node TEXT="Middle">{nodes}</node></map>'


def _manual_page(content: Content) -> str:
    parts = [f".SH {h}\n{''.join(f'.PP{chr(10)}{chr(92)}&{text}{chr(10)}' for text in t)}" for h, t in content.sections]
    return f".TH A 1\n{''.join(parts)}.TS\nl l.\n{''.join(chr(9).join(row) + chr(10) for row in content.rows)}.TE\n"


def _pod(content: Content) -> str:
    parts = [f"=head{1 + n % 3} {h}\n\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    items = "".join(f"=item {row[0]}\n\n{' '.join(row[1:])}\n\n" for row in content.rows)
    return f"{''.join(parts)}=over\n\n{items}=back\n"


def _texinfo(content: Content) -> str:
    sections = ("chapter", "section", "subsection")
    parts = [f"@{sections[n % 3]} {h}\n\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    rows = "".join(f"@item {' @tab '.join(row)}\n" for row in content.rows)
    return f"{''.join(parts)}@multitable {{a}} {{b}}\n{rows}@end multitable\n"


def _load_file(content: Content) -> str:
    return "þIDþ\x14þTextþ\n" + "".join(f"þ{n}þ\x14þ{line}þ\n" for n, line in enumerate(content.lines))


def _canvas(content: Content) -> str:
    return json.dumps({"nodes": [{"id": str(n), "text": line} for n, line in enumerate(content.lines)], "edges": []})


def _ris(content: Content) -> str:
    return "".join(f"TY  - JOUR\nTI  - {line}\nER  - \n" for line in content.lines)


def _latex(content: Content) -> str:
    parts = [f"\\{'sub' * (n % 3)}section{{{h}}}\n{_joined(texts)}" for n, (h, texts) in enumerate(content.sections)]
    rows = "\\\\\n".join(" & ".join(row) for row in content.rows)
    table = f"\\begin{{tabular}}{{ll}}{rows}\\end{{tabular}}"
    return "".join(parts) + f"\\begin{{table}}{table}\\caption{{{content.caption}}}\\end{{table}}\n"


def _separated(delimiter: str) -> Callable[[Content], str]:
    def make(content: Content) -> str:
        held = io.StringIO()
        csv.writer(held, delimiter=delimiter).writerows([*([*section[1], "x"] for section in content.sections)])
        csv.writer(held, delimiter=delimiter).writerows(content.rows)
        return held.getvalue()

    return make


def _json(content: Content) -> str:
    return json.dumps({"sections": [{"heading": h, "texts": texts} for h, texts in content.sections],
                       "rows": content.rows})  # fmt: skip


def _json_lines(content: Content) -> str:
    return "".join(f"{json.dumps({'heading': h, 'texts': texts})}\n" for h, texts in [*content.sections, ("", [])])


def _notebook(content: Content) -> str:
    cells = [
        cell
        for h, texts in content.sections
        for cell in (
            {"cell_type": "markdown", "source": f"# {h}\n\n{_joined(texts)}"},
            {"cell_type": "code", "source": f"print({texts!r})", "outputs": [{"text": texts}]},
        )
    ]
    return json.dumps({"cells": cells, "nbformat": 4})


def _xml(content: Content) -> str:
    parts = [
        f"<section><title>{escape(h)}</title>{''.join(f'<para>{escape(text)}</para>' for text in texts)}</section>"
        for h, texts in content.sections
    ]
    rows = ("".join(f"<entry>{escape(cell)}</entry>" for cell in row) for row in content.rows)
    table = f"<table><title>{escape(content.caption)}</title>{''.join(f'<row>{row}</row>' for row in rows)}</table>"
    return f"<?xml version='1.0'?><a>{''.join(parts)}{table}</a>"


def _cues(content: Content, mark: str, head: str = "") -> str:
    times = (f"00:{n // 60:02}:{n % 60:02}{mark}000" for n in range(0, 3600, 2))
    return head + "".join(f"{at} --> {at}\n{line}\n\n" for at, line in zip(times, content.lines, strict=False))


def _timed_text(content: Content) -> str:
    cues = "".join(f'<p begin="{2 * n}s" end="{2 * n + 1}s">{escape(line)}</p>' for n, line in enumerate(content.lines))
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{cues}</div></body></tt>'


def _ass(content: Content) -> str:
    rows = (f"Dialogue: 0,0:00:{n % 60:02}.00,0:00:59.00,S,,0,0,0,,{line}\n" for n, line in enumerate(content.lines))
    return "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n" + "".join(rows)


def _contacts(content: Content) -> str:
    return "".join(f"BEGIN:VCARD\nFN:{_escaped(line)}\nEND:VCARD\n" for line in content.lines)


def _calendar(content: Content) -> str:
    events = (f"BEGIN:VEVENT\nSUMMARY:{_escaped(line)}\nEND:VEVENT\n" for line in content.lines)
    return f"BEGIN:VCALENDAR\n{''.join(events)}END:VCALENDAR\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")


# How a function begins and ends, by language; and what begins a remark.
_FUNCTIONS = {
    "python": ("def f{}():", "    return 1", "#"), "javascript": ("function f{}() {{", "}", "//"),
    "typescript": ("function f{}(): void {{", "}", "//"), "tsx": ("function F{}() {{", "}", "//"),
    "java": ("class C{} {{", "}", "//"), "go": ("func f{}() {{", "}", "//"), "rust": ("fn f{}() {{", "}", "//"),
    "c": ("int f{}(void) {{", "}", "//"), "cpp": ("int f{}() {{", "}", "//"), "csharp": ("class C{} {{", "}", "//"),
    "ruby": ("def f{}", "end", "#"), "php": ("function f{}() {{", "}", "//"), "shell": ("f{}() {{", "}", "#"),
    "sql": ("CREATE TABLE f{} (", ");", "--"), "make": ("f{}: a", "\techo", "#"),
    "dockerfile": ("FROM a AS f{}", "RUN b", "#"), "source": ("[f{}]", "a = 1", "#"),
}  # fmt: skip
_SUFFIXES = dict(
    zip(_FUNCTIONS, "py js ts tsx java go rs c cpp cs rb php sh sql mk dockerfile ini".split(), strict=True)
)


def _code(language: str) -> Callable[[Content], str]:
    begin, end, mark = _FUNCTIONS[language]

    def wrapped(texts: list[str]) -> list[str]:
        return [line for text in texts for line in wrap(text, 500)]  # long lines are those of minified code

    def make(content: Content) -> str:
        head = "<?php\n" if language == "php" else ""
        parts = (
            f"{mark} {h}\n{begin.format(n)}\n"
            + "".join(f"    {mark} {line}\n" for line in wrapped(texts))
            + f"{end}\n\n"
            for n, (h, texts) in enumerate(content.sections)
        )
        return head + "".join(parts) + "".join(f"{mark} {' '.join(row)}\n" for row in content.rows)

    return make


def _mailbox(content: Content) -> bytes:
    messages = [mail(h or "x", f"{_joined(texts)}\n") for h, texts in (*content.sections, ("Rows", content.lines))]
    return b"".join(b"From a@b Mon Mar  2 10:00:00 2020\n" + bytes(message) + b"\n" for message in messages)


def _members(content: Content) -> dict[str, bytes]:
    return {"a.md": _markdown(content).encode(), "in/b.html": b"<html>" + _html(content).encode()}


def _pdf(content: Content) -> bytes:
    lines: list[tuple[str, int] | str] = []
    for heading, texts in content.sections:
        lines += [(_latin(heading[:40]), 16), "", *chain.from_iterable([_latin(text[:90]), ""] for text in texts)]
    lines += ["\t".join(_latin(cell)[:20] for cell in row) for row in content.rows]
    return make_pdf([lines[i : i + 25] for i in range(0, len(lines), 25)], title="t")


def _docx(content: Content) -> bytes:
    body = "".join(
        office.paragraph(h, f"H{1 + n % 3}") + "".join(map(office.paragraph, texts))
        for n, (h, texts) in enumerate(content.sections)
    )
    table = office.paragraph(content.caption, "C") + office.table(content.rows)
    named = {f"H{level}": f"heading {level}" for level in (1, 2, 3)}
    return office.docx(body + table, parts={"styles.xml": office.styles(**named, C="caption")})


def _pptx(content: Content) -> bytes:
    slides = [office.shape(h, kind="title") + "".join(map(office.shape, texts)) for h, texts in content.sections]
    return office.pptx([*slides, office.shape("\n".join(map(" ".join, content.rows)))])


def _xlsx(content: Content) -> bytes:
    sheets = {
        f"S{n}": {f"A{2 * i + 1}": text for i, text in enumerate(t)} for n, (_h, t) in enumerate(content.sections)
    }
    cells = {f"{chr(65 + c)}{r + 1}": text for r, row in enumerate(content.rows) for c, text in enumerate(row)}
    return office.xlsx({**sheets, "T": cells})


def _ods(content: Content) -> bytes:
    tables = [(f"S{n}", [[text] for text in texts]) for n, (_h, texts) in enumerate(content.sections)]
    return office.odf("spreadsheet", "".join(_odf_table(rows, name) for name, rows in [*tables, ("T", content.rows)]))


def _odf_table(rows: list[list[str]], name: str) -> str:
    cells = (
        "".join(
            f'<table:table-cell office:value-type="string"><text:p>{escape(cell)}</text:p></table:table-cell>'
            for cell in row
        )
        for row in rows
    )
    return (
        f'<table:table table:name="{name}">'
        + "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
        + "</table:table>"
    )


def _odt(content: Content) -> bytes:
    body = "".join(
        f'<text:h text:outline-level="{1 + n % 3}">{escape(h)}</text:h>'
        + "".join(f"<text:p>{escape(text)}</text:p>" for text in texts)
        for n, (h, texts) in enumerate(content.sections)
    )
    caption = f'<text:p text:style-name="Table">{escape(content.caption)}</text:p>'
    return office.odf("text", body + caption + _odf_table(content.rows, "T"))


def _odp(content: Content) -> bytes:
    def box(text: str, kind: str) -> str:
        inner = f"<draw:text-box><text:p>{escape(text)}</text:p></draw:text-box>"
        return f'<draw:frame presentation:class="{kind}">{inner}</draw:frame>'

    slides = (box(h, "title") + "".join(box(text, "outline") for text in texts) for h, texts in content.sections)
    table = f"<draw:page><draw:frame>{_odf_table(content.rows, 'T')}</draw:frame></draw:page>"
    return office.odf("presentation", "".join(f"<draw:page>{slide}</draw:page>" for slide in slides) + table)


def _rtf(content: Content) -> str:
    def shown(text: str) -> str:
        return "".join(c if c.isascii() and c not in "\\{}" else f"\\u{_signed(c)}?" for c in _narrow(text))

    rows = ("".join(f"{shown(cell)}\\cell " for cell in row) + "\\row\n" for row in content.rows)
    paragraphs = (f"{shown(line)}\\par\n" for line in content.lines)
    return "{\\rtf1\\ansi{\\fonttbl{\\f0 A;}} " + "".join(paragraphs) + "".join(rows) + "}"


def _doc(content: Content) -> bytes:
    # More paragraphs than these have no room in the one page of properties.
    lines = [_narrow(line) for line in content.lines[:14]]
    ends = [sum(map(len, lines[: n + 1])) + n for n in range(len(lines))]
    headings = {content.sections[0][0]: 1}
    styles = {end: bytes([headings[line], 0]) for end, line in zip(ends, lines, strict=True) if line in headings}
    return office.doc("".join(f"{line}\r" for line in lines), styles)


def _ppt(content: Content) -> bytes:
    return office.ppt([(_narrow(h), [_latin(text) for text in texts]) for h, texts in content.sections])


def _vsdx(content: Content) -> bytes:
    shapes = [office.visio_shape(n, line) for n, line in enumerate(content.lines)]
    return office.vsdx({"A": "".join(shapes), "B": "<Connects/>"}, title=content.caption)


def _xps(content: Content) -> bytes:
    lines = [office.glyphs(_readable(line), 90, 100 + 20 * n) for n, line in enumerate(content.lines)]
    return office.xps(["".join(lines[i : i + 40]) for i in range(0, len(lines), 40)])


def _readable(text: str) -> str:
    return escape("".join(c for c in text if c.isprintable()), quote=True)


def _drawio(content: Content) -> str:
    cells = "".join(f'<mxCell id="{n}" value={quoteattr(_readable(line))}/>' for n, line in enumerate(content.lines))
    return f'<mxfile><diagram name="A"><mxGraphModel><root>{cells}</root></mxGraphModel></diagram></mxfile>'


def _xls(content: Content) -> bytes:
    sheets = {f"S{n}": [[text] for text in texts] for n, (_h, texts) in enumerate(content.sections)}
    return office.xls({**sheets, "T": content.rows})


def _joined(texts: list[str]) -> str:
    return "".join(f"{text}\n\n" for text in texts)


def _narrow(text: str) -> str:
    """Without what takes two units of UTF-16."""
    return "".join(character for character in text if character <= "\uffff")


def _latin(text: str) -> str:
    return text.encode("latin-1", errors="replace").decode("latin-1")


def _signed(character: str) -> int:
    return ord(character) if ord(character) < 1 << 15 else ord(character) - (1 << 16)


def _cases() -> Iterator[tuple[str, Case]]:
    yield formats.TEXT, Case(name="a.txt", make=lambda content: content.body)
    yield formats.MARKDOWN, Case(name="a.md", make=_markdown)
    yield formats.HTML, Case(name="a.html", make=lambda content: f"<html><body>{_html(content)}</body></html>")
    yield formats.RST, Case(name="a.rst", make=_rst)
    yield formats.ORG, Case(name="a.org", make=_org)
    yield formats.ASCIIDOC, Case(name="a.adoc", make=_asciidoc)
    yield formats.MEDIAWIKI, Case(name="a.mediawiki", make=_mediawiki)
    yield formats.TEXTILE, Case(name="a.textile", make=_textile)
    yield formats.MIND_MAP, Case(name="a.mm", make=_mind_map)
    yield formats.MANUAL_PAGE, Case(name="a.1", make=_manual_page)
    yield formats.POD, Case(name="a.pod", make=_pod)
    yield formats.TEXINFO, Case(name="a.texi", make=_texinfo)
    yield formats.LOAD_FILE, Case(name="a.dat", make=_load_file)
    yield formats.EXCALIDRAW, Case(name="a.excalidraw", make=_excalidraw)
    yield formats.CANVAS, Case(name="a.canvas", make=_canvas)
    yield formats.REFERENCES, Case(name="a.ris", make=_ris)
    yield formats.OFX, Case(name="a.ofx", make=_ofx)
    yield formats.QIF, Case(name="a.qif", make=_qif)
    yield formats.LATEX, Case(name="a.tex", make=_latex)
    yield formats.CSV, Case(name="a.csv", make=_separated(","))
    yield formats.TSV, Case(name="a.tsv", make=_separated("\t"))
    yield formats.JSON, Case(name="a.json", make=_json)
    yield formats.JSON_LINES, Case(name="a.jsonl", make=_json_lines)
    yield formats.NOTEBOOK, Case(name="a.ipynb", make=_notebook)
    yield formats.XML, Case(name="a.xml", make=_xml)
    yield formats.DRAWIO, Case(name="a.drawio", make=_drawio)
    yield formats.SRT, Case(name="a.srt", make=lambda content: _cues(content, ","))
    yield formats.VTT, Case(name="a.vtt", make=lambda content: _cues(content, ".", "WEBVTT\n\n"))
    yield formats.TIMED_TEXT, Case(name="a.ttml", make=_timed_text)
    yield formats.ASS, Case(name="a.ass", make=_ass)
    yield formats.CONTACTS, Case(name="a.vcf", make=_contacts)
    yield formats.CALENDAR, Case(name="a.ics", make=_calendar)
    for language, suffix in _SUFFIXES.items():
        yield f"text/x-{language}", Case(name=f"a.{suffix}", make=_code(language))
    yield formats.MAIL, Case(name="a.eml", make=lambda content: bytes(mail("On rows", content.body)))
    yield formats.MAILBOX, Case(name="a.mbox", make=_mailbox)
    yield formats.OUTLOOK, Case(name="a.msg", make=lambda content: outlook(msg("On rows", content.body)))
    yield formats.ZIP, Case(name="a.zip", make=lambda content: zipped(dict(_members(content))))
    yield formats.TAR, Case(name="a.tar.gz", make=lambda c: tarred([(n, held, {}) for n, held in _members(c).items()]))
    yield formats.PDF, Case(name="a.pdf", make=_pdf)
    for media_type, suffix, make in (
        (DOCX, "docx", _docx), (PPTX, "pptx", _pptx), (XLSX, "xlsx", _xlsx), (ODT, "odt", _odt), (ODP, "odp", _odp),
        (ODS, "ods", _ods), (VSDX, "vsdx", _vsdx), (XPS, "xps", _xps), (DOC, "doc", _doc),
        (PPT, "ppt", _ppt), (XLS, "xls", _xls),
    ):  # fmt: skip
        yield media_type, Case(name=f"a.{suffix}", make=make)
    yield RTF, Case(name="a.rtf", make=_rtf)
    yield EPUB, Case(name="a.epub", make=lambda content: office.epub({"a.xhtml": _html(content)}))
    for media_type, form in (
        (PNG, "PNG"), (JPEG, "JPEG"), (TIFF, "TIFF"), (BMP, "BMP"), (WEBP, "WEBP"), (GIF, "GIF"),
        (JPEG_2000, "JPEG2000"), (AVIF, "AVIF"), (HEIF, "HEIF"),
    ):  # fmt: skip
        yield media_type, Case(name=f"a.{form.lower()}", make=lambda _, form=form: picture(form), worded=False)


CASES = dict(_cases())
