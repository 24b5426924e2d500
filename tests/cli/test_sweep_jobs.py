"""Chains of commands: what fails ends its chain alone, and a signal ends them all."""

import os
import signal
import sys

import pytest

from vidssl_cli.cli.sweep_jobs import Job, JobPool, places, visible_gpus


def shell(folder, name, *lines):
    return Job(name, [["sh", "-c", line] for line in lines], folder / f"{name}.log")


def test_chains_are_run_and_a_failure_ends_its_own(tmp_path):
    jobs = [
        shell(tmp_path, "good", "echo one", "echo two >&2"),
        shell(tmp_path, "bad", "echo three; exit 3", "echo never"),
        shell(tmp_path, "killed", "kill -9 $$"),
        shell(tmp_path, "last", "true"),
    ]
    reported = []
    ended = JobPool([{}, {}]).run(jobs, reported.append)
    assert [each.status for each in ended] == [0, 3, -9, 0]
    assert sorted(each.job.name for each in reported) == ["bad", "good", "killed", "last"]
    assert (tmp_path / "good.log").read_text() == "one\ntwo\n"
    assert (tmp_path / "bad.log").read_text() == "three\n"


def test_logs_grow_and_commands_have_no_input(tmp_path):
    for _ in range(2):
        JobPool([{}]).run([shell(tmp_path, "job", "cat; echo said")], lambda done: None)
    assert (tmp_path / "job.log").read_text() == "said\nsaid\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_running_command_and_no_other_begins(number, tmp_path):
    script = f"""
import os, signal, time
def end(*_): print("saved", flush=True); raise SystemExit(75)
signal.signal(signal.SIGTERM, end)
os.kill(os.getppid(), {int(number)})
while True: time.sleep(9)
"""
    first = Job("first", [[sys.executable, "-c", script], ["echo", "no"]], tmp_path / "first.log")
    before = signal.getsignal(signal.SIGTERM)
    pool = JobPool([{}])
    ended = pool.run([first, shell(tmp_path, "second", "echo no")], lambda done: None)
    assert pool.received == number
    assert [each.status for each in ended] == [75, None]
    assert (tmp_path / "first.log").read_text() == "saved\n"
    assert (tmp_path / "second.log").read_text() == ""
    assert signal.getsignal(signal.SIGTERM) == before


def test_commands_know_the_process_that_they_are_not_to_outlive(tmp_path, monkeypatch):
    JobPool([{}]).run([shell(tmp_path, "job", "echo $VIDSSL_PARENT $PPID")], lambda done: None)
    assert (tmp_path / "job.log").read_text() == f"{os.getpid()} {os.getpid()}\n"


def test_a_second_ctrl_c_kills_what_does_not_stop(tmp_path):
    stubborn = "trap 'kill -INT $PPID' TERM; kill -INT $PPID; while :; do sleep 0.05; done"
    pool = JobPool([{}])
    (ended,) = pool.run([shell(tmp_path, "stubborn", stubborn)], lambda done: None)
    assert pool.received == signal.SIGINT
    assert ended.status == -signal.SIGKILL


def test_jobs_share_the_cores_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr("vidssl_cli.cli.sweep_jobs.usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for jobs, cores in [(1, "8"), (3, "2"), (20, "1")]:
        share = {"VIDSSL_CORES": cores, "OMP_NUM_THREADS": cores}
        assert places(jobs, []) == [share] * jobs
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert places(2, [])[0]["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("jobs", "gpus", "expected"),
    [
        (1, ["0", "1"], ["0,1"]),
        (2, ["0", "1", "2"], ["0,2", "1"]),
        (2, ["GPU-8932f937", "MIG-c6d4f1ef"], ["GPU-8932f937", "MIG-c6d4f1ef"]),
        (3, ["4", "6"], ["4", "6", "4"]),
    ],
)
def test_every_job_has_gpus_of_its_own_while_there_are_enough(jobs, gpus, expected):
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(jobs, gpus)] == expected


@pytest.mark.parametrize(
    ("named", "seen", "expected"),
    [
        (None, 2, ["0", "1"]),
        ("3,1", 2, ["3", "1"]),
        ("GPU-8932f937, GPU-c6d4f1ef", 2, ["GPU-8932f937", "GPU-c6d4f1ef"]),
        ("MIG-8932f937,MIG-c6d4f1ef", 1, ["MIG-8932f937", "MIG-c6d4f1ef"]),
        ("2,-1,0", 1, ["2"]),  # CUDA ends the list at a name that is none
        ("", 0, []),
        (None, 0, []),
    ],
)
def test_gpus_are_those_that_the_command_itself_may_use(named, seen, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected


def test_jobs_that_run_at_a_time_are_in_different_places(tmp_path):
    both = f"[ -e {tmp_path}/a ] && [ -e {tmp_path}/b ]"
    wait = f"echo $PLACE; touch {tmp_path}/$PLACE; until {both}; do sleep 0.02; done"
    jobs = [shell(tmp_path, str(number), "true", wait) for number in range(4)]
    pool = JobPool([{"PLACE": "a"}, {"PLACE": "b"}])
    assert [each.status for each in pool.run(jobs, lambda done: None)] == [0] * 4
    places = [(tmp_path / f"{number}.log").read_text().strip() for number in range(4)]
    assert sorted(places[:2]) == ["a", "b"]
    assert set(places[2:]) <= {"a", "b"}
