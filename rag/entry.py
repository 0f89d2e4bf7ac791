"""Where the programs begin: before their libraries are imported, so that Ctrl-C meanwhile ends them without a word."""

from __future__ import annotations

import signal
from importlib import import_module


def rag() -> None:
    """The ``rag`` command."""
    begin("rag.cli")


def indexer() -> None:
    """The ``indexer`` command."""
    begin("indexer.cli")


def begin(module: str) -> None:
    """Import ``module`` and call its ``main``. An interruption of the import is the system's to answer."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever began it ignores them
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    main = import_module(module).main
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
