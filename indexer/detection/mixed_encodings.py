"""Text whose lines are of two encodings: UTF-8, and one of a byte a character where that cannot be read.

Such files are made by programs that append to others' logs, and by hands that paste. The two are one codec,
``utf-8+NAME``, which Python knows as soon as this is imported.
"""

from __future__ import annotations

import codecs
from encodings import utf_8
from typing import Final

from indexer.detection.legacy_encodings import one_byte_encoding

_PREFIX: Final = "utf-8+"
_SECOND: Final = (
    "cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1254", "cp1257", "mac_roman", "cp850",
    "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5", "mac_cyrillic",
)  # fmt: skip
# Of lines beyond ASCII this share is UTF-8. In other encodings a line is that by chance, a tenth of them never.
_MIN_SHARE: Final = 0.1


class _Reader:
    """Reads in the second encoding what is not UTF-8, as Python's handlers of errors do, and counts it."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.count = 0

    def __call__(self, error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeDecodeError):
            raise error
        self.count += 1
        return error.object[error.start : error.end].decode(self.encoding, errors="replace"), error.end


_readers: Final = {f"{_PREFIX}{name}": _Reader(name) for name in _SECOND}


def two_encodings(sample: bytes, *, whole: bool) -> str | None:
    """The name of the codec for a text that begins with this sample, or is it; None where there are no two encodings.

    What is not UTF-8 has to make words in the other one, line by line: a torn character does not.
    """
    lines = sample.split(b"\n")[: None if whole else -1]
    foreign = [line for line in lines if not line.isascii()]
    others = [line for line in foreign if not _is_utf8(line)]
    if not others or len(foreign) - len(others) < max(1, _MIN_SHARE * len(foreign)):
        return None
    second = one_byte_encoding(b"\n".join(others))
    return f"{_PREFIX}{second}" if second in _SECOND else None


def second_of(encoding: str) -> str | None:
    """The second encoding of a codec that reads two."""
    return _readers[encoding].encoding if encoding in _readers else None


def read_otherwise(encoding: str) -> int:
    """How many places have been read in the second encoding so far; 0 for a codec of one encoding."""
    return _readers[encoding].count if encoding in _readers else 0


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _normal(name: str) -> str:
    """As Python asks for a codec of this name."""
    return name.lower().replace("-", "_").replace("+", "_")


def _search(name: str) -> codecs.CodecInfo | None:
    full = next((known for known in _readers if _normal(known) == _normal(name)), "")
    if not full:
        return None

    class Decoder(utf_8.IncrementalDecoder):
        def __init__(self, errors: str = "strict") -> None:  # noqa: ARG002 - nothing is an error
            super().__init__(full)

    return codecs.CodecInfo(
        name=full,
        encode=codecs.lookup("utf-8").encode,
        decode=lambda data, _errors="strict": utf_8.decode(data, full),
        incrementaldecoder=Decoder,
        incrementalencoder=utf_8.IncrementalEncoder,
    )


for _name, _reader in _readers.items():
    codecs.register_error(_name, _reader)
codecs.register(_search)
