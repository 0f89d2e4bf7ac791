"""Images of pages, read by text recognition: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG 2000, AVIF and HEIF.

Only a TIFF has pages; what other formats hold beside the first picture is the same one, moved or smaller.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.blocks import Notice, bounded
from indexer.parsers.captions import beside_tables
from indexer.parsers.ocr import MAX_PAGES, MAX_SIDE, recognizer
from indexer.parsers.pdf.blocks import PageWriter
from indexer.parsers.pdf.columns import in_reading_order
from indexer.parsers.pdf.headings import Style
from rag.errors import SourceDamaged, SourceHasNoText, SourceTooLarge
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Page

    from indexer.parsers.blocks import Parsed

# A sheet of A2 at 600 dots per inch; decoded it takes 420 MB.
_MAX_PIXELS: Final = 140_000_000
_PAGED: Final = "TIFF"


def parse_image(file: BinaryIO, encoding: str) -> Iterator[Parsed]:  # noqa: ARG001 - pixels have no encoding
    """Yield the headings, paragraphs, lists and tables of each page, with the page's number.

    Raises:
        SourceNeedsOcr: the extra ``ocr`` is not installed.
        SourceDamaged: it, or one of its pages, cannot be decoded.
        SourceTooLarge: it has more pixels than a scanned page does.
        SourceHasNoText: there is no text in it.
    """
    yield from beside_tables(_pages(file))


def _pages(file: BinaryIO) -> Iterator[Parsed]:
    reader = recognizer()
    from pi_heif import register_heif_opener
    from PIL import Image, UnidentifiedImageError

    register_heif_opener()
    found = False
    Image.MAX_IMAGE_PIXELS = _MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Tags that make no sense are passed over; pixels that are missing are an error.
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(file) as image:
                count: int = getattr(image, "n_frames", 1)
                paged = image.format == _PAGED
                for index in range(min(count, MAX_PAGES) if paged else 1):
                    if index:  # of a HEIF the picture that is shown need not be the first
                        image.seek(index)
                    lines = in_reading_order(reader.lines(_pixels(image)).lines)
                    # Pages of one file may be scanned at different sizes, so each has a style of its own.
                    for block in PageWriter(Style.of([lines])).blocks(lines, page=index + 1):
                        found = True
                        yield from bounded(block)
                    yield None
                if paged and count > MAX_PAGES:
                    yield Notice(message=f"{plural(count - MAX_PAGES, 'page')} after the first {MAX_PAGES:,} left out.")
                elif not paged and count > 1:
                    yield Notice(message=f"The first of its {count:,} pictures is read; the others are left out.")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SourceTooLarge(
            f"This image has more than {_MAX_PIXELS:,} pixels.", hint="Scale it down, or save it in parts."
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError, EOFError) as error:
        reason = "it is none" if isinstance(error, UnidentifiedImageError) else str(error).rstrip(".")
        raise SourceDamaged(
            f"This image cannot be decoded: {reason}.",
            hint="The file may be cut off; get or export it again.",
        ) from error
    if not found:
        raise SourceHasNoText("No text was recognised in this image.", hint="If it shows text, scan it more finely.")


def _pixels(image: Page) -> NDArray[np.uint8]:
    """The page as it should be seen, in the size it is read in, blue first."""
    import numpy as np
    from PIL import Image, ImageOps

    image.draft("RGB", (MAX_SIDE, MAX_SIDE))
    page: Any = ImageOps.exif_transpose(image)
    if page.mode in {"RGBA", "LA", "PA"} or "transparency" in page.info:
        # What is transparent is paper.
        page = page.convert("RGBA")
        page = Image.alpha_composite(Image.new("RGBA", page.size, "white"), page)
    if page.mode.startswith("I;16") or page.mode in {"I", "F"}:
        depth = np.asarray(page, dtype=np.float32)
        low, high = float(depth.min()), float(depth.max())
        grey = ((depth - low) * (255 / (high - low or 1.0))).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    page = page.convert("RGB")
    page.thumbnail((MAX_SIDE, MAX_SIDE))
    return np.ascontiguousarray(np.asarray(page)[:, :, ::-1])
