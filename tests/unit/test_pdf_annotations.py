"""What lies on a PDF's pages beside their text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pypdfium2
import pytest

from indexer.parsers.blocks import Block, Notice
from indexer.parsers.pdf import file as pdf_file
from indexer.parsers.pdf.parser import parse_pdf
from rag.errors import SourceHasNoText, SourceUnsupported
from tests.unit.pdf_pages import drawn_pdf, xfa_pdf

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas


def found(content: bytes) -> list[Block | Notice]:
    return [item for item in parse_pdf(io.BytesIO(content), "utf-8") if isinstance(item, Block | Notice)]


def texts(content: bytes) -> list[tuple[int | None, str]]:
    return [(item.page, item.text) for item in found(content) if isinstance(item, Block)]


def form(canvas: Canvas) -> None:
    canvas.drawString(50, 750, "Application")
    fields = canvas.acroForm
    fields.radio(name="size", value="big", selected=True, x=150, y=450)
    fields.radio(name="size", value="small", selected=False, x=180, y=450)
    fields.textfield(name="form[0].page[0].given[0]", value="Ann", x=300, y=691, width=100, height=20)
    fields.textfield(name="surname", tooltip="Your  surname", value="Miller", x=150, y=690, width=100, height=20)
    fields.checkbox(name="agree", checked=True, x=150, y=655)
    fields.checkbox(name="refuse", checked=False, x=200, y=655)
    fields.choice(name="river", value="Inn", options=["Inn", "Po"], x=150, y=600, width=100, height=20)
    fields.listbox(name="lake", value="Como", options=["Como", "Garda"], x=150, y=500, width=100, height=60)
    fields.textfield(name="empty", value="", x=150, y=400, width=100, height=20)
    fields.textfield(name="key", value="secret", fieldFlags="password", x=150, y=370, width=100, height=20)
    fields.textfield(name="unseen", value="hidden", annotationFlags="hidden", x=150, y=340, width=100, height=20)


def remarks(canvas: Canvas) -> None:
    canvas.drawString(50, 750, "Rivers run down.")
    canvas.textAnnotation("Not all\rof them.", Rect=[400, 700, 420, 720], name="n")
    canvas.freeTextAnnotation("SEEN BY THE OFFICE", DA="/Helv 12 Tf", Rect=[50, 300, 200, 320], name="f")
    canvas.acroForm.textfield(name="note", value="One\nTwo", fieldFlags="multiline", x=50, y=600, width=99, height=60)


def test_values_of_fields_come_after_their_pages_text_in_the_order_of_the_page():
    assert texts(drawn_pdf(form, remarks)) == [
        (1, "Application\n\n"),
        (1, "Your surname: Miller\ngiven: Ann\nagree: Yes\nriver: Inn\nlake: Como\nsize: big\n\n"),
        (2, "Rivers run down.\n\n"),
        (2, "Comment: Not all\nof them.\n\n"),
        (2, "note: One\nTwo\n\n"),
        (2, "SEEN BY THE OFFICE\n\n"),
    ]


def test_a_form_without_a_text_of_its_own_has_that_of_its_fields():
    def only_fields(canvas: Canvas) -> None:
        canvas.acroForm.textfield(name="river", value="Inn", x=150, y=690, width=100, height=20)

    assert found(drawn_pdf(only_fields)) == [Block(text="river: Inn\n\n", page=1)]
    with pytest.raises(SourceHasNoText):
        found(drawn_pdf(lambda canvas: canvas.acroForm.textfield(name="a", value="", x=1, y=1, width=9, height=9)))


def test_fields_are_read_beyond_the_pages_of_one_opening(monkeypatch):
    monkeypatch.setattr(pdf_file, "_PAGES_PER_OPENING", 1)
    assert [page for page, text in texts(drawn_pdf(form, remarks, form)) if "Miller" in text] == [1, 3]


def test_a_form_that_cannot_be_opened_leaves_the_text(monkeypatch):
    def broken(_document: object) -> None:
        raise pypdfium2.PdfiumError("no form")

    monkeypatch.setattr(pypdfium2.PdfDocument, "init_forms", broken)
    assert texts(drawn_pdf(form)) == [(1, "Application\n\n")]


def test_attached_files_are_told():
    document = pypdfium2.PdfDocument(drawn_pdf(remarks))
    document.new_attachment("a.txt").set_data(b"text")
    held = io.BytesIO()
    document.save(held)
    assert found(held.getvalue())[-1] == Notice(message="1 file attached to it left out.")


def test_a_form_in_xfa_is_refused_where_its_page_only_asks_for_another_program():
    page = "Please wait... To view this document, get the latest version of Adobe Reader."
    with pytest.raises(SourceUnsupported, match="a form in XFA"):
        list(parse_pdf(io.BytesIO(xfa_pdf(page)), "utf-8"))


def test_a_form_in_xfa_with_a_text_of_its_own_is_told():
    block, notice = found(xfa_pdf("Application for a berth in the harbour"))
    assert isinstance(block, Block)
    assert isinstance(notice, Notice)
    assert "Application for a berth" in block.text
    assert notice.message.startswith("It is a form in XFA")
