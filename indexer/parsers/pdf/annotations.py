"""What lies on a PDF's pages and is none of their text: values of form fields, boxes of text, comments."""

from __future__ import annotations

import ctypes
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import one_line
from indexer.parsers.decoding import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pypdfium2 import PdfDocument, PdfPage

# Annotations that differ less in height stand in one row.
_ROW_POINTS: Final = 6
_PASSWORD_FIELD: Final = 1 << 13
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class _Piece:
    row: int
    left: float
    text: str
    is_field: bool


def annotated(document: PdfDocument, page: PdfPage) -> list[str]:
    """Texts from top to bottom: neighbouring fields of a form, ``name: value`` each, are one text of several lines.

    Fields without a value, with a password, and what is hidden are left out.
    """
    pieces = sorted(_pieces(document, page), key=lambda piece: (piece.row, piece.left))
    texts: list[str] = []
    in_form = False
    for piece in pieces:
        if piece.is_field and in_form:
            texts[-1] += f"\n{piece.text}"
        else:
            texts.append(piece.text)
        in_form = piece.is_field
    return texts


def _pieces(document: PdfDocument, page: PdfPage) -> Iterator[_Piece]:
    from pypdfium2 import raw

    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        with _annotation(page, index) as annotation:
            if not annotation or raw.FPDFAnnot_GetFlags(annotation) & (
                raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
            ):
                continue
            is_field = raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_WIDGET
            text = _field(document, annotation) if is_field else _comment(annotation)
            if text:
                place = raw.FS_RECTF()
                raw.FPDFAnnot_GetRect(annotation, place)
                yield _Piece(-round(place.top / _ROW_POINTS), place.left, text, is_field)


@contextmanager
def _annotation(page: PdfPage, index: int) -> Iterator[Any]:
    from pypdfium2 import raw

    annotation = raw.FPDFPage_GetAnnot(page, index)
    try:
        yield annotation
    finally:
        if annotation:
            raw.FPDFPage_CloseAnnot(annotation)


def _field(document: PdfDocument, annotation: Any) -> str:  # noqa: ANN401 - a pointer
    from pypdfium2 import raw

    form = document.formenv
    if form is None:
        return ""
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in {raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON}:
        chosen = raw.FPDFAnnot_IsChecked(form, annotation)
        value = _string(raw.FPDFAnnot_GetFormFieldExportValue, form, annotation) if chosen else ""
    elif kind in {raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX}:
        chosen = _chosen(form, annotation)
        value = ", ".join(chosen) or _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
    elif kind == raw.FPDF_FORMFIELD_TEXTFIELD:
        secret = raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD_FIELD
        value = "" if secret else _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
    else:  # buttons and signatures
        value = ""
    if not value:
        return ""
    name = _string(raw.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
    if not name:  # one for programs, of parts and their numbers
        name = _INDEX.sub("", _string(raw.FPDFAnnot_GetFormFieldName, form, annotation)).rpartition(".")[2]
    return f"{one_line(name)}: {value}" if name else value


def _chosen(form: Any, annotation: Any) -> list[str]:  # noqa: ANN401 - pointers
    from pypdfium2 import raw

    return [
        _string(raw.FPDFAnnot_GetOptionLabel, form, annotation, index)
        for index in range(raw.FPDFAnnot_GetOptionCount(form, annotation))
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index)
    ]


def _comment(annotation: Any) -> str:  # noqa: ANN401 - a pointer
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetSubtype(annotation)
    marks = {
        raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_HIGHLIGHT, raw.FPDF_ANNOT_UNDERLINE, raw.FPDF_ANNOT_SQUIGGLY,
        raw.FPDF_ANNOT_STRIKEOUT, raw.FPDF_ANNOT_CARET,
    }  # fmt: skip
    if kind not in marks | {raw.FPDF_ANNOT_FREETEXT}:
        return ""
    text = _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
    if kind == raw.FPDF_ANNOT_FREETEXT or not text:
        return text
    author = one_line(_string(raw.FPDFAnnot_GetStringValue, annotation, b"T"))
    return f"Comment by {author}: {text}" if author else f"Comment: {text}"


def _string(function: Callable[..., int], *arguments: Any) -> str:  # noqa: ANN401 - pointers and keys
    """What PDFium writes into a buffer of as many bytes as it says that it needs."""
    size = function(*arguments, None, 0)
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    function(*arguments, buffer, size)
    text = bytes(buffer).decode("utf-16-le", errors="replace").partition("\x00")[0]
    return storable(text.replace("\r\n", "\n").replace("\r", "\n")).strip()
