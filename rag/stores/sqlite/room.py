"""Whether a write failed because the disk is full."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

from rag.errors import DiskFull

if TYPE_CHECKING:
    from pathlib import Path

# Less than SQLite needs beside a database to open it at all.
_LEAST_FREE = 1 << 16


def is_full(directory: Path, error: BaseException) -> bool:
    """Whether that is why; ``directory`` is where it happened, or will be made there.

    SQLite, FAISS and NumPy often tell only that writing failed: then it is asked how much room is left.
    """
    number = getattr(error, "errno", None)
    if number is not None:
        return number in (errno.ENOSPC, errno.EDQUOT)
    existing = next((each for each in (directory, *directory.parents) if each.is_dir()), None)
    return existing is not None and shutil.disk_usage(existing).free < _LEAST_FREE


def disk_full(directory: Path) -> DiskFull:
    return DiskFull(
        f"The disk that holds {directory} is full.",
        hint="Free some space and try again; nothing that was kept is lost.",
    )
