"""Small office documents for tests, written part by part so that a test sees what the parser gets."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
W = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    f'xmlns:r="{OFFICE}" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
)
P = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    f'xmlns:r="{OFFICE}" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
)
X = f'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="{OFFICE}"'
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"'
    for name, path in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "style": "style",
        "presentation": "presentation",
        "fo": "xsl-fo-compatible",
    }.items()
)
CHART = (
    '<c:chartSpace xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><c:chart>'
    "<c:title><c:tx><c:rich><a:p><a:r><a:t>Ducks by year</a:t></a:r></a:p></c:rich></c:tx></c:title>"
    "<c:plotArea><c:barChart><c:ser><c:tx><c:strRef><c:strCache><c:pt idx='0'><c:v>Ducks</c:v></c:pt></c:strCache>"
    "</c:strRef></c:tx><c:cat><c:strRef><c:strCache><c:pt idx='0'><c:v>2019</c:v></c:pt>"
    "<c:pt idx='1'><c:v>2020</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache>"
    "<c:pt idx='0'><c:v>120</c:v></c:pt><c:pt idx='1'><c:v>0.10000000000000001</c:v></c:pt></c:numCache></c:numRef>"
    "</c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"
)


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """A ZIP file; a part named ``mimetype`` should come first and is stored as it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, compress_type=stored)
    return buffer.getvalue()


def rels(targets: Mapping[str, tuple[str, str]]) -> str:
    """A part of relations: id to (kind, target)."""
    inner = "".join(
        f'<Relationship Id="{key}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def _open_xml(main: str, parts: Mapping[str, str | bytes], title: str) -> bytes:
    core = (
        '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title></cp:coreProperties>'
    )
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
            "_rels/.rels": rels(
                {"r1": ("officeDocument", main), "r2": ("metadata/core-properties", "docProps/core.xml")}
            ),
            "docProps/core.xml": core,
            **parts,
        }
    )


def docx(body: str, *, title: str = "", parts: Mapping[str, str] | None = None) -> bytes:
    """A Word document. ``parts`` are further parts of the folder ``word`` by name, such as ``styles.xml``."""
    extra = parts or {}
    kinds = {f"r{i}": (name.partition(".")[0].rpartition("/")[2], name) for i, name in enumerate(extra)}
    return _open_xml(
        "word/document.xml",
        {
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": rels(kinds),
            **{f"word/{name}": content for name, content in extra.items()},
        },
        title,
    )


def vsdx(pages: Mapping[str, str], *, title: str = "") -> bytes:
    """A Visio drawing: the names of its pages, and their shapes (``visio_shape``) and connections."""
    visio = f'xmlns="http://schemas.microsoft.com/office/visio/2012/main" xmlns:r="{OFFICE}"'
    listed = "".join(f"<Page ID='{i}' Name='{name}'><Rel r:id='r{i}'/></Page>" for i, name in enumerate(pages))
    return _open_xml(
        "visio/document.xml",
        {
            "visio/document.xml": f"<VisioDocument {visio}/>",
            "visio/_rels/document.xml.rels": rels({"r1": ("pages", "pages/pages.xml")}),
            "visio/pages/pages.xml": f"<Pages {visio}>{listed}</Pages>",
            "visio/pages/_rels/pages.xml.rels": rels({f"r{i}": ("page", f"page{i}.xml") for i in range(len(pages))}),
            **{
                f"visio/pages/page{i}.xml": f"<PageContents {visio}>{content}</PageContents>"
                for i, content in enumerate(pages.values())
            },
        },
        title,
    )


def visio_shape(key: int, text: str, inner: str = "") -> str:
    return f"<Shape ID='{key}'><Text><cp IX='0'/>{escape(text)}\n</Text>{inner}</Shape>"


