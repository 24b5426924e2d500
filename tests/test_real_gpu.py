"""What a machine with a GPU is asked first (`make gpu`): everything trains there as on the CPU.

tests/test_on_gpu.py asks the same of a simulated GPU, on any machine. What only a real one shows is
tested here: the rounding of its kernels, their determinism, and NCCL.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from simulated_gpu.costs import (
    beginning,
    losses,
    make_videos,
    shrunk,
    train,
    trained,
    vidssl,
    weights,
)
from vidssl_cli.config.load import names
from vidssl_cli.search.gpu_check import search_agreement
from vidssl_cli.testing import check_decoder
from vidssl_plugins.decoders.hooks import Nvdec

GPUS = torch.cuda.device_count()
DETERMINISTIC = "--set=train.deterministic=true"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not GPUS, reason="there is no GPU"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def source(data):
    """A function that returns a run to start from, by its recipe."""
    return trained(data)


@pytest.mark.parametrize("name", sorted(names()))
def test_a_recipe_loses_what_it_loses_on_the_cpu(name, data, source, tmp_path):
    begun = beginning(name)
    options = ("--from", source(begun)) if begun else ()
    for device in ("cuda", "cpu"):
        train(name, data, tmp_path / device, "--device", device, *options)
    assert losses(tmp_path / "cuda") == pytest.approx(losses(tmp_path / "cpu"), rel=2e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_a_recipe_learns(precision, data, tmp_path):
    options = (
        f"--set=train.precision={precision}",
        "--set=train.epochs=20",
        "--set=train.optimizer.lr=0.01",
    )
    train("small/instance", data, tmp_path / "run", "--device", "cuda", *options)
    found = losses(tmp_path / "run")
    assert sum(found[-6:]) < 0.95 * sum(found[:6])


@pytest.mark.parametrize("name", ["default", "small/moco", "small/sstl"])
def test_a_run_that_is_stopped_ends_in_the_same_bits(name, data, tmp_path):
    def stop(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    whole, again, stopped = (tmp_path / run for run in ("whole", "again", "stopped"))
    for run in (whole, again):
        train(name, data, run, "--device", "cuda", DETERMINISTIC)
    hook = register_optimizer_step_post_hook(stop)
    try:
        with pytest.raises(AssertionError):
            train(name, data, stopped, "--device", "cuda", DETERMINISTIC)
    finally:
        hook.remove()
    train(name, data, stopped, "--device", "cuda", DETERMINISTIC, "--resume")
    for run in (again, stopped):
        found = weights(run)
        assert all(torch.equal(found[key], value) for key, value in weights(whole).items())


@pytest.mark.skipif(GPUS < 2, reason="there is one GPU alone")
@pytest.mark.parametrize("name", ["default", "small/moco", "small/sstl"])
def test_two_gpus_take_the_same_steps_as_one(name, data, tmp_path):
    train(name, data, tmp_path / "one", "--device", "cuda")
    command = ["pretrain", name, "--data", data, "--out", tmp_path / "two", *shrunk(name, data)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, "-m", "vidssl_cli", *command], check=True)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-2)


def test_an_index_answers_as_one_of_a_cpu(data, source, tmp_path, capfd):
    found = {}
    for device in ("cpu", "cuda"):
        index = tmp_path / device
        vidssl("index", source("demo"), "--data", data, "--out", index, "--device", device)
        capfd.readouterr()
        vidssl("retrieve", index, "#3", "--include-self", "--json", "--device", device)
        (answer,) = json.loads(capfd.readouterr().out)["queries"]
        found[device] = {hit["path"]: hit["score"] for hit in answer["hits"]}
    assert found["cuda"] == pytest.approx(found["cpu"], abs=0.02)


@pytest.mark.skipif(GPUS < 2, reason="there is one GPU alone")
def test_all_gpus_embed_as_one(data, source, tmp_path):
    found = []
    for device in ("auto", "cuda:0"):
        file = tmp_path / f"{device}.npz"
        vidssl("embed", source("demo"), "--data", data, "--out", file, "--device", device)
        with np.load(file) as archive:
            found.append(archive["vector"])
    assert found[0] == pytest.approx(found[1], rel=1e-2, abs=1e-3)


def test_the_gpu_decodes_what_pyav_decodes(tmp_path):
    pytest.importorskip("torchcodec", reason="it is not installed")
    check_decoder(Nvdec(name="nvdec"), tmp_path, "cuda")


@pytest.mark.parametrize("evaluator", ["retrieval", "linear", "pretext"])
def test_an_evaluator_runs(evaluator, data, source, tmp_path):
    run = shutil.copytree(source("demo"), tmp_path / "run", symlinks=True)
    vidssl("evaluate", run, "--data", data, "--evaluator", evaluator, "--device", "cuda")


def test_faiss_finds_on_the_gpu_what_it_finds_on_the_cpu():
    faiss = pytest.importorskip("faiss")
    if not getattr(faiss, "get_num_gpus", int)():
        pytest.skip("this FAISS is for the CPU: pip install 'vidssl[gpu]'")
    assert search_agreement(0) > 0.95
