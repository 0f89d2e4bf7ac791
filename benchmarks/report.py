"""What was measured, on what machine, beside which target: printed as a table, written as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.options import stated

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

Row = dict[str, float]

# As the user set them: rag.inference.binding sets its own for this process before llama.cpp is loaded.
OPENMP_AT_START = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value with its target, if it has one: ``met`` says whether it is reached."""

    name: str
    value: float
    unit: str
    target: float | None
    met: bool | None


class Report:
    """Collects rounds of every side, then figures drawn from them."""

    def __init__(self, benchmark: str, options: argparse.Namespace) -> None:
        self._path: Path | None = options.json
        self._began = time.monotonic()
        self._rows: dict[str, list[Row]] = {}
        self._figures: list[Figure] = []
        self._facts: dict[str, Any] = {
            "benchmark": benchmark,
            "model": {"name": options.model.name, "sha256": options.model.sha256},
            "threads": options.threads,
            "options": stated(options),
            "machine": machine(),
            "sides": {},
        }

    def side(self, name: str, **facts: object) -> None:
        """Say how a side was set up: flags, options, token counts."""
        self._facts["sides"].setdefault(name, {}).update(facts)
        print(f"{name}: " + ", ".join(f"{key}={value}" for key, value in facts.items()), flush=True)

    def add(self, side: str, **row: float) -> None:
        """Record one round of a side, and print it as it comes."""
        self._rows.setdefault(side, []).append(row)
        print(f"  {side}: " + ", ".join(f"{key} {_short(value)}" for key, value in row.items()), flush=True)

    def values(self, side: str, key: str) -> list[float]:
        return [row[key] for row in self._rows[side] if key in row]

    def median(self, side: str, key: str) -> float:
        return statistics.median(self.values(side, key))

    def figure(
        self, name: str, value: float, unit: str = "", *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """Record a result, with the target it is held against."""
        target = at_least if at_least is not None else at_most
        met = None if target is None else (value >= target if at_least is not None else value <= target)
        self._figures.append(Figure(name=name, value=value, unit=unit, target=target, met=met))

    def finish(self) -> None:
        """Print medians and figures; write the JSON file if one was asked for."""
        for side, rows in self._rows.items():
            medians = {key: statistics.median(self.values(side, key)) for key in rows[0]}
            print(f"{side}, median of {len(rows)}: " + ", ".join(f"{k} {_short(v)}" for k, v in medians.items()))
        width = max((len(figure.name) for figure in self._figures), default=0)
        for figure in self._figures:
            verdict = "" if figure.met is None else f"  (target {figure.target:g}: {'met' if figure.met else 'missed'})"
            print(f"{figure.name:<{width}}  {_short(figure.value)}{figure.unit}{verdict}")
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._document(), indent=2) + "\n", encoding="utf-8")

    def _document(self) -> dict[str, Any]:
        rounds = {
            side: [{key: round(value, 4) for key, value in row.items()} for row in rows]
            for side, rows in self._rows.items()
        }
        return {
            **self._facts,
            "seconds": round(time.monotonic() - self._began, 1),
            "rounds": rounds,
            "figures": [asdict(figure) | {"value": round(figure.value, 4)} for figure in self._figures],
        }


def machine() -> dict[str, Any]:
    """What the figures depend on. The load average is that of before the benchmark, its own work not in it."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "llama_cpp_python": version("llama-cpp-python"),
        "numpy": version("numpy"),
        "openmp_set_by_user": OPENMP_AT_START,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def turns(sides: Sequence[str], number: int) -> list[str]:
    """The order in which sides run in a round: everybody begins as often as the others."""
    start = number % len(sides)
    return [*sides[start:], *sides[:start]]


def _first(path: str, field: str) -> str | None:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
