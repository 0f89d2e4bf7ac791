"""JSON: every value with the path to it, records kept together, and parts of a large document as its sections."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from indexer.parsers.blocks import MAX_HEADING_CHARS, Block, BlockKind, Notice, Parsed, bounded, one_line
from indexer.parsers.chat_exports import said_once
from indexer.parsers.decoding import TextReader, storable
from rag.errors import SourceDamaged
from rag.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

# What is longer is given a section of its own under its key.
_SECTION_CHARS: Final = 600
# A key says what is below it, never what the document is, as a heading of the first level may.
_FIRST_LEVEL: Final = 2
_MAX_LEVEL: Final = 5
# What is nested deeper stays together: each level of parts is measured whole.
_MAX_PARTED_DEPTH: Final = 16
# Nobody reads deeper ones, and what writes them means harm.
_MAX_DEPTH: Final = 200
_BLOB = re.compile(r"^(?:data:[\w/+.;=-]+,)?[A-Za-z0-9+/=_\r\n-]{512,}$")
_SPACE = re.compile(r"\s*")
_TITLE_KEYS: Final = ("title", "name", "label", "heading", "subject", "id", "_id")
_MAX_LINE_CHARS: Final = 1 << 26


def parse_json(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the values of a document, or of one document after the other.

    Raises:
        SourceDamaged: it is no JSON.
    """
    with TextReader(file, encoding) as reader:
        text = reader.read().lstrip("\ufeff")
        if not text.strip():
            return
        try:
            value = _load(text)
        except ValueError as error:
            values: list[Any] = []
            try:
                for value in _one_after_the_other(text):
                    values.append(value)
                    yield None
            except ValueError:
                raise SourceDamaged(f"This is not JSON: {error}.", hint="Correct it, or name it .txt.") from error
        else:
            values = [value]
        writer = _Writer()
        for each in values:
            yield from writer.blocks(each)
        yield from writer.notices()
        yield from reader.notices()


def parse_json_lines(file: BinaryIO, encoding: str) -> Iterator[Parsed]:
    """Yield the values of a file with one document a line. Lines that are none are told and left out.

    Raises:
        SourceDamaged: no line is JSON.
    """
    with TextReader(file, encoding) as reader:
        writer = _Writer()
        good = bad = 0
        for line in reader.lines(_MAX_LINE_CHARS):
            if not line.strip():
                continue
            try:
                value = _load(line.lstrip("\ufeff"))
            except ValueError:
                bad += 1
                yield None
                continue
            good += 1
            yield from writer.record(value)
        if bad and not good:
            raise SourceDamaged("None of its lines is JSON.", hint="Correct it, or name it .txt.")
        if bad:
            yield Notice(message=f"{bad:,} of {good + bad:,} lines left out, not being JSON.")
        yield from writer.notices()
        yield from reader.notices()


def _load(text: str) -> Any:  # noqa: ANN401 - JSON is of any type
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep() from error


def _too_deep() -> SourceDamaged:
    return SourceDamaged(
        f"It nests values more than {_MAX_DEPTH} deep.", hint="No reader would follow; ingest the part that matters."
    )


def _one_after_the_other(text: str) -> Iterator[Any]:
    """Documents with white space between them, as some programs append them to .json files.

    Raises:
        ValueError: one is broken, or a single word or number follows another one, as in a text.
    """
    decoder = json.JSONDecoder()
    count = 0
    at = _space_end(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except RecursionError as error:
            raise _too_deep() from error
        count += 1
        if count > 1 and not isinstance(value, dict | list):
            raise ValueError("words follow each other")
        yield value
        at = _space_end(text, at)


def _space_end(text: str, at: int) -> int:
    return cast("re.Match[str]", _SPACE.match(text, at)).end()


class _Writer:
    """Writes values as lines ``path: value``."""

    def __init__(self) -> None:
        self._blobs = 0

    def blocks(self, value: Any) -> Iterator[Block]:  # noqa: ANN401
        for block in self._value(value, "", 0, _FIRST_LEVEL):
            yield from bounded(block)

    def record(self, value: Any) -> Iterator[Block]:  # noqa: ANN401
        """A value that is one of many alike."""
        text = self._lines(value, "", 0)
        if text:
            yield from bounded(Block(text=f"{text}\n\n"))

    def notices(self) -> Iterator[Notice]:
        if self._blobs:
            yield Notice(message=f"{plural(self._blobs, 'value')} of encoded data (base64 or the like) left out.")

    def _value(self, value: Any, path: str, depth: int, level: int) -> Iterator[Block]:  # noqa: ANN401
        """Small values as one block, large ones by their parts, those under keys as sections."""
        if depth > _MAX_PARTED_DEPTH or not self._is_large(value, path, depth):
            if text := self._lines(value, path, depth):
                yield Block(text=f"{text}\n\n")
            return
        if isinstance(value, list):
            for item in value:
                yield from self._value(item, path, depth + 1, level)
            return
        value = said_once(value)
        small: dict[str, Any] = {}
        large: dict[str, Any] = {}
        for key, item in value.items():
            (large if self._is_large(item, "", depth + 1) else small)[key] = item
        if small and (text := self._lines(small, path, depth)):
            yield Block(text=f"{text}\n\n")
        for key, item in large.items():
            name = one_line(storable(key))
            if level > _MAX_LEVEL or not name or len(name) > MAX_HEADING_CHARS:
                yield from self._value(item, _joined(path, name), depth + 1, level)
                continue
            yield Block(text=f"{name}\n\n", kind=BlockKind.HEADING, level=level, heading=name)
            yield from self._value(item, "", depth + 1, level + 1)

    def _is_large(self, value: Any, path: str, depth: int) -> bool:  # noqa: ANN401
        """Whether a value has parts and its lines are too long for one block."""
        if not isinstance(value, dict | list):
            return False
        blobs = self._blobs
        size = len(self._lines(value, path, depth))
        self._blobs = blobs
        return size > _SECTION_CHARS

    def _lines(self, value: Any, path: str, depth: int) -> str:  # noqa: ANN401
        if depth > _MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, dict):
            value = said_once(value)
            keys = sorted(value, key=lambda key: _TITLE_KEYS.index(key) if key in _TITLE_KEYS else len(_TITLE_KEYS))
            found = [self._lines(value[key], _joined(path, one_line(storable(key))), depth + 1) for key in keys]
            return "\n".join(text for text in found if text)
        if isinstance(value, list):
            return self._list(value, path, depth)
        text = self._scalar(value)
        return f"{path}: {text}" if path and text else text

    def _list(self, value: list[Any], path: str, depth: int) -> str:
        if all(not isinstance(item, dict | list) for item in value):
            items = list(filter(None, map(self._scalar, value)))
            text = _between(items).join(items)
            return f"{path}: {text}" if path and text else text
        found = [self._lines(item, path, depth + 1) for item in value]
        return "\n".join(text for text in found if text)

    def _scalar(self, value: Any) -> str:  # noqa: ANN401
        if value is None:
            return ""
        if isinstance(value, str):
            if len(value) >= 512 and _BLOB.match(value):
                self._blobs += 1
                return ""
            return storable(value.replace("\r\n", "\n").replace("\r", "\n")).strip()
        return json.dumps(value)


def _between(items: list[str]) -> str:
    """What parts the values of a list, without being taken for a part of one."""
    if all(item.endswith((".", "!", "?")) for item in items):
        return " "
    return "; " if any(", " in item for item in items) else ", "


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
