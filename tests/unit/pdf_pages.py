"""Small PDF files for tests, made with ReportLab."""

from __future__ import annotations

import io

from reportlab.lib import pdfencrypt
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

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