def xps(pages: Sequence[str], *, times: int = 1) -> bytes:
    """An XPS document of pages of 816 by 1056 units, which are given as glyphs (``glyphs``) and listed so often."""
    namespace = 'xmlns="http://schemas.microsoft.com/xps/2005/06"'
    listed = "".join(f'<PageContent Source="Pages/{i}.fpage"/>' for i in range(len(pages))) * times
    kind = "http://schemas.microsoft.com/xps/2005/06/fixedrepresentation"
    relation = f'<Relationship Id="r" Type="{kind}" Target="/FixedDocSeq.fdseq"/>'
    sequence = f'<FixedDocumentSequence {namespace}><DocumentReference Source="/Documents/1/FixedDoc.fdoc"/>'
    return zipped(
        {
            "[Content_Types].xml/[0].last.piece": f'<Types xmlns="{_PACKAGE}/content-types"/>',
            "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{relation}</Relationships>',
            "FixedDocSeq.fdseq": f"{sequence}</FixedDocumentSequence>",
            "Documents/1/FixedDoc.fdoc/[0].piece": f"<FixedDocument {namespace}>",
            "Documents/1/FixedDoc.fdoc/[1].last.piece": f"{listed}</FixedDocument>",
            **{
                f"Documents/1/Pages/{i}.fpage": f'<FixedPage {namespace} Width="816" Height="1056">{page}</FixedPage>'
                for i, page in enumerate(pages)
            },
        }
    )


def glyphs(text: str, x: float | str, y: float | str, *, size: float | str = 14, more: str = "") -> str:
    """A run with the advances of a font in which each character is half its size wide."""
    advances = ";".join(",50" for _ in text)
    return (
        f'<Glyphs OriginX="{x}" OriginY="{y}" FontRenderingEmSize="{size}" UnicodeString="{escape(text)}" '
        f'Indices="{advances}" {more}/>'
    )


def styles(**names: str) -> str:
    """Paragraph styles of Word: id to name."""
    each = "".join(
        f'<w:style w:type="paragraph" w:styleId="{key}"><w:name w:val="{name}"/></w:style>'
        for key, name in names.items()
    )
    return f"<w:styles {W}>{each}</w:styles>"


