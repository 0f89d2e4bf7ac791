"""What a pull reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

PullPhase = Literal["waiting", "source", "downloading", "verifying", "failed", "placed", "ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullEvent:
    """One step of a pull.

    ``done`` and ``total`` are bytes of the model that was incomplete when the pull began; ``source`` is where they come
    from; ``message`` says why for ``failed`` and ``waiting``. ``downloading`` may come hundreds of times a second.
    """

    model: str
    phase: PullPhase
    source: str = ""
    file: str = ""
    done: int = 0
    total: int = 0
    message: str = ""


PullProgress = Callable[[PullEvent], None]


def no_progress(event: PullEvent) -> None:
    """Report to nobody."""
