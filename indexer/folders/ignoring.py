"""Ignore files: what ``.plumblineignore`` in a folder leaves out of it, written as in a .gitignore."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from indexer.folders.ignore_patterns import IgnoreLine, ignore_lines, verdict

if TYPE_CHECKING:
    from pathlib import Path

IGNORE_FILE: Final = ".plumblineignore"
_MAX_BYTES: Final = 1 << 20


class UnusableIgnoreFile(Exception):
    """What a folder leaves out cannot be told, so nothing in it may be taken in or let go; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """The lines of one ignore file. ``folder``: relative to where the walk began, with a slash at its end."""

    folder: str
    lines: list[IgnoreLine]

    def verdict(self, path: str, *, directory: bool) -> bool | None:
        return verdict(self.lines, path[len(self.folder) :], directory=directory)


@dataclass(frozen=True, slots=True)
class Ignoring:
    """What is ignored in one folder of a tree, by its own ignore file and by those of the folders above it."""

    rules: tuple[_Rules, ...] = ()

    def entering(self, directory: Path, folder: str) -> Self:
        """The same in a folder below; ``folder`` is its path relative to where the walk began, with a slash at its end.

        Raises:
            UnusableIgnoreFile: its ignore file cannot be read or understood.
            OSError: the folder cannot be looked into, so that nobody can tell whether it has one.
        """
        lines = _lines(directory)
        if lines is None:
            return self
        try:
            rules = ignore_lines(lines)
        except ValueError as error:
            raise UnusableIgnoreFile(f"{directory / IGNORE_FILE} cannot be understood: {error}") from error
        return type(self)((*self.rules, _Rules(folder=folder, lines=rules)))

    def by(self, path: str, *, directory: bool) -> str | None:
        """The ignore file that leaves this path out, both relative to where the walk began; None if it stays.

        The file nearest to it decides, and in a file the last line that matches: later lines may begin with ``!``.
        What lies in a folder that is left out is not asked for.
        """
        for rules in reversed(self.rules):
            left_out = rules.verdict(path, directory=directory)
            if left_out is not None:
                return f"{rules.folder}{IGNORE_FILE}" if left_out else None
        return None


def _lines(directory: Path) -> list[str] | None:
    """The lines of a folder's ignore file, None without one; decoded as names are, so that any name can be written."""
    path = directory / IGNORE_FILE
    try:
        # Non-blocking: a pipe with this name must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        path.lstat()  # where this fails, too, it is the folder that is closed or too deep
        raise UnusableIgnoreFile(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableIgnoreFile(f"{path} is not a file")
        if status.st_size > _MAX_BYTES:
            raise UnusableIgnoreFile(f"{path} has more than {_MAX_BYTES:,} bytes")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            text = os.fsdecode(file.read()).removeprefix("\ufeff")
        return [line.removesuffix("\r") for line in text.split("\n")]  # no other character ends a line of a .gitignore
    except OSError as error:
        raise UnusableIgnoreFile(f"{path} cannot be read: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
