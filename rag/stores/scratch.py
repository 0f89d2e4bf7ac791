"""Folders for work that is not finished: whoever works there holds a lock, which ends with the process."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRATCH: Final = ".unfinished-backup-"


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A new folder that others take for left over as soon as this process is dead; those of dead ones are removed."""
    for path in directory.glob(f"{SCRATCH}*"):
        if not is_held(path):
            shutil.rmtree(path, ignore_errors=True)  # it costs space; the next one tries again
    mine = directory / f"{SCRATCH}{os.getpid()}-{os.urandom(4).hex()}"
    mine.mkdir(mode=0o700)
    descriptor = os.open(mine, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the system lets go of it when the process dies
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        os.close(descriptor)


def is_held(directory: Path) -> bool:
    """Whether somebody still works in it; one that was just removed counts as held."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:  # it was just removed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
