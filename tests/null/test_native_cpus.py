"""The number of threads follows affinity and cgroup quotas."""

from __future__ import annotations

from pathlib import Path

import pytest

cpus = pytest.importorskip("legato.backends.native.cpus")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_every_quota_on_the_way_up_counts_in_cgroup_v2(tmp_path):
    write(tmp_path / "cgroup/cpu.max", "max 100000\n")
    write(tmp_path / "cgroup/a/cpu.max", "400000 100000\n")
    write(tmp_path / "cgroup/a/b/cpu.max", "150000 100000\n")
    write(tmp_path / "membership", "0::/a/b\n")
    assert list(cpus.cpu_quotas(tmp_path / "cgroup", tmp_path / "membership")) == [1.5, 4.0]


def test_cgroup_v1_quotas_are_read_and_minus_one_is_none(tmp_path):
    write(tmp_path / "cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cgroup/cpu/job/cpu.cfs_quota_us", "200000\n")
    write(tmp_path / "cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "membership", "4:cpu:/job\n3:memory:/job\n")
    quotas = set(cpus.cpu_quotas(tmp_path / "cgroup", tmp_path / "membership"))
    assert quotas == {2.0}


def test_a_system_without_cgroups_sets_no_quota(tmp_path):
    assert list(cpus.cpu_quotas(tmp_path / "no", tmp_path / "nothing")) == []


def test_a_quota_below_one_cpu_still_gives_one_thread(monkeypatch):
    monkeypatch.setattr(cpus, "cpu_quotas", lambda: iter([0.5]))
    assert cpus.usable_cpus() == 1
