"""Small PDF files for tests, made with ReportLab."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from reportlab.lib import pdfencrypt
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MARGIN = 72
_LEADING = 14


def make_pdf(
    pages: list[list[tuple[str, int] | str]],
    *,
    title: str = "",
    encrypted: bool = False,
    header: str = "",
    footer: str = "",
) -> bytes:
    """A page is a list of lines: a text in 10 points, or a text with its size. An empty text is a gap.

    ``{page}`` in header and footer stands for the page's number.
    """
    buffer = io.BytesIO()
    encrypt = pdfencrypt.StandardEncryption("opensesame", strength=128) if encrypted else None
    canvas = Canvas(buffer, pagesize=A4, invariant=1, encrypt=encrypt)
    if title:
        canvas.setTitle(title)
    for number, lines in enumerate(pages, start=1):
        y = A4[1] - 100
        if header:
            canvas.setFont("Helvetica", 8)
            canvas.drawString(_MARGIN, A4[1] - 40, header.replace("{page}", str(number)))
        for line in lines:
            text, size = (line, 10) if isinstance(line, str) else line
            if text:
                canvas.setFont("Helvetica-Bold" if size > 10 else "Helvetica", size)
                for cell, column in zip(text.split("\t"), range(4), strict=False):
                    canvas.drawString(_MARGIN + 130 * column, y, cell)
            y -= max(_LEADING, size * 1.4)
        if footer:
            canvas.setFont("Helvetica", 8)
            canvas.drawString(_MARGIN, 40, footer.replace("{page}", str(number)))
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def make_image_pdf() -> bytes:
    """A page with a drawing and no text, as a scanner would make it."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.rect(100, 100, 300, 300, fill=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def drawn_pdf(*pages: Callable[[Canvas], None], encrypt: pdfencrypt.StandardEncryption | None = None) -> bytes:
    """Pages of A4 that are drawn by functions."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1, encrypt=encrypt)
    for draw in pages:
        canvas.setFont("Helvetica", 10)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def text_lines(canvas: Canvas, lines: Iterable[str], *, x: float = 72, y: float = 700, step: float = 12) -> None:
    """Draw lines below each other, in the font that is set."""
    for line in lines:
        canvas.drawString(x, y, line)
        y -= step


def long_pdf(count: int, lines: int = 36) -> Iterator[bytes]:
    """Pieces of a PDF of ``count`` pages of text with their numbers, written by hand: ReportLab takes minutes."""
    offsets = []
    position = 0

    def piece(text: str, *, is_object: bool = True) -> bytes:
        nonlocal position
        if is_object:
            offsets.append(position)
            text = f"{len(offsets)} 0 obj{text}endobj\n"
        content = text.encode("ascii")
        position += len(content)
        return content

    yield piece("%PDF-1.7\n", is_object=False)
    yield piece("<</Type/Catalog/Pages 2 0 R>>")
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(count))
    yield piece(f"<</Type/Pages/Count {count}/Kids[{kids}]/MediaBox[0 0 595 842]/Resources<</Font<</F 3 0 R>>>>>>")
    yield piece("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    for number in range(1, count + 1):
        yield piece(f"<</Type/Page/Parent 2 0 R/Contents {len(offsets) + 2} 0 R>>")
        shown = "".join(
            f"(Line {index} of page {number} says nothing that has not been said.)'" for index in range(lines)
        )
        drawn = f"BT /F 10 Tf 14 TL 72 700 Td {shown} ET"
        yield piece(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream\n")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(offsets) + 1}/Root 1 0 R>>\n"
    yield piece(f"{end}startxref\n{position}\n%%EOF", is_object=False)


def mapped_pdf(*mappings: str, title: str = "()", shown: str = "what nobody can know") -> bytes:
    """A page whose font says which characters its codes are, as the ranges of a ToUnicode map do.

    Code 14 is as wide as an ffi is. Readers make the missing table of objects anew.
    """
    drawn = f"BT /F 12 Tf 72 700 Td ({shown}) Tj ET".encode("ascii")
    cmap = b"begincmap 1 begincodespacerange <00> <FF> endcodespacerange"
    cmap += f" {len(mappings)} beginbfrange {' '.join(mappings)} endbfrange endcmap".encode("ascii")
    widths = f"/FirstChar 14/LastChar 126/Widths[833 {'500 ' * 112}]".encode("ascii")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R" + widths + b">>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(cmap), cmap),
    ]
    numbered = b"".join(b"%d 0 obj%s endobj\n" % (number, body) for number, body in enumerate(objects, start=1))
    return b"%PDF-1.7\n" + numbered + b"trailer<</Root 1 0 R/Info<</Title" + title.encode("ascii") + b">>>>\n%%EOF"


def xfa_pdf(*texts: str) -> bytes:
    """Pages of a line each in a file whose form is in XFA, which viewers make the pages from."""
    kids = " ".join(f"{5 + 2 * index} 0 R" for index in range(len(texts)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/NeedsRendering true/AcroForm<</Fields[]/XFA 3 0 R>>>>",
        f"<</Type/Pages/Count {len(texts)}/Kids[{kids}]>>".encode("ascii"),
        b"<</Length 9>>stream\n<xdp></x>\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for text in texts:
        shown = f"BT /F 12 Tf 72 700 Td ({text}) Tj ET".encode("ascii")
        place = b"/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F 4 0 R>>>>"
        objects.append(b"<</Type/Page%s/Contents %d 0 R>>" % (place, len(objects) + 2))
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown))
    numbered = b"".join(b"%d 0 obj%s endobj\n" % (number, body) for number, body in enumerate(objects, start=1))
    return b"%PDF-1.7\n" + numbered + b"trailer<</Root 1 0 R>>\n%%EOF"
