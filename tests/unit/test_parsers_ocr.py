"""What is read by text recognition, with a scripted recognizer; the real one is in tests/integration/test_ocr.py."""

import io
import sys

import pytest

from indexer.detection.images import AVIF, BMP, GIF, HEIF, JPEG, JPEG_2000, PNG, TIFF, WEBP
from indexer.detection.media_types import detect
from indexer.parsers import image, ocr
from indexer.parsers.blocks import Block, Notice
from indexer.parsers.image import parse_image
from indexer.parsers.pdf import file as pdf_file
from indexer.parsers.pdf import pages as pdf_pages
from indexer.parsers.pdf.parser import parse_pdf
from indexer.sources import Source
from rag.errors import SourceDamaged, SourceHasNoText, SourceNeedsOcr, SourceTooLarge
from tests.unit.pdf_pages import drawn_pdf, make_image_pdf, make_pdf, mapped_pdf, text_lines
from tests.unit.scripted_ocr import ScriptedRecognizer, picture
from tests.unit.test_retrieval_flaws import PROSE

Image = pytest.importorskip("PIL.Image")

FORMATS = {"PNG": PNG, "JPEG": JPEG, "TIFF": TIFF, "BMP": BMP, "WEBP": WEBP, "GIF": GIF, "AVIF": AVIF, "HEIF": HEIF}
FORMATS["JPEG2000"] = JPEG_2000


@pytest.fixture
def recognizer(monkeypatch):
    scripted = ScriptedRecognizer("What the scan says", "on two lines.")
    for module in (image, pdf_pages):
        monkeypatch.setattr(module, "recognizer", lambda: scripted)
    monkeypatch.setattr(pdf_pages, "ocr_installed", lambda: True)
    return scripted


@pytest.fixture
def without_the_extra(monkeypatch):
    monkeypatch.setattr(ocr, "ocr_installed", lambda: False)
    monkeypatch.setattr(pdf_pages, "ocr_installed", lambda: False)


def parsed(parser, content: bytes) -> list:
    return list(parser(io.BytesIO(content), "utf-8"))


def texts(items: list) -> list[tuple[int, str]]:
    return [(item.page, item.text.strip()) for item in items if isinstance(item, Block)]


def notices(items: list) -> list[str]:
    return [item.message for item in items if isinstance(item, Notice)]


def scan_and_text() -> bytes:
    def scan(canvas):
        canvas.drawInlineImage(Image.new("RGB", (200, 280), "grey"), 0, 0, 595, 842)

    def stamped(canvas):
        scan(canvas)
        text_lines(canvas, ["stamp"])

    return drawn_pdf(
        lambda canvas: text_lines(canvas, ["Text of the first page."]), scan, lambda _canvas: None, stamped
    )


@pytest.mark.parametrize("form", FORMATS)
def test_images_are_detected_by_content_and_read(form, recognizer, tmp_path):
    path = tmp_path / "named-like.docx"
    path.write_bytes(picture(form))
    with Source(path, max_bytes=1 << 20) as source:
        assert detect(path, source.scan()).media_type == FORMATS[form]
    assert texts(parsed(parse_image, picture(form))) == [(1, "What the scan says on two lines.")]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_three_bytes(mode, recognizer):
    content = picture("TIFF", mode=mode) if mode in {"CMYK", "I;16"} else picture(mode=mode)
    parsed(parse_image, content)
    (pixels,) = recognizer.seen
    assert (pixels.shape, pixels.dtype.name) == ((300, 400, 3), "uint8")


def test_what_is_transparent_is_paper(recognizer):
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(buffer, "PNG")
    parsed(parse_image, buffer.getvalue())
    assert recognizer.seen[0].min() == 255


