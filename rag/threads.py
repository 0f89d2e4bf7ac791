"""How many CPU threads this process may really use: affinity and the container's CPU quota."""

from __future__ import annotations

import os
from pathlib import Path

_V2_MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
_V1_MOUNTS = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")


def available_threads(*, root: Path = Path("/"), affinity: int | None = None) -> int:
    """Cores in the affinity mask, or the CPU quota rounded down, whichever is less; at least 1.

    Rounded down because llama.cpp's threads wait for each other after every operation: one throttled thread stops
    them all. ``root`` is where ``proc`` and ``sys`` are looked for.
    """
    cores = affinity if affinity is not None else _affinity()
    quota = _cpu_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quota(root: Path) -> float | None:
    """Cores the process's control groups grant, the tightest of them; None if nothing limits."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_v2_quota(group) for group in _groups(root, _V2_MOUNTS, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_v1_quota(group) for group in _groups(root, _V1_MOUNTS, path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(root: Path, mounts: tuple[str, ...], path: str) -> list[Path]:
    """The group and its ancestors. Inside a container the path may be the host's: only the mount itself is there."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [root / mount / Path(*parts[:depth]) for mount in mounts for depth in range(len(parts) + 1)]


def _v2_quota(group: Path) -> float | None:
    fields = _read(group / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _v1_quota(group: Path) -> float | None:
    quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
