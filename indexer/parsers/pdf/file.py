"""An open PDF file: its pages one after the other, in memory that does not grow with their number."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from indexer.parsers.ocr import MAX_PAGES
from indexer.parsers.pdf.outline import outline_levels
from indexer.parsers.pdf.pages import Origin, read_page
from rag.errors import SourceDamaged, SourceEncrypted

if TYPE_CHECKING:
    from typing import BinaryIO

    from pypdfium2 import PdfDocument

    from indexer.parsers.pdf.pages import Page

# PDFium keeps every object it has met until the document is closed: some kilobytes a page, more with images.
_PAGES_PER_OPENING: Final = 1000
_PASSWORD_ERROR: Final = 4


class PdfFile:
    """A PDF that is opened again every few hundred pages.

    Raises:
        SourceEncrypted: it opens only with a password.
        SourceDamaged: it cannot be opened.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._document = _opened(file)
        self._read = self._recognised = 0
        self.page_count = len(self._document)
        self.metadata_title = _metadata_title(self._document)
        self.attachments: int = self._document.count_attachments()
        self.is_dynamic_form = _is_dynamic_form(self._document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._document.close()

    def outline(self) -> dict[tuple[int, str], int]:
        """Levels of headings, see ``outline_levels``."""
        return outline_levels(self._document)

    def read(self, index: int) -> Page:
        """The page at ``index``, from 0; images of text are recognised on ``MAX_PAGES`` pages.

        Raises:
            SourceDamaged: PDFium cannot read it.
        """
        if self._read >= _PAGES_PER_OPENING:
            self._document.close()
            self._document = _opened(self._file)
            self._read = 0
        self._read += 1
        page = read_page(self._document, index, recognise=self._recognised < MAX_PAGES)
        self._recognised += page.origin is Origin.OCR
        return page


def _is_dynamic_form(document: PdfDocument) -> bool:
    """Whether its pages are made from XFA by the viewer; what is in the file is a page for viewers that cannot."""
    from pypdfium2 import raw

    return bool(raw.FPDF_GetFormType(document) == raw.FORMTYPE_XFA_FULL)


def _metadata_title(document: PdfDocument) -> str:
    try:
        title: str = document.get_metadata_value("Title")
    except UnicodeDecodeError:
        return ""
    return title


def _opened(file: BinaryIO) -> PdfDocument:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise SourceEncrypted(
                "This PDF is protected by a password.", hint="Save a copy without the password and ingest that."
            ) from error
        raise SourceDamaged(
            f"This PDF cannot be opened: {error}", hint="The file may be cut off; get or export it again."
        ) from error
    with suppress(pypdfium2.PdfiumError):  # of a damaged form the text is read
        document.init_forms()
    return document
