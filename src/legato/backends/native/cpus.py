"""Which processor this is, and how many threads this process may really run on it at once."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROCESS_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """CPUs of the affinity mask, bounded by the cgroup quota (v1 or v2); at least one.

    A quota of one and a half CPUs gives one: threads that spin together would be throttled.
    """
    return max(1, min([allowed_cpus(), *(int(quota) for quota in cpu_quotas())]))


def allowed_cpus() -> int:
    """CPUs of the affinity mask; all of the machine where the system has no such mask (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_quotas(root: Path = CGROUP_ROOT, membership: Path = PROCESS_CGROUPS) -> Iterator[float]:
    """Every CPU quota that applies to this process, in CPUs."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _quotas_v2(root, path)
        elif "cpu" in controllers.split(","):
            yield from _quotas_v1(root / controllers, path)
            yield from _quotas_v1(root / "cpu", path)


def _quotas_v2(root: Path, path: str) -> Iterator[float]:
    for folder in _upwards(root, path):
        for line in _lines(folder / "cpu.max"):
            quota, period = line.split()
            if quota != "max":
                yield int(quota) / int(period)


def _quotas_v1(root: Path, path: str) -> Iterator[float]:
    for folder in _upwards(root, path):
        quota, period = _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us")
        if quota and period and int(quota[0]) > 0:
            yield int(quota[0]) / int(period[0])


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """`root`/`path` and every folder above it, down to `root`: each may set a limit."""
    folder = root / path.strip().lstrip("/")
    yield folder
    yield from (parent for parent in folder.parents if parent.is_relative_to(root))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
