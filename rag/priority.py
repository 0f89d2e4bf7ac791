"""Who comes first where work outnumbers cores: queries, before anything that is done beside them."""

from __future__ import annotations

import os
import sys
import threading
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
