"""A directory that many tests begin with, made once: its content is kept, and put back where it was made.

The place stays the same because documents are known by their paths.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Scene:
    def __init__(self, folder: Path) -> None:
        self._work, self._kept = folder / "work", folder / "kept"

    def cleared(self) -> Path:
        """The directory, empty, whatever the test before left in it."""
        if self._work.exists():
            shutil.rmtree(self._work)
        self._work.mkdir()
        return self._work

    def set_up(self, make: Callable[[], None]) -> None:
        """Fill the empty directory: the first time by ``make``, later with what that made."""
        if self._kept.exists():
            shutil.copytree(self._kept, self._work, dirs_exist_ok=True)
        else:
            make()
            shutil.copytree(self._work, self._kept)
