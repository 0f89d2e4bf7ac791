"""Who comes first where work outnumbers cores: queries, before anything that is done beside them."""

from __future__ import annotations

import os
import sys
import threading
from typing import Final

# The least share of the cores that the scheduler has.
LEAST: Final = 19


def give_way() -> None:
    """Give this thread, and those that it starts, the least share. Threads have priorities on Linux only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LEAST)
