"""Who comes first where work outnumbers cores: queries, before anything that is done beside them."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

# The least share of the cores that the scheduler has, for what nobody waits for; and, beside somebody else's work, a
# tenth of a core, for what a person waits for that lets queries come first.
LEAST: Final = 19
BEHIND: Final = 10


def give_way(niceness: int = LEAST) -> None:
    """Give this thread, and those that it starts, a small share at most. Threads have priorities on Linux only."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


def compute_behind() -> None:
    """`give_way` for what computes in a process of its own, where it holds no lock that others wait for.

    Where the process has the least share already, the thread takes only what nobody else wants (``SCHED_IDLE``,
    sched(7)): whatever wakes up takes its core at once, where a thread of the least share ends its slice first.
    """
    give_way(BEHIND)
    if sys.platform == "linux" and os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == LEAST:
        with suppress(OSError):  # kernels that know one policy, as gVisor: the least share it is
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # of this thread


def session_gives_way() -> None:
    """Let the session of this process give way as the process does.

    Where Linux groups processes by session (autogroups, sched(7)), niceness counts within a session only: a program in
    another terminal has as much of the cores. For processes with a session of their own.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # kernels without autogroups, and those that just heard of another one
            Path("/proc/self/autogroup").write_text(f"{os.getpriority(os.PRIO_PROCESS, 0)}\n")
