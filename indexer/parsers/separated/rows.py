"""Rows of a table in text, one after the other; a quotation mark that is never closed costs nothing but itself."""

from __future__ import annotations

import csv
from collections import deque
from typing import TYPE_CHECKING

from indexer.parsers.blocks import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.parsers.separated.dialect import Dialect


class Rows:
    """An iterator of rows. The lines of one row are held, no more."""

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self._lines = lines
        self._dialect = dialect
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._ended = False
        self._unclosed = 0

    def __iter__(self) -> Iterator[list[str]]:
        while not self._ended:
            yield from self._until_torn()

    def notices(self) -> Iterator[Notice]:
        """What a person should know of the rows that were read."""
        if count := self._unclosed:
            rows = "One row holds" if count == 1 else f"{count:,} rows hold"
            yield Notice(message=f"{rows} a quotation mark that is never closed; it was read as any other character.")

    def _until_torn(self) -> Iterator[list[str]]:
        reader = self._dialect.reader(self._source())
        while True:
            self._taken = []
            try:
                row = next(reader, None)
            except csv.Error:  # a cell has grown beyond all measure
                break
            if row is None:
                return
            if self._ended:  # it asked for more, so its mark is open
                break
            yield row
        self._unclosed += 1
        first, *others = self._taken
        self._again.extendleft(reversed(others))
        self._ended = False
        yield from self._dialect.reader(iter([first]), quoted=False)

    def _source(self) -> Iterator[str]:
        while (line := self._again.popleft() if self._again else next(self._lines, None)) is not None:
            self._taken.append(line)
            yield line
        self._ended = True
