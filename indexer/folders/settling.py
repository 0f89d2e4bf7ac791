"""Paths that have changed, until they are quiet: a file that is being written is not read yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from indexer.folders.ignoring import IGNORE_FILE
from indexer.folders.walking import concerns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Settling:
    """Keeps paths below ``folder``; ``clock`` is monotonic, in seconds."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix = f"{folder.as_posix().rstrip('/')}/"
        self._clock = clock
        self._last: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._last)

    def note(self, paths: Iterable[str]) -> None:
        """These have changed just now, each written with the folder in front. What no walk finds is let pass."""
        now = self._clock()
        for path in paths:
            place = _place(path.removeprefix(self._prefix) if path.startswith(self._prefix) else "")
            if place is not None:
                self._last[place] = now

    def again(self, places: Iterable[str]) -> None:
        """These were taken and could not be looked at: they come again when they have been quiet once more."""
        now = self._clock()
        for place in places:
            self._last.setdefault(place, now)

    def take(self, quiet_s: float) -> set[str]:
        """Those that have been quiet for so long, relative to the folder; ``""`` is the folder itself."""
        now = self._clock()
        ready = {place for place, last in self._last.items() if now - last >= quiet_s}
        for place in ready:
            del self._last[place]
        return ready

    def busy(self) -> set[str]:
        """Those that wait to be quiet: what a look at a folder around them leaves alone."""
        return set(self._last)

    def clear(self) -> None:
        self._last.clear()


def _place(inside: str) -> str | None:
    """Where to look for what came of a change; None if it cannot matter."""
    if not inside:
        return ""
    *folders, name = inside.split("/")
    if not all(map(concerns, (*folders, name))):
        return None
    return "/".join(folders) if name == IGNORE_FILE else inside
