"""Files of a folder that could not be taken in: when each of them is tried again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from rag.stores.source_moves import holders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from indexer.folders.mirror import FoundFile
    from indexer.report import SourceFailure

_FIRST_S: Final = 300.0  # a watch looks at everything no more often
_LONGEST_S: Final = 86_400.0


class _Failed(NamedTuple):
    file: FoundFile
    pause_s: float
    due: float


class FailingFiles:
    """A file is tried again when it is not as it was: its content, its times, or who may read it.

    Where the cause lies outside of it and may pass, it is also tried after a while, each time after twice as long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, _Failed] = {}

    def waits(self, file: FoundFile) -> bool:
        """Whether it is not to be tried now."""
        failed = self._failed.get(file.uri)
        return failed is not None and failed.file.same(file) and self._clock() < failed.due

    def note(self, tried: Iterable[FoundFile], failures: Iterable[SourceFailure]) -> None:
        """What became of these files; a failure in a container is the container's."""
        files = {file.uri: file for file in tried}
        passing: dict[str, bool] = {}
        for failure in failures:
            for uri in filter(files.__contains__, (failure.uri, *holders(failure.uri))):
                passing[uri] = failure.passes or passing.get(uri, False)
        for uri, file in files.items():
            before = self._failed.pop(uri, None)
            if (passes := passing.get(uri)) is not None:
                again = before is not None and before.file.same(file)
                pause_s = min(2 * before.pause_s, _LONGEST_S) if before and again else _FIRST_S
                due = self._clock() + pause_s if passes else float("inf")
                self._failed[uri] = _Failed(file, pause_s, due)