def paragraph(text: str, style: str = "", *, extra: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{extra}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def table(rows: Sequence[Sequence[str]]) -> str:
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def pptx(
    slides: Sequence[str], *, title: str = "", parts: Mapping[int, Mapping[str, tuple[str, str]]] | None = None
) -> bytes:
    """A presentation. ``parts`` are what a slide, counted from 1, refers to: part name to (kind, content)."""
    numbers = range(1, len(slides) + 1)
    listed = "".join(f'<p:sldId id="{255 + i}" r:id="r{i}"/>' for i in numbers)
    written: dict[str, str | bytes] = {
        "ppt/presentation.xml": f"<p:presentation {P}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": rels({f"r{i}": ("slide", f"slides/slide{i}.xml") for i in numbers}),
    }
    for i, shapes in zip(numbers, slides, strict=True):
        written[f"ppt/slides/slide{i}.xml"] = f"<p:sld {P}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        refers = (parts or {}).get(i, {})
        written[f"ppt/slides/_rels/slide{i}.xml.rels"] = rels(
            {f"x{n}": (kind, f"../{name}") for n, (name, (kind, _content)) in enumerate(refers.items())}
        )
        written.update({f"ppt/{name}": content for name, (_kind, content) in refers.items()})
    return _open_xml("ppt/presentation.xml", written, title)


def shape(text: str, *, kind: str = "", bullet: str = "") -> str:
    """A shape whose lines are paragraphs. ``kind`` is that of a placeholder; ``bullet`` an element such as buChar."""
    place = f'<p:nvPr><p:ph type="{kind}"/></p:nvPr>' if kind else "<p:nvPr/>"
    properties = f"<a:pPr><a:{bullet}/></a:pPr>" if bullet else ""
    lines = "".join(f"<a:p>{properties}<a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f"<p:sp><p:nvSpPr>{place}</p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"


def xlsx(
    sheets: Mapping[str, Mapping[str, str | float]],
    *,
    merged: str = "",
    title: str = "",
    parts: Mapping[str, tuple[str, str]] | None = None,
    styles: str = "",
    look: Mapping[str, int] | None = None,
) -> bytes:
    """A workbook: sheet to cells by their names, such as ``B2``, and those to their styles.

    ``parts`` are further ones by name: (kind, content), with a kind where the first sheet refers to them.
    """
    numbered = list(enumerate(sheets.items(), start=1))
    listed = "".join(f'<sheet name="{escape(name)}" sheetId="{i}" r:id="r{i}"/>' for i, (name, _cells) in numbered)
    targets = {f"r{i}": ("worksheet", f"worksheets/sheet{i}.xml") for i, _ in numbered}
    written: dict[str, str | bytes] = {
        "xl/workbook.xml": f"<workbook {X}><sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": rels(targets | ({"s": ("styles", "styles.xml")} if styles else {})),
        **({"xl/styles.xml": styles} if styles else {}),
    }
    for i, (_name, cells) in numbered:
        joins = f'<mergeCells><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
        written[f"xl/worksheets/sheet{i}.xml"] = (
            f"<worksheet {X}><sheetData>{_rows(cells, look or {})}</sheetData>{joins}</worksheet>"
        )
    refers = {f"x{n}": (kind, f"../{name}") for n, (name, (kind, _content)) in enumerate((parts or {}).items()) if kind}
    written["xl/worksheets/_rels/sheet1.xml.rels"] = rels(refers)
    written.update({f"xl/{name}": content for name, (_kind, content) in (parts or {}).items()})
    return _open_xml("xl/workbook.xml", written, title)


def _rows(cells: Mapping[str, str | float], look: Mapping[str, int]) -> str:
    rows: dict[int, list[str]] = {}
    for name, value in cells.items():
        number = int(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        style = f' s="{look[name]}"' if name in look else ""
        if isinstance(value, str):
            cell = f'<c r="{name}"{style} t="inlineStr"><is><t>{escape(value)}</t></is></c>'
        else:
            cell = f'<c r="{name}"{style}><v>{value}</v></c>'
        rows.setdefault(number, []).append(cell)
    return "".join(f'<row r="{number}">{"".join(row)}</row>' for number, row in rows.items())


def odf(
    kind: str,
    body: str,
    *,
    styles: str = "",
    title: str = "",
    manifest: str = "",
    parts: Mapping[str, str] | None = None,
) -> bytes:
    """An OpenDocument file of a kind: text or presentation; ``parts`` are further ones by name."""
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "meta.xml": '<m xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>' + escape(title) + "</dc:title></m>",
            "META-INF/manifest.xml": f"<manifest>{manifest}</manifest>",
            "content.xml": f"<office:document-content {ODF}><office:automatic-styles>{styles}"
            f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body>"
            "</office:document-content>",
            **(parts or {}),
        }
    )


def epub(
    chapters: Mapping[str, str],
    *,
    title: str = "A book",
    contents: Mapping[str, str] | None = None,
    contents_page: str = "",
) -> bytes:
    """A book: file name to XHTML body. ``contents`` names places in the table of EPUB 2; that of EPUB 3 is a page."""
    items = "".join(f'<item id="{name}" href="{name}" media-type="application/xhtml+xml"/>' for name in chapters)
    order = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    points = "".join(
        f'<navPoint><navLabel><text>{escape(label)}</text></navLabel><content src="{place}"/></navPoint>'
        for place, label in (contents or {}).items()
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="in/a.opf"/></rootfiles></container>',
            "in/a.opf": f'<package><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}'
            f'</dc:title></metadata><manifest>{items}<item id="ncx" href="toc.ncx" '
            f'media-type="application/x-dtbncx+xml"/><item id="nav" href="nav.xhtml" properties="nav" '
            f'media-type="application/xhtml+xml"/></manifest><spine>{order}</spine></package>',
            "in/toc.ncx": f"<ncx><navMap>{points}</navMap></ncx>",
            "in/nav.xhtml": contents_page,
            **{f"in/{name}": f"<html><body>{body}</body></html>" for name, body in chapters.items()},
        }
    )


