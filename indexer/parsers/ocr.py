"""Text recognition with RapidOCR (PP-OCRv6 models on ONNX Runtime), the optional extra ``ocr``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from indexer.parsers.pdf.lines import SAME_LINE, Line, PageLines, margin
from rag.errors import SourceNeedsOcr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTALL: Final = "pip install 'plumbline[ocr]'"

# Longer sides are scaled down to this many pixels: an A4 page at 170 dots per inch, enough for print of 6 points.
MAX_SIDE: Final = 2000
# Of one file: hours of work, and more than any book has. Small files can show one picture on any number of pages.
MAX_PAGES: Final = 5000
# The detector looks for lines in a smaller copy; they are read in the page as it is.
_DETECTION_SIDE: Final = 1280
_MAX_THREADS: Final = 4
# Below this confidence a line is more likely a stain or a drawing than text.
_MIN_SCORE: Final = 0.6
# A line of at least this many characters that is taller than wide runs upwards or downwards.
_TELLING_CHARS: Final = 4
_CLASSIFIED_LINES: Final = 7
# Heights of recognised lines within these bounds of the page's usual height are noise, not fonts.
_SAME_SIZE: Final = (0.6, 1.45)
_BASE_SHARE: Final = 0.2
_CUT_WORD = re.compile(r"[^\W\d_]{2}-$")


def ocr_installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return all(find_spec(name) is not None for name in ("rapidocr", "onnxruntime", "pi_heif"))


def recognizer() -> Recognizer:
    """The recognizer of this process; its models are loaded once.

    Raises:
        SourceNeedsOcr: the extra is not installed, or cannot be loaded.
    """
    if not ocr_installed():
        raise SourceNeedsOcr(
            "Its text is in images, and text recognition (OCR) is not installed.",
            hint=f"Install it with {INSTALL} and ingest this again.",
        )
    try:
        return _recognizer()
    except ImportError as error:  # above all libraries of the system that OpenCV wants
        raise SourceNeedsOcr(
            f"Its text is in images, and text recognition (OCR) is installed and cannot be loaded: {error}.",
            hint="Install what is missing, or the extra anew, and ingest this again.",
        ) from error


@lru_cache(maxsize=1)
def _recognizer() -> Recognizer:
    return Recognizer()


@dataclass(frozen=True, slots=True)
class _Box:
    """Extents of a recognised line in pixels, downwards and to the right."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def is_tall(self) -> bool:
        return self.bottom - self.top > 1.5 * (self.right - self.left)


class Recognizer:
    """Reads the lines of page images."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.max_side_len": MAX_SIDE,
                "Global.text_score": _MIN_SCORE,
                "Det.limit_type": "max",
                "Det.limit_side_len": _DETECTION_SIDE,
                "EngineConfig.onnxruntime.intra_op_num_threads": min(_MAX_THREADS, len(os.sched_getaffinity(0))),
            }
        )

    def lines(self, image: NDArray[np.uint8]) -> PageLines:
        """Recognise a page.

        ``image`` is height x width x 3, blue first. A page that lies on its side or upside down is read, too; places
        are those of the page turned upright, in pixels from its lower left corner.
        """
        boxes, texts = self._read(image)
        if turns := self._quarter_turns(image, boxes, texts):
            import numpy as np

            image = np.ascontiguousarray(np.rot90(image, turns))
            boxes, texts = self._read(image)
        height = image.shape[0]
        return _page_lines(boxes, texts, height)

    def _read(self, image: NDArray[np.uint8]) -> tuple[list[_Box], list[str]]:
        # Directions are told for the page, from several lines: told line by line, some are turned that stand upright.
        # What a call says stays set for the next one.
        found = self._engine(image, use_det=True, use_cls=False, use_rec=True)
        if not getattr(found, "txts", None):
            return [], []
        return [_box(corners) for corners in found.boxes], [" ".join(text.split()) for text in found.txts]

    def _quarter_turns(self, image: NDArray[np.uint8], boxes: list[_Box], texts: list[str]) -> int:
        """How many quarters of a turn to the left bring the page upright."""
        import numpy as np

        if not boxes:
            return 0
        telling = [box for box, text in zip(boxes, texts, strict=True) if len(text) >= _TELLING_CHARS] or boxes
        sideways = sum(box.is_tall for box in telling) * 2 > len(telling)
        widest = sorted(telling, key=lambda box: -max(box.right - box.left, box.bottom - box.top))
        upside_down = 0
        sample = [box for box in widest if box.is_tall == sideways][:_CLASSIFIED_LINES]
        for box in sample:
            crop = image[max(0, int(box.top)) : int(box.bottom) + 1, max(0, int(box.left)) : int(box.right) + 1]
            crop = np.ascontiguousarray(np.rot90(crop) if sideways else crop)
            label = self._engine(crop, use_det=False, use_cls=True, use_rec=False).cls_res[0][0]
            upside_down += label == "180"
        return (1 if sideways else 0) + (2 if upside_down * 2 > len(sample) else 0)


def _box(corners: Any) -> _Box:  # noqa: ANN401 - four points, an array of 4 x 2
    xs, ys = corners[:, 0], corners[:, 1]
    # Corners of a line on a page that lies a little askew: the mean of two is where the line is.
    xs, ys = sorted(map(float, xs)), sorted(map(float, ys))
    return _Box(left=xs[0], top=(ys[0] + ys[1]) / 2, right=xs[3], bottom=(ys[2] + ys[3]) / 2)


def _page_lines(boxes: list[_Box], texts: list[str], height: int) -> PageLines:
    upright = [box.bottom - box.top for box in boxes if not box.is_tall]
    usual = median(upright) if upright else 1.0
    lines: list[Line] = []
    row_bottom = float("-inf")
    for box, text in sorted(zip(boxes, texts, strict=True), key=lambda pair: pair[0].bottom):
        if box.bottom - row_bottom > SAME_LINE * usual:
            row_bottom = box.bottom
        size = box.bottom - box.top
        if _SAME_SIZE[0] * usual <= size <= _SAME_SIZE[1] * usual:
            size = usual
        cut = bool(_CUT_WORD.search(text))
        shown = text[:-1] if cut else text
        base = height - row_bottom + _BASE_SHARE * usual
        lines.append(
            Line(
                left=box.left,
                right=box.right,
                base=base,
                size=round(size * 2) / 2,
                text=shown,
                words=_words(shown, box),
                hyphenated=cut,
                margin=margin(base, height),
                turned=box.is_tall and len(text) >= _TELLING_CHARS,
            )
        )
    # Row by row: a page that lies a little askew has the ends of its rows on different heights.
    lines.sort(key=lambda line: (-line.base, line.left))
    return PageLines(lines=lines, characters=sum(map(len, texts)))


def _words(text: str, box: _Box) -> list[tuple[float, float, str]]:
    """Words with their places, as if all characters were equally wide."""
    advance = (box.right - box.left) / max(1, len(text))
    words, start = [], 0
    for word in text.split(" "):
        words.append((box.left + start * advance, box.left + (start + len(word)) * advance, word))
        start += len(word) + 1
    return words
