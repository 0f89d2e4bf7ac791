"""Compound files, which documents of older office programs are: their streams, by olefile (BSD)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from indexer.parsers.office.package import telling_title
from rag.errors import SourceDamaged

if TYPE_CHECKING:
    from typing import BinaryIO

    from olefile import OleFileIO

# Of the file's own size, what its streams may come to together, so that one that was cut is read as far as it goes.
_MOST_OF_SIZE: Final = 8
HINT: Final = "The file may be cut off; get or export it again."
_TITLE_CHARSET: Final = "cp1252"


def open_streams(file: BinaryIO) -> OleFileIO:
    """Open a compound file whose streams fit into it; of one that leads in circles olefile reads all that it states.

    Raises:
        OSError, ValueError, IndexError, struct.error: it cannot be read as one.
    """
    from olefile import STGTY_ROOT, STGTY_STREAM, OleFileIO

    opened = OleFileIO(file)
    # Storages state sizes, too, that mean nothing.
    read = {STGTY_ROOT, STGTY_STREAM}
    stated = [entry.size for entry in opened.direntries if entry is not None and entry.entry_type in read]
    stated.append(opened.num_mini_fat_sectors * opened.sector_size)
    if sum(stated) > _MOST_OF_SIZE * len(opened.fat) * opened.sector_size:
        raise OSError("its parts are larger than it is")
    return opened


class CompoundFile:
    """An open compound file.

    Raises (when made):
        SourceDamaged: it cannot be read as one.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._file = open_streams(file)
        except (OSError, ValueError, IndexError, struct.error) as error:
            raise SourceDamaged(f"Its container cannot be read: {error}.", hint=HINT) from error

    def __contains__(self, name: str) -> bool:
        return bool(self._file.exists(name))

    def read(self, name: str) -> bytes:
        """All bytes of a stream.

        Raises:
            SourceDamaged: it is not there or cannot be read.
        """
        try:
            with self._file.openstream(name) as stream:
                return bytes(stream.read())
        except (OSError, ValueError, IndexError, struct.error) as error:
            raise SourceDamaged(f"Its part {name} cannot be read: {error}.", hint=HINT) from error

    def title(self) -> str:
        """The title in the document's properties; empty where it says nothing."""
        if "\x05SummaryInformation" not in self:
            return ""
        # Damaged properties are logged by olefile and left out; the text is what counts.
        title = self._file.get_metadata().title
        text = title.decode(_TITLE_CHARSET, errors="replace") if isinstance(title, bytes) else str(title or "")
        return telling_title(text.replace("\x00", ""))
