"""Which image format a file's first bytes show."""

from __future__ import annotations

from typing import Final

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
TIFF: Final = "image/tiff"
BMP: Final = "image/bmp"
WEBP: Final = "image/webp"
GIF: Final = "image/gif"
JPEG_2000: Final = "image/jp2"
AVIF: Final = "image/avif"
HEIF: Final = "image/heif"

_MARKS: Final = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    # Big TIFF, for files beyond 4 GiB.
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    # In its container, and without one.
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JPEG_2000),
    (b"\xff\x4f\xff\x51\x00", JPEG_2000),
)
# Brands of the container that recordings have, too.
_BRANDS: Final = {b"avif": AVIF, b"avis": AVIF, **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), HEIF)}
# Two letters begin other files, too; a bitmap says the size of its second header, of which there are a few.
_BITMAP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})


def image_type(head: bytes) -> str | None:
    """Media type of an image that text may be recognised in; None for anything else."""
    for mark, media_type in _MARKS:
        if head.startswith(mark):
            return media_type
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return BMP
    return None
