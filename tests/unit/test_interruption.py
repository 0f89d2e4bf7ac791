"""What is said on Ctrl-C."""

from __future__ import annotations

import io
import signal
import sys

import pytest

from indexer.commands.interruption import Interruption


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_it_does_not_stand_behind_the_bar(monkeypatch, terminal):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    with Interruption() as interruption, interruption.working():
        signal.raise_signal(signal.SIGINT)
    said = "Stopping after what is being embedded; press Ctrl-C again to stop now.\n"
    assert (interruption.requested(), screen.getvalue()) == (True, f"\n{said}" if terminal else said)