def test_pages_of_a_tiff_are_numbered_and_large_ones_scaled_down(recognizer):
    pages = [Image.new("L", (300, 200 + 4000 * (number == 2))) for number in range(3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    items = parsed(parse_image, buffer.getvalue())
    assert [page for page, _ in texts(items)] == [1, 2, 3]
    assert items.count(None) == 3  # a sign of life a page
    assert max(pixels.shape[0] for pixels in recognizer.seen) == ocr.MAX_SIDE


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_a_moving_picture_the_first_one_is_read(recognizer, form):
    frames = [Image.new("RGB", (60, 40), (number, 0, 0)) for number in range(50)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], lossless=True)
    items = parsed(parse_image, buffer.getvalue())
    assert [page for page, _ in texts(items)] == [1]
    assert len(recognizer.seen) == 1
    assert [item.message for item in items if isinstance(item, Notice)] == [
        "The first of its 50 pictures is read; the others are left out."
    ]


def test_no_more_than_so_many_pages_are_recognised(recognizer, monkeypatch):
    monkeypatch.setattr(image, "MAX_PAGES", 2)
    monkeypatch.setattr(pdf_file, "MAX_PAGES", 2)
    buffer = io.BytesIO()
    pages = [Image.new("L", (30, 20)) for _ in range(5)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    items = parsed(parse_image, buffer.getvalue())
    assert [page for page, _ in texts(items)] == [1, 2]
    assert "3 pages after the first 2 left out." in [item.message for item in items if isinstance(item, Notice)]
    drawn = drawn_pdf(*[lambda canvas: canvas.rect(100, 100, 300, 300, fill=1)] * 5)
    items = parsed(parse_pdf, drawn)
    assert {page for page, _ in texts(items)} == {1, 2}
    assert len(recognizer.seen) == 4
    assert any("3 of 5 pages not read, being images" in item.message for item in items if isinstance(item, Notice))


def test_a_damaged_or_huge_or_empty_image_is_told(recognizer, monkeypatch):
    for damaged in (picture()[:60], b"\x89PNG\r\n\x1a\n" + bytes(100), picture("JPEG")[:300]):
        with pytest.raises(SourceDamaged, match=r"decoded: [^<>]+$"):
            parsed(parse_image, damaged)
    recognizer.texts = ()
    with pytest.raises(SourceHasNoText):
        parsed(parse_image, picture())
    monkeypatch.setattr(image, "_MAX_PIXELS", 1000)
    with pytest.raises(SourceTooLarge, match="1,000 pixels"):
        parsed(parse_image, picture())


def test_without_the_extra_images_and_scans_name_the_command(without_the_extra):
    for parser, content in ((parse_image, picture()), (parse_pdf, make_image_pdf())):
        with pytest.raises(SourceNeedsOcr, match="not installed") as caught:
            parsed(parser, content)
        assert caught.value.code == "source_needs_ocr"
        assert "pip install 'plumbline[ocr]'" in caught.value.hint


def test_where_a_library_of_the_extra_is_missing_that_is_told(monkeypatch, tmp_path):
    (tmp_path / "rapidocr.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    for name in [each for each in sys.modules if each.split(".")[0] == "rapidocr"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ocr, "ocr_installed", lambda: True)
    ocr._recognizer.cache_clear()
    with pytest.raises(SourceNeedsOcr, match=r"cannot be loaded: libGL\.so\.1"):
        parsed(parse_image, picture())


def test_without_the_extra_the_other_pages_are_read_and_the_scans_told(without_the_extra):
    items = parsed(parse_pdf, scan_and_text())
    assert texts(items) == [(1, "Text of the first page."), (4, "stamp")]
    told, blank = notices(items)
    assert "2 of 4 pages not read, being images: 2, 4." in told
    assert "pip install 'plumbline[ocr]'" in told
    assert blank == "1 of 4 pages without text: 3"


def test_scanned_pages_between_others_are_recognised(recognizer):
    items = parsed(parse_pdf, scan_and_text())
    said = "What the scan says on two lines."
    assert texts(items) == [(1, "Text of the first page."), (2, said), (4, said)]
    assert notices(items) == ["2 of 4 pages read by text recognition: 2, 4", "1 of 4 pages without text: 3"]
    assert len(recognizer.seen) == 2


def test_text_is_not_recognised_where_it_can_be_read(recognizer):
    parsed(parse_pdf, make_pdf([["short"], ["text"]]))
    assert recognizer.seen == []


def test_text_that_nothing_tells_the_meaning_of_is_an_image(recognizer):
    items = parsed(parse_pdf, mapped_pdf("<20> <7E> <E020>"))
    assert texts(items) == [(1, "What the scan says on two lines.")]


# Each letter as one that is 29 codes before it.
SHIFTED = mapped_pdf("<3D> <7E> <0020>", "<20> <3C> <0020>", shown=PROSE)


def test_codes_of_glyphs_that_pose_as_letters_are_an_image(recognizer):
    assert texts(parsed(parse_pdf, SHIFTED)) == [(1, "What the scan says on two lines.")]


def test_text_that_nothing_tells_the_meaning_of_is_not_taken_in(without_the_extra):
    with pytest.raises(SourceNeedsOcr):
        parsed(parse_pdf, mapped_pdf("<20> <7E> <E020>"))
