"""Ctrl-C: the first asks to stop after what is at work, the second stops at once.

While files are only looked for nothing is at work, and the first stops at once, too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

import rich_click as click

from indexer.steps import Stopped
from rag.commands.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType


# A sleep goes on after a signal.
_LONGEST_SLEEP_S: Final = 0.5


class StoppedLooking(KeyboardInterrupt):
    """Interrupted before anything was done."""


class Interruption:
    """While entered, SIGINT and SIGTERM set ``requested``; a second one raises KeyboardInterrupt.

    Where that leaves it the process ends with 130, without waiting for its threads: what they are at is lost.
    """

    def __init__(self, after: str = "what is being embedded") -> None:
        self._after = after
        self._requested = self._again = False
        self._working = False
        self._before: dict[int, signal._HANDLER] = {}
        self._looking = False

    def requested(self) -> bool:
        return self._requested

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, or until soon after it is interrupted."""
        end = time.monotonic() + seconds
        while not self._requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_SLEEP_S))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """What is done meanwhile may end anywhere. Raises StoppedLooking: it was interrupted, or told to stop."""
        self._looking = True
        try:
            if self._requested:
                raise StoppedLooking
            yield
        except (KeyboardInterrupt, Stopped) as error:
            _say("Stopped while looking for files; nothing was done.")
            raise StoppedLooking from error
        finally:
            self._looking = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is done meanwhile ends soon after it is interrupted, and whoever does that is told so."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def __enter__(self) -> Self:
        # Only the main thread may set handlers; elsewhere there is no terminal to interrupt from.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self._again and isinstance(error, KeyboardInterrupt):
            _say("Stopped; what was not finished is done the next time.")
            sys.stdout.flush()
            os._exit(EXIT_INTERRUPTED)  # an orderly end would wait for what is being embedded

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._requested:
            self._again = True
            raise KeyboardInterrupt
        self._requested = True
        if self._looking:
            raise KeyboardInterrupt
        if self._working:
            # A service has nobody to press it.
            again = "; press Ctrl-C again to stop now" if number == signal.SIGINT else ""
            _say(f"Stopping after {self._after}{again}.")


def _say(message: str) -> None:
    # The cursor of a terminal stands behind ^C, and where there is a bar, behind that.
    click.echo(f"\n{message}" if sys.stderr.isatty() else message, err=True)
