"""Which image format a file's first bytes show."""

from __future__ import annotations

from typing import Final

PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
TIFF: Final = "image/tiff"
BMP: Final = "image/bmp"
WEBP: Final = "image/webp"

_MARKS: Final = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    # Big TIFF, for files beyond 4 GiB.
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
)
# Two letters begin other files, too; a bitmap says the size of its second header, of which there are a few.
_BITMAP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})


def image_type(head: bytes) -> str | None:
    """Media type of an image that text may be recognised in; None for anything else."""
    for mark, media_type in _MARKS:
        if head.startswith(mark):
            return media_type
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return BMP
    return None
