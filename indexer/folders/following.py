"""A folder followed as it changes: what to look at, and when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from watchfiles import watch

from indexer.folders.settling import Settling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_TICK_MS: Final = 250
_POLL_MS: Final = 2000
# A file that was written to within this time is taken to be written still; at polling it takes two looks to see that.
_QUIET_S: Final = 0.75
_QUIET_POLLED_S: Final = 2.5 * _POLL_MS / 1000
# The system may lose changes (its queue is bounded, network drives tell nothing of other machines): everything is
# looked at this long after the last time, or after twenty times as long as that took.
_LOOK_S: Final = 300.0
_LOOK_SHARE: Final = 20.0
# The same where changes were lost for certain, which may go on for as long as somebody writes.
_BLIND_S: Final = 2.0
_UNDECODABLE: Final = "Unable to decode path"  # watchfiles' own words; the class of the error stands for others too


class Follower:
    """Hears how a folder is followed; this one ignores everything."""

    def waiting(self, folder: Path) -> None:
        """The folder is not there."""

    def polling(self, reason: str) -> None:
        """From now on the folder is looked through again and again, for the system does not tell of changes."""

    def stop(self) -> bool:
        """Whether to end."""
        return False


class Following:
    """Tells when a look at a folder is due. ``poll``: look through it again and again, whatever the system offers."""

    def __init__(self, folder: Path, follower: Follower, *, poll: bool = False) -> None:
        self._folder = folder.absolute()  # as the system tells of what is in it
        self._follower = follower
        self.poll = poll
        self._settling = Settling(self._folder)
        self._due = time.monotonic()
        self._took_s = 0.0

    def busy(self) -> AbstractSet[str]:
        """Paths relative to the folder that are not quiet yet, and are looked at later."""
        return self._settling.busy()

    def again(self, places: AbstractSet[str] | None, *, after_s: float) -> None:
        """A look came to nothing: it is due again; everything (None) after so many seconds."""
        if places is None:
            self._due = time.monotonic() + after_s
        else:
            self._settling.again(places)

    def looks(self) -> Iterator[AbstractSet[str] | None]:
        """What to look at now: paths relative to the folder, or None for everything, at first and whenever it is due.

        Waits between them; ends when the follower says stop. A folder that vanishes is waited for.
        """
        while self._wait_for_folder():
            try:
                yield from self._follow(_identity(self._folder))
            except FileNotFoundError:  # gone again already
                pass
            except (OSError, RuntimeError) as error:
                if self.poll or str(error).startswith(_UNDECODABLE):
                    yield from self._blind()
                    continue
                self.poll = True  # no room for watches, or no such facility
                self._follower.polling(f"the system does not tell of changes ({error})")
            self._settling.clear()
            self._due = time.monotonic()

    def is_set(self) -> bool:
        """What watchfiles asks between two waits."""
        return self._follower.stop()

    def _wait_for_folder(self) -> bool:
        told = False
        while not self._follower.stop():
            if self._folder.is_dir():
                return True
            if not told:
                self._follower.waiting(self._folder)
                told = True
            time.sleep(_TICK_MS / 1000)
        return False

    def _follow(self, identity: tuple[int, int] | None) -> Iterator[AbstractSet[str] | None]:
        quiet_s = _QUIET_POLLED_S if self.poll else _QUIET_S
        changes = watch(
            self._folder,
            watch_filter=None,
            debounce=_TICK_MS,
            stop_event=self,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            force_polling=self.poll or None,
            poll_delay_ms=_POLL_MS,
            ignore_permission_denied=True,
        )
        for batch in changes:
            self._settling.note(path for _kind, path in batch)
            if _identity(self._folder) != identity:  # another disk, another folder, or none
                return
            if time.monotonic() >= self._due:
                yield from self._look()
            elif places := self._settling.take(quiet_s):
                yield places

    def _look(self) -> Iterator[None]:
        self._settling.clear()
        started = time.monotonic()
        self._due = float("inf")
        yield None
        ended = time.monotonic()
        self._took_s = ended - started
        self._due = min(self._due, ended + max(_LOOK_S, _LOOK_SHARE * self._took_s))

    def _blind(self) -> Iterator[None]:
        """What told of changes has failed, as watchfiles does at each name that is not UTF-8, and lost some of them.

        Everything is to be looked at soon after it has begun anew; here, if it fails again before it comes to that.
        """
        if time.monotonic() >= self._due:
            yield from self._look()
        self._due = min(self._due, time.monotonic() + max(_BLIND_S, self._took_s))
        time.sleep(_TICK_MS / 1000)


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
