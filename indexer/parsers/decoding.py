"""Text from bytes: what cannot be read in the encoding is replaced, counted, and told."""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, Final, Self

from indexer.detection.mixed_encodings import read_otherwise, second_of
from indexer.parsers.blocks import Notice
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_HANDLER: Final = "plumbline-told"
# Fewer are strays between characters.
_MANY_ZEROS: Final = 16


class _Replacer:
    """Replaces as Python does, and counts. One parser runs at a time, so one count is enough."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: UnicodeError) -> tuple[str | bytes, int]:
        self.count += 1
        return codecs.replace_errors(error)


_replacer = _Replacer()
codecs.register_error(_HANDLER, _replacer)


class TextReader:
    """A binary file as text: every line end is one newline, and NUL, which no database holds, is left out."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._encoding = encoding
        # ``replace``: detection chose this encoding for the whole file; one torn character must not cost the document.
        self._stream = io.TextIOWrapper(file, encoding=encoding, errors=_HANDLER, newline=None)
        self._before, self._other = _replacer.count, read_otherwise(encoding)
        self._zeros = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.detach()

    def read(self, size: int = -1) -> str:
        """All of it, or about ``size`` characters; nothing at its end."""
        while text := self._stream.read(size):
            if storable := self._storable(text):
                return storable
        return ""

    def lines(self, limit: int = 1 << 20) -> Iterator[str]:
        """Its lines with their ends, one longer than ``limit`` in parts."""
        while line := self._stream.readline(limit):
            yield self._storable(line)

    def _storable(self, text: str) -> str:
        if zeros := text.count("\x00"):
            self._zeros += zeros
            return text.replace("\x00", "")
        return text

    def notices(self) -> Iterator[Notice]:
        """What a person should know of the text that was read."""
        if self._zeros >= _MANY_ZEROS:
            yield Notice(message=f"{self._zeros:,} NUL bytes left out, as a crash leaves them where text was lost.")
        count = _replacer.count - self._before
        if count:
            places = "One place" if count == 1 else f"{count:,} places"
            hold = "holds" if count == 1 else "hold"
            yield Notice(message=f"{places} could not be read as {self._encoding} and {hold} a replacement character.")
        if others := read_otherwise(self._encoding) - self._other:
            second = second_of(self._encoding)
            yield Notice(message=f"It is UTF-8 but for {plural(others, 'place')}, read as {second}.")


def storable(text: str) -> str:
    """Text as it can be written: no NUL, and no halves of characters, which escapes and broken mails may hold."""
    return text.replace("\x00", "").encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
