"""Thread counts by affinity and control-group quotas, read from made-up /proc and /sys trees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rag.threads import available_threads

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_a_quota_every_core_of_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert available_threads(root=tmp_path, affinity=6) == 6


@pytest.mark.parametrize(("cpu_max", "threads"), [("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1)])
def test_v2_quota_is_rounded_down_to_at_least_one(tmp_path: Path, cpu_max: str, threads: int) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": cpu_max + "\n"})
    assert available_threads(root=root, affinity=8) == threads


def test_v2_without_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert available_threads(root=root, affinity=8) == 8


def test_v2_quota_of_an_ancestor_binds(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/service\n",
            "sys/fs/cgroup/slice/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/slice/service/cpu.max": "max 100000\n",
        },
    )
    assert available_threads(root=root, affinity=8) == 2


def test_v1_quota(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "7:memory:/x\n3:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        },
    )
    assert available_threads(root=root, affinity=8) == 3


def test_v1_inside_a_container_only_the_mount_is_visible(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/docker/not-visible-here\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert available_threads(root=root, affinity=8) == 1


def test_v1_minus_one_means_no_limit(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert available_threads(root=root, affinity=4) == 4


def test_a_quota_never_raises_the_count(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"})
    assert available_threads(root=root, affinity=2) == 2


def test_of_this_machine_is_within_its_cores() -> None:
    assert 1 <= available_threads() <= (os.cpu_count() or 1)
