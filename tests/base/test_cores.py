import math
import os

import pytest

from vidssl_cli.base import cores
from vidssl_cli.base.cores import quota, usable_cores


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


V1 = "12:pids:/job\n4:cpu,cpuacct:/job/step\n1:name=systemd:/"
CPU = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
        (
            {
                "proc/self/cgroup": "0::/job/step",
                "sys/fs/cgroup/job/cpu.max": "400000 100000",
                "sys/fs/cgroup/job/step/cpu.max": "max 100000",
            },
            4,
        ),
        (  # the path is that of the machine, of which a container sees only its own part
            {"proc/self/cgroup": "0::/kubepods/pod7", "sys/fs/cgroup/cpu.max": "50000 100000"},
            0.5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                f"{CPU}/job/cpu.cfs_quota_us": "600000",
                f"{CPU}/job/cpu.cfs_period_us": "100000",
                f"{CPU}/job/step/cpu.cfs_quota_us": "-1",
                f"{CPU}/job/step/cpu.cfs_period_us": "100000",
            },
            6,
        ),
        ({"proc/self/cgroup": V1, f"{CPU}/cpu.cfs_quota_us": "nonsense"}, math.inf),
    ],
)
def test_quotas_of_control_groups(files, expected, tmp_path):
    write(tmp_path, files)
    assert quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("affinity", "limit", "processes", "expected"),
    [(8, math.inf, 1, 8), (8, 2.5, 1, 3), (8, math.inf, 4, 2), (8, 3, 4, 1), (2, 0.5, 1, 1)],
)
def test_usable_cores(affinity, limit, processes, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(cores, "quota", lambda: limit)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert usable_cores() == expected


def test_a_system_without_affinities(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores, "quota", lambda: math.inf)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("99", 8), ("", 8), ("many", 8)])
def test_what_a_sweep_gives_a_job(given, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota", lambda: math.inf)
    monkeypatch.setenv("VIDSSL_CORES", given)
    assert usable_cores() == expected
