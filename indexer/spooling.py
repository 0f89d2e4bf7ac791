"""Documents on their way, as files that have no name: members of archives and mails, pages of the web.

They lie in the data directory: a folder for temporary files may be small, or in memory.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rag.errors import DataDirectoryUnwritable, DiskFull, SourceError
from rag.stores.sqlite.room import is_full

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


class SpoolFull(SourceError):
    """There is no room for a document now."""

    code = DiskFull.code
    passes = True


class Spooled:
    """A file without a name, written first and then read as ``file``."""

    def __init__(self, file: BinaryIO, directory: Path) -> None:
        self.file = file
        self._directory = directory

    def write(self, data: bytes) -> None:
        """Raises SpoolFull: there is no room for it; DataDirectoryUnwritable."""
        try:
            self.file.write(data)
        except OSError as error:
            raise _refused(self._directory, error) from error

    def end(self) -> None:
        """All is written. Errors: as ``write``."""
        try:
            self.file.flush()
        except OSError as error:
            raise _refused(self._directory, error) from error


class Spool:
    """Where documents are on their way; in the system's folder for temporary files without a ``directory``."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    @contextmanager
    def file(self) -> Iterator[Spooled]:
        """A new file, gone when the context ends. Errors: as ``Spooled.write``."""
        directory = self._directory or Path(tempfile.gettempdir())
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = cast("BinaryIO", tempfile.TemporaryFile(dir=directory))  # noqa: SIM115 - closed below
        except OSError as error:
            raise _refused(directory, error) from error
        try:
            yield Spooled(file, directory)
        finally:
            with suppress(OSError):  # it tries once more to write what it holds
                file.close()


def _refused(directory: Path, error: OSError) -> SpoolFull | DataDirectoryUnwritable:
    if is_full(directory, error):
        return SpoolFull(
            f"There is no room for it on the disk that holds {directory}, where it is read from.",
            hint="Free some space and ingest it again.",
        )
    return DataDirectoryUnwritable(
        f"A document could not be written to a temporary file in {directory}: {error}.",
        hint="Check the folder's owner and permissions, and the disk.",
    )
