"""docs/slurm.sh queues again what was preempted, and nothing else."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm.sh"
FAKES = {
    "srun": 'exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then printf "first\\nsecond\\n"; else echo "$@" >> asked; fi',
    "torchrun": """
echo "$@" > told
[ -z "$STATE" ] || echo "{\\"state\\": \\"$STATE\\"}" > run/run.json
[ -z "$CANCELLED" ] || kill -TERM $PPID
exit $STATUS""",
}


@pytest.fixture
def submit(tmp_path):
    """Return a function that runs the script; it returns status and what scontrol was asked for."""
    for name, script in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run").mkdir()

    def run(status, state="", cancelled="", nodes=2):
        job = {"SLURM_JOB_ID": "30007", "SLURM_JOB_NODELIST": "x", "SLURM_NNODES": str(nodes)}
        fake = {"STATUS": str(status), "STATE": state, "CANCELLED": cancelled}
        done = subprocess.run(
            ["bash", str(SCRIPT), "run", "pretrain", "a recipe", "--data", "videos"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **job, **fake},
        )
        asked = tmp_path / "asked"
        return done.returncode, asked.read_text().splitlines() if asked.exists() else []

    return run


@pytest.mark.parametrize("status", [1, 75])
def test_what_was_preempted_goes_back_into_the_queue(submit, status):
    assert submit(status, "preempted") == (0, ["requeue 30007"])


@pytest.mark.parametrize(
    ("status", "state"), [(0, "finished"), (1, "failed"), (1, "interrupted"), (1, "running")]
)
def test_nothing_else_does(submit, status, state):
    assert submit(status, state) == (status, [])


def test_what_an_earlier_job_left_does_not_count(submit):
    submit(1, "preempted")
    assert submit(2) == (2, ["requeue 30007"])


def test_what_was_cancelled_stays_away(submit):
    assert submit(1, "preempted", cancelled="yes") == (143, [])


@pytest.mark.parametrize(("nodes", "meeting"), [(2, "first:30007"), (1, "first:0")])
def test_what_torchrun_is_told(submit, tmp_path, nodes, meeting):
    submit(0, "finished", nodes=nodes)
    told = (tmp_path / "told").read_text()
    assert f"--nnodes {nodes} --nproc-per-node 1 " in told
    assert f"--rdzv-endpoint {meeting} " in told
    assert "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m vidssl_cli" in told
    assert told.endswith("pretrain a recipe --data videos --out run --resume\n")
