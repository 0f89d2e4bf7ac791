"""What gives way to queries has a small share of the cores, and never a larger one than it had."""

from __future__ import annotations

import os
import subprocess
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


@pytest.mark.parametrize("niceness", [0, LEAST])
def test_what_computes_at_the_least_share_takes_only_what_is_left_over(niceness):
    program = f"""
import os
from concurrent.futures import ThreadPoolExecutor
from rag.priority import compute_behind

def policies():
    with ThreadPoolExecutor(1) as batch:
        return os.sched_getscheduler(0), batch.submit(os.sched_getscheduler, 0).result()

own = os.nice({niceness})
with ThreadPoolExecutor(1, initializer=compute_behind) as embedding:
    found = embedding.submit(policies).result()
assert set(found) == {{os.SCHED_IDLE if own == {LEAST} else os.SCHED_OTHER}}, found
assert os.sched_getscheduler(0) == os.SCHED_OTHER
"""
    subprocess.run([sys.executable, "-c", program], check=True)
