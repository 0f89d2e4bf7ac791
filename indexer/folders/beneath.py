"""Opening files of a folder that others may write to: a link that was put there meanwhile leads nowhere else."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

# Enough to go through a folder that cannot be listed.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_IS_LINK: Final = (errno.ELOOP, errno.ENOTDIR)


class LeadsOut(OSError):
    """The path leads out of its folder."""


def open_beneath(root: Path, path: Path, flags: int) -> int:
    """Open a file below a folder: through links that lead to places in it, and no others. Returns the descriptor.

    ``root`` is absolute and free of links.

    Raises:
        LeadsOut: the file, or a folder on the way to it, is a link that leads out of ``root``.
    """
    try:
        return _open(root, path, flags)
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
    try:
        return _open(root, Path(os.path.realpath(path, strict=True)), flags)
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
        raise LeadsOut(error.errno, "it is a link that changes") from error


def _open(root: Path, path: Path, flags: int) -> int:
    """Through no link below ``root`` at all."""
    try:
        *folders, name = path.relative_to(root).parts
    except ValueError as error:
        raise LeadsOut(errno.EXDEV, "it leads out of its folder") from error
    folder = os.open(root, _FOLDER)
    try:
        for each in folders:
            below = os.open(each, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
