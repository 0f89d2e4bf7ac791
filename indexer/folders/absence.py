"""Whether a file that was not found is gone: deleted or left out on purpose, and not just out of sight."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from indexer.folders.ignoring import UnusableIgnoreFile
from indexer.folders.walking import walk, why_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rag.source_types import KnownSource

# Times of file systems are coarse, up to two seconds.
CLOCKS_DIFFER_S: Final = 2.0


class Evidence:
    """Looks for the files of documents in a folder of which ``unreadable`` addresses could not be looked through."""

    def __init__(self, root: Path, unreadable: Iterable[str]) -> None:
        self._root = root
        self._anchor = root.resolve()
        self._unreadable = frozenset(unreadable)
        self._empty: bool | None = None

    def of(self, source: KnownSource) -> tuple[str, bool]:
        """What is to be said of a document whose file was not found, and whether it proves that the file is gone."""
        path = Path(source.uri)
        for place in (source.uri, *map(str, path.parents)):
            if place in self._unreadable:
                return f"{place} could not be read", False
        if self._holds_nothing():
            return f"nothing at all was found in {self._root}: it may be a disk that is not mounted", False
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return self._of_absent(source, path.resolve())  # a link is where it leads to
        except (OSError, ValueError) as error:
            return f"it could not be looked for: {error}", False
        return self._of_present(path)

    def _holds_nothing(self) -> bool:
        if self._empty is None:
            self._empty = not any(found.error is None and found.left_out is None for found in walk(self._root))
        return self._empty

    def _of_absent(self, source: KnownSource, path: Path) -> tuple[str, bool]:
        folder = path.parent
        while folder != self._anchor and not folder.is_dir():
            folder = folder.parent
        try:
            # Whoever deletes a file changes its folder, and no program can set the time of that. A folder that is empty
            # and was last changed before the document was stored is not the one that the file was in: a disk had been
            # mounted on it. Hidden files may be there to keep the empty folder.
            unchanged = folder.stat().st_ctime < source.stored_at.timestamp() - CLOCKS_DIFFER_S
            if unchanged and all(entry.name.startswith(".") for entry in folder.iterdir()):
                return f"{folder} is empty and nothing was deleted in it: it may be a disk that is not mounted", False
        except OSError as error:
            return f"{folder} could not be looked through: {error.strerror or error}", False
        return "there is no such file any more", True

    def _of_present(self, path: Path) -> tuple[str, bool]:
        if not path.is_file():
            return "it is not a file any more", True
        try:
            reason = why_left_out(self._root, path.relative_to(self._anchor).as_posix())
        except (OSError, UnusableIgnoreFile) as error:
            return f"it could not be looked for: {error}", False
        if reason is not None:
            return reason, True
        place = path.parent.resolve() / path.name
        # A folder that was moved, with a link to it left in its place, is walked where it is.
        return ("it has come back meanwhile", False) if place == path else (f"it is {place} now", True)
