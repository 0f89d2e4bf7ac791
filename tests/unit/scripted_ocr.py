"""A recognizer that reads what a test says, and images to show it."""

from __future__ import annotations

import io

from indexer.parsers.pdf.lines import Line, PageLines
from tests.unit.heif_picture import HEIF_PICTURE

_ADVANCE = 8


class ScriptedRecognizer:
    """Reads the same lines on every page and remembers what it was shown."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.seen = []

    def lines(self, pixels):
        self.seen.append(pixels)
        height = pixels.shape[0]
        lines = [
            Line(left=50, right=50 + _ADVANCE * len(text), base=height / 2 - 14 * index, size=12, text=text,
                 words=[(50, 50 + _ADVANCE * len(text), text)])
            for index, text in enumerate(self.texts)
        ]  # fmt: skip
        return PageLines(lines=lines, characters=sum(map(len, self.texts)))


def picture(form: str = "PNG", *, mode: str = "RGB", size: tuple[int, int] = (400, 300), **options) -> bytes:
    """An image without anything on it, or as HEIF one with a line of text."""
    from PIL import Image

    if form == "HEIF":
        return HEIF_PICTURE
    buffer = io.BytesIO()
    Image.new(mode, size, 1 if mode == "1" else "white").save(buffer, form, **options)
    return buffer.getvalue()