def compound(streams: Mapping[str, bytes]) -> bytes:
    """A compound file (MS-CFB, version 3). Streams are padded to 4096 bytes, from where they have whole sectors."""
    free, end = 0xFFFFFFFF, 0xFFFFFFFE
    padded = {name: content.ljust(max(4096, -(-len(content) // 512) * 512), b"\0") for name, content in streams.items()}
    directory_sectors = -(-(len(padded) + 1) // 4)
    table = [0xFFFFFFFD, *range(2, 1 + directory_sectors), end]
    entries = [("Root Entry", 5, 1, free, end, 0)]
    body = b""
    for number, (name, content) in enumerate(padded.items(), start=1):
        first, count = len(table), len(content) // 512
        table += [*range(first + 1, first + count), end]
        right = number + 1 if number < len(padded) else free
        entries.append((name, 2, free, right, first, len(content)))
        body += content
    directory = b""
    for name, kind, child, right, first, size in entries:
        encoded = name.encode("utf-16-le") + b"\0\0"
        directory += encoded.ljust(64, b"\0") + struct.pack("<HBBIII", len(encoded), kind, 1, free, right, child)
        directory += bytes(36) + struct.pack("<III", first, size, 0)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<9I", 0, 1, 1, 0, 4096, end, 0, end, 0) + struct.pack("<I", 0)
    header += struct.pack("<I", free) * 108
    sectors = struct.pack(f"<{len(table)}I", *table).ljust(512, b"\xff")
    return header + sectors + directory.ljust(512 * directory_sectors, b"\0") + body


def doc(text: str, properties: Mapping[int, bytes] | None = None, *, flags: int = 0, version: int = 0xC1) -> bytes:
    """A Word 97 document; ``properties`` are a paragraph's style and instructions, by the place of its mark."""
    start = 2048
    data = text.encode("utf-16-le")
    marks = [i for i, character in enumerate(text) if character in "\r\x07\x0c"]
    head = bytearray(1024)
    struct.pack_into("<HH", head, 0, 0xA5EC, version)
    struct.pack_into("<H", head, 0x0A, flags | 0x0200)
    struct.pack_into("<7i", head, 0x4C, len(text), 0, 0, 0, 0, 0, 0)
    struct.pack_into("<2I", head, 0x0102, 0, 12)
    struct.pack_into("<2I", head, 0x01A2, 12, 5 + 8 + 8)
    page = bytearray(512)
    ends = [start + 2 * (mark + 1) for mark in marks]
    struct.pack_into(f"<{len(ends) + 1}I", page, 0, start, *ends)
    place = 510
    for i, mark in enumerate(marks):
        own = (properties or {}).get(mark, b"\0\0")
        own = own if len(own) % 2 else own + b"\0"
        place -= len(own) + 1 + (len(own) + 1) % 2
        page[place : place + 1 + len(own)] = bytes([(len(own) + 1) // 2]) + own
        page[4 * (len(marks) + 1) + 13 * i] = place // 2
    page[511] = len(marks)
    pages = struct.pack("<3I", start, ends[-1] if ends else start, 2)
    clx = b"\x02" + struct.pack("<I", 16) + struct.pack("<2I", 0, len(text)) + struct.pack("<HIH", 0, start, 0)
    document = bytes(head) + bytes(page) + bytes(512) + data
    return compound({"WordDocument": document, "1Table": pages + clx})


def record(kind: int, content: bytes, *, instance: int = 0, container: bool = False) -> bytes:
    """A record of a PowerPoint 97 presentation."""
    return struct.pack("<HHI", instance << 4 | (0xF if container else 0), kind, len(content)) + content


def cells_of_ppt(cells: Mapping[tuple[int, int, int, int], str]) -> bytes:
    """A table of a PowerPoint 97 slide: left, top, right and bottom of each cell, and its text."""
    shapes = record(0xF004, record(0xF122, struct.pack("<HI", 0x039F, 1), instance=1), container=True)
    for place, text in cells.items():
        anchor = record(0xF00F, struct.pack("<4i", *place))
        box = record(0xF00D, record(0x0FA8, text.encode("latin-1")), container=True)
        shapes += record(0xF004, anchor + box, container=True)
    return record(0xF003, shapes, container=True)


def ppt(slides: Sequence[tuple[str, Sequence[str]]], *, encrypted: bool = False, table: bytes = b"") -> bytes:
    """A PowerPoint 97 presentation: titles in the outline, further texts and a table in shapes of each slide."""
    outline, stream, offsets = b"", b"", []
    for number, (title, texts) in enumerate(slides):
        outline += record(0x03F3, struct.pack("<5I", number + 2, 0, 0, 256 + number, 0))
        shapes = b""
        if title:
            outline += record(0x0F9F, struct.pack("<I", 0)) + record(0x0FA0, title.encode("utf-16-le"))
            shapes += _textbox(record(0x0F9E, struct.pack("<I", 0)))
        for text in texts:
            kind = record(0x0F9F, struct.pack("<I", 1))
            shapes += _textbox(kind + record(0x0FA8, text.replace("\n", "\r").encode("latin-1")))
        # A slide number, which repeats on every slide.
        shapes += _textbox(record(0x0FA8, b"number"), record(0x0BC3, struct.pack("<IBBH", 0, 8, 0, 0)))
        offsets.append(len(stream))
        stream += record(0x03EE, record(0x040C, shapes + table, container=True), container=True)
    offsets.insert(0, len(stream))
    stream += record(0x03E8, record(0x0FF0, outline, container=True), container=True)
    directory = len(stream)
    stream += record(0x1772, struct.pack(f"<{1 + len(offsets)}I", len(offsets) << 20 | 1, *offsets))
    edit = len(stream)
    stream += record(0x0FF5, struct.pack("<7I", 0, 0, 0, directory, 1, 0, 0))
    user = record(0x0FF6, struct.pack("<III", 20, 0xF3D1C4DF if encrypted else 0xE391C05F, edit))
    return compound({"Current User": user, "PowerPoint Document": stream})


def _textbox(text: bytes, client: bytes = b"") -> bytes:
    inside = record(0xF00D, text, container=True) + (record(0xF011, client, container=True) if client else b"")
    return record(0xF004, inside, container=True)


def xls(sheets: Mapping[str, Sequence[Sequence[str]]]) -> bytes:
    """An Excel 97 workbook (BIFF8): the rows of each sheet, every cell a text of its own."""
    begin, end = struct.pack("<HHHHHHII", 0x0809, 16, 0x0600, 0x0005, 0, 0, 0, 6), struct.pack("<HH", 0x000A, 0)
    bodies = [_biff_sheet(rows) for rows in sheets.values()]
    names = [_biff_text(name[:31], "<BB") for name in sheets]
    start = len(begin) + sum(4 + 6 + len(name) for name in names) + len(end)
    listed = b""
    for name, body in zip(names, bodies, strict=True):
        listed += struct.pack("<HHIH", 0x0085, 6 + len(name), start, 0) + name
        start += len(body)
    return compound({"Workbook": begin + listed + end + b"".join(bodies)})


def _biff_sheet(rows: Sequence[Sequence[str]]) -> bytes:
    body = struct.pack("<HHHHHHII", 0x0809, 16, 0x0600, 0x0010, 0, 0, 0, 6)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            text = _biff_text(cell, "<HB")
            body += struct.pack("<HHHHH", 0x0204, 6 + len(text), number, column, 0) + text
    return body + struct.pack("<HH", 0x000A, 0)


def _biff_text(text: str, head: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack(head, len(data) // 2, 1) + data


def styled_xls(
    codes: Mapping[int, str],
    styles: Sequence[int],
    rows: Sequence[Sequence[tuple[float, int]]],
    *,
    old: bool = False,
    encrypted: bool = False,
) -> bytes:
    """A workbook of Excel 97, or of 95: formats by their numbers, which of them each style has, numbers with styles.

    ``encrypted``: it says so, and is not.
    """
    version = 0x0500 if old else 0x0600
    head = biff(0x0809, struct.pack("<HHHHII", version, 5, 0, 0, 0, 6)[: 8 if old else 16])
    texts = {
        number: struct.pack("<B", len(code)) + code.encode("cp1252") if old else _biff_text(code, "<HB")
        for number, code in codes.items()
    }
    book = head + (biff(0x002F, bytes(54)) if encrypted else b"")
    book += biff(0x0042, struct.pack("<H", 1252 if old else 1200))
    book += b"".join(biff(0x041E, struct.pack("<H", number) + text) for number, text in texts.items())
    book += b"".join(biff(0x00E0, struct.pack("<HH", 0, number).ljust(16 if old else 20, b"\0")) for number in styles)
    name = b"\x01S" if old else _biff_text("S", "<BB")
    end = biff(0x000A, b"")
    start = len(book) + 4 + 6 + len(name) + len(end)
    cells = head
    for number, row in enumerate(rows):
        if number % 2:  # numbers of a row in one record
            pairs = b"".join(struct.pack("<Hi", style, int(value * 100) << 2 | 3) for value, style in row)
            cells += biff(0x00BD, struct.pack("<HH", number, 0) + pairs + struct.pack("<H", len(row) - 1))
            continue
        for column, (value, style) in enumerate(row):
            cells += biff(0x0203, struct.pack("<HHHd", number, column, style, value))
    chart = head + biff(0x0203, struct.pack("<HHHd", 0, 0, 1, 7)) + end
    sheet = biff(0x0085, struct.pack("<IH", start, 0) + name)
    return compound({"Book" if old else "Workbook": book + sheet + end + cells + chart + end})


def biff(kind: int, data: bytes) -> bytes:
    """A record of an Excel workbook."""
    return struct.pack("<HH", kind, len(data)) + data


def xlsb(
    codes: Mapping[int, str], styles: Sequence[int], rows: Sequence[Sequence[tuple[float, int]]], *, short: bool = False
) -> bytes:
    """As ``styled_xls``, in Excel's newer binary form; ``short``: cells right of others say no column."""
    formats = b"".join(_xlsb(44, struct.pack("<H", number) + _wide(code)) for number, code in codes.items())
    used = b"".join(_xlsb(47, struct.pack("<HH", 0, number).ljust(16, b"\0")) for number in styles)
    cells = b"".join(
        _xlsb(0, struct.pack("<I", number))
        + b"".join(
            _xlsb(16, struct.pack("<Id", style, value))
            if short and column
            else _xlsb(5, struct.pack("<IId", column, style, value))
            for column, (value, style) in enumerate(row)
        )
        for number, row in enumerate(rows)
    )
    size = struct.pack("<4I", 0, len(rows) - 1, 0, max(map(len, rows)) - 1)
    parts = {
        "xl/workbook.bin": _xlsb(156, struct.pack("<II", 0, 1) + _wide("r1") + _wide("S")) + _xlsb(144) + _xlsb(132),
        "xl/_rels/workbook.bin.rels": rels(
            {"r1": ("worksheet", "worksheets/sheet1.bin"), "r2": ("styles", "styles.bin")}
        ),
        "xl/styles.bin": _xlsb(615, struct.pack("<I", len(codes))) + formats + _xlsb(616)
        + _xlsb(626) + _xlsb(47, bytes(16)) + _xlsb(627)
        + _xlsb(617, struct.pack("<I", len(styles))) + used + _xlsb(618),
        "xl/worksheets/sheet1.bin": _xlsb(129) + _xlsb(148, size) + _xlsb(145) + cells + _xlsb(146) + _xlsb(130),
    }  # fmt: skip
    return _open_xml("xl/workbook.bin", parts, "")


def _xlsb(kind: int, data: bytes = b"") -> bytes:
    return _xlsb_number(kind) + _xlsb_number(len(data)) + data


def _xlsb_number(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")
