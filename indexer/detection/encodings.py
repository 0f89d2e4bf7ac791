"""Which encoding a text is in: what its mark or its author states, or else what makes words of it."""

from __future__ import annotations

import codecs
import re
import string
from typing import TYPE_CHECKING, Final

from indexer.detection.legacy_encodings import meant_by, one_byte_encoding
from indexer.detection.mixed_encodings import second_of, two_encodings
from rag.errors import SourceBinary

if TYPE_CHECKING:
    from pathlib import PurePath

    from indexer.sources import SourceScan

SAMPLE_BYTES: Final = 1 << 15

_BOMS: Final = (
    # The 32-bit marks begin with the 16-bit ones.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_TORN_SHARE: Final = 0.05
_ASCII_LETTERS: Final = string.ascii_letters.encode()

_COMMON_ENCODINGS: Final = (
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "iso8859_15",
    "cp874", "cp932", "euc_jp", "gb18030", "big5", "cp949",
)  # fmt: skip

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*+=\s*+[\"']?+\s*+([A-Za-z0-9_:.\-]{2,40})", re.IGNORECASE)
_ISO_2022 = re.compile(rb"\x1b\$[@B]|\x1b\([BJ]")
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.\-]{2,40})", re.IGNORECASE)

_MAX_NO_TEXT_SHARE: Final = 0.02
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MIN_FOREIGN_BYTES: Final = 32
_MIN_LIVING_SHARE: Final = 0.98
_SPACE = re.compile(r"[ \n\u3000-\u3002\uff0c]")
# Scripts of today, and signs. The bytes of a space or a line's end the wrong way round are none of them.
_LIVING = re.compile(
    r"[\t\n\r -~\u00a0-\u024f\u0300-\u052f\u0531-\u06ff\u0900-\u097f\u0e00-\u0e7f\u10a0-\u10ff\u1e00-\u1fff"
    r"\u2010-\u2027\u2030-\u205e\u20a0-\u20c0\u2116\u2122\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uffef]"
)


def marked_encoding(head: bytes) -> str | None:
    """What the first bytes say."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def utf16(head: bytes) -> str | None:
    """UTF-16 without a mark: nearly every other byte of Western text is zero."""
    sample = head[: SAMPLE_BYTES & ~1]
    half = len(sample) // 2
    if half < 4:
        return None
    low, high = sample[::2].count(0), sample[1::2].count(0)
    if high > 0.4 * half and low < 0.05 * half:
        name = "utf-16-le"
    elif low > 0.4 * half and high < 0.05 * half:
        name = "utf-16-be"
    else:
        return _foreign_utf16(sample)
    text = sample[: half * 2].decode(name, errors="replace")
    printable = sum(character.isprintable() or character in "\r\n\t\f" for character in text)
    return name if printable > 0.95 * len(text) else None


def _foreign_utf16(sample: bytes) -> str | None:
    """The same for other scripts: bytes that no text of one byte a character has, and letters of living scripts."""
    if len(sample) < _MIN_FOREIGN_BYTES or len(_NO_TEXT.findall(sample)) <= _MAX_NO_TEXT_SHARE * len(sample):
        return None
    shares = {}
    for name in ("utf-16-le", "utf-16-be"):
        text = sample.decode(name, errors="replace")
        if _SPACE.search(text) and "\x00" not in text:
            shares[name] = len(_LIVING.findall(text)) / len(text)
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= _MIN_LIVING_SHARE else None


def encoding_of(path: PurePath, scan: SourceScan, *, is_html: bool) -> str:
    """The encoding of a text without a mark. Raises SourceBinary if it cannot be recognised."""
    head = scan.head
    if (name := utf16(head)) is not None:
        return name
    if scan.utf8:
        # Seven-bit Japanese is valid UTF-8 and means something else.
        return "iso2022_jp" if _ISO_2022.search(head) and _known_codec("iso2022_jp") else "utf-8"
    if (name := stated_encoding(scan, is_html=is_html)) is not None:
        return name
    return _later_encoding(path, scan) if scan.late else _unstated_encoding(path, head, whole=scan.size == len(head))


def _later_encoding(path: PurePath, scan: SourceScan) -> str:
    """Of a text that begins in ASCII or UTF-8: that of what comes later, if it reads the beginning as it is."""
    foreign = b"".join(line + b"\n" for line in scan.head.split(b"\n")[:-1] if not line.isascii())
    try:
        name = _unstated_encoding(path, foreign + scan.late, whole=len(scan.late) < len(scan.head))
    except SourceBinary:  # some lines are no text
        return "utf-8"
    as_it_is = second_of(name) is not None or (
        not foreign and _ASCII_LETTERS.decode(name) == _ASCII_LETTERS.decode("ascii")
    )
    return name if as_it_is else "utf-8"


def _unstated_encoding(path: PurePath, head: bytes, *, whole: bool) -> str:
    if (both := two_encodings(head, whole=whole)) is not None:
        return both
    sample = head[:SAMPLE_BYTES]
    text = sample.decode("utf-8", errors="replace")
    foreign = sum(character > "\x7f" for character in text)
    torn = text.count("\ufffd")
    if torn <= max(1, _MAX_TORN_SHARE * foreign) and (torn < foreign or one_byte_encoding(sample) is None):
        # UTF-8 with a torn byte somewhere: any other reading would garble all the rest of it.
        return "utf-8"
    return _guessed_encoding(path, sample)


def stated_encoding(scan: SourceScan, *, is_html: bool) -> str | None:
    """What the server states, or else the text itself; not UTF-8, which this was found not to be."""
    head = scan.head
    declared = _XML_ENCODING.search(head) or (_META_CHARSET.search(head) if is_html else None)
    inside = meant_by(declared[1].decode("ascii")) if declared is not None else None
    names = (name for name in (scan.charset, inside) if name and _known_codec(name) and "utf" not in name.lower())
    return next(names, None)


def _guessed_encoding(path: PurePath, sample: bytes) -> str:
    from charset_normalizer import from_bytes

    if (name := one_byte_encoding(sample)) is not None:
        return name
    # The common ones first: of two readings that both make sense, the rarer one is rarely meant.
    best = from_bytes(sample, cp_isolation=list(_COMMON_ENCODINGS)).best() or from_bytes(sample).best()
    if best is None and _mostly_utf8(sample):
        # Lines of several encodings, as a log holds them: what is not UTF-8 is replaced and told.
        return "utf-8"
    if best is None:
        raise SourceBinary(
            f"{path} is not text in any encoding that could be recognised.",
            hint="If it is text, save it as UTF-8 and ingest it again.",
        )
    return best.encoding


def _mostly_utf8(sample: bytes) -> bool:
    """Whether of the lines beyond ASCII at least half are UTF-8, which lines of other encodings are not by chance."""
    # The last line may be cut off in the middle of a character.
    lines = sample.split(b"\n")[: -1 if len(sample) == SAMPLE_BYTES else None]
    foreign = [line for line in lines if not line.isascii()]
    torn = sum("\ufffd" in line.decode("utf-8", errors="replace") for line in foreign)
    return bool(foreign) and torn * 2 <= len(foreign)


def _known_codec(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False
