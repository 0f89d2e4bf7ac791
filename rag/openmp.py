"""How the threads of OpenMP, which llama.cpp and torch compute with, wait for each other."""

from __future__ import annotations

import os


def wait_passively() -> None:
    """Let OpenMP threads spin only for microseconds while they wait for each other, unless the environment decides.

    By default they spin for as long as a step takes, which is fastest if nothing else wants the cores; with an ingest
    or a compiler beside it, that made generation on 2 cores 10 to 30 times slower, and embedding 4 times. Not spinning
    at all costs a quarter of the decoding speed in a benchmark on an idle machine, and a short spin gave it back;
    beside other work the two could not be told apart, and in `rag ask` and in embedding no gain was seen
    (docs/lab-log.md). Each library brings an OpenMP of its own, which reads it on loading: call this before.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
