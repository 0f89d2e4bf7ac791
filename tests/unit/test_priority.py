"""What gives way to queries has a small share of the cores, and never a larger one than it had."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from rag.priority import BEHIND, LEAST, give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities on Linux only")


def test_a_thread_gives_way_alone_and_only_more():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen = []

    def see(*niceness: int) -> None:
        give_way(*niceness)
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def run() -> None:
        see(BEHIND)
        see()
        see(BEHIND)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [max(before, BEHIND), LEAST, LEAST]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
