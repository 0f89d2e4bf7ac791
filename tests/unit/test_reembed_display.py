"""What a re-embedding shows on a terminal."""

from __future__ import annotations

import io
import re
import sys

from indexer.commands.reembed_display import ReembedDisplay
from indexer.reembedding import Validation


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_what_was_measured_does_not_begin_where_the_bar_ends(monkeypatch):
    screen = io.BytesIO()
    monkeypatch.setenv("TERM", "xterm")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal(screen, "utf-8", write_through=True))
    validation = Validation(
        chunks=2, index="flat", recall_at_10=1.0, queries=2, k=1, found=1.0, found_before=1.0, problems=()
    )
    with ReembedDisplay(as_json=False, stop=lambda: False) as display:
        display.step("asking sample queries")
        display.validated(validation)
    before = screen.getvalue().decode().partition("validated:")[0]
    assert "asking sample queries" in before
    assert re.search(r"\x1b\[2K\Z", before)  # the line of the bar is empty again
