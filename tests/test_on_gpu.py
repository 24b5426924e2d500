"""Whatever runs on a GPU runs on a simulated one: the same losses, and no more waits than today."""

import json
import os
import shutil
import signal
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from simulated_gpu.costs import (
    BUDGETS,
    after_each_step,
    beginning,
    losses,
    make_videos,
    measure,
    train,
    trained,
    vidssl,
    weights,
)
from simulated_gpu.counts import KINDS
from simulated_gpu.device import simulate
from simulated_gpu.nccl import two_processes
from vidssl_cli.config.load import names

RECIPES = sorted(names())
BOUNDS = json.loads(BUDGETS.read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def sources(data):
    """A function that returns a run to start from, by its recipe."""
    return trained(data)


@pytest.fixture(scope="module")
def source(sources):
    """A run to start from."""
    return sources("demo")


@pytest.fixture(scope="module")
def actions(data, source):
    """A run of a classifier."""
    out = data.parent / "actions"
    train("finetune", data, out, "--from", source, "--device", "cpu")
    return out


def start(name, sources):
    """Return the options that a recipe for fine-tuning needs."""
    begun = beginning(name)
    return ("--from", sources(begun)) if begun else ()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_learns_what_it_learns_on_the_cpu_and_waits_no_more_than_it_may(
    name, data, tmp_path, sources
):
    options = start(name, sources)
    cost = measure(name, data, tmp_path / "gpu", *options)
    train(name, data, tmp_path / "cpu", "--device", "cpu", *options)
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-4)
    for kind in KINDS:
        found = getattr(cost, kind)
        assert found <= BOUNDS[name][kind], getattr(cost.lines, kind).most_common(5)


def test_bounds_are_for_what_ships():
    assert sorted(BOUNDS) == RECIPES


def test_a_wait_that_comes_in_is_found(data, tmp_path, monkeypatch):
    cross_entropy = F.cross_entropy

    def waits(*arguments, **options):
        loss = cross_entropy(*arguments, **options)
        assert loss.item() > 0
        return loss

    monkeypatch.setattr(F, "cross_entropy", waits)
    cost = measure("small/rotation", data, tmp_path / "run")
    assert cost.waits > BOUNDS["small/rotation"]["waits"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda answers, labels: (answers, labels.cpu()), "at least two devices"),
        (lambda answers, labels: (answers + torch.ones(1), labels), "at least two devices"),
        (lambda answers, labels: (answers, torch.from_numpy(labels.numpy())), "to numpy"),
    ],
)
def test_a_fault_of_a_loss_ends_the_run(fault, told, data, tmp_path, monkeypatch, capfd):
    cross_entropy = F.cross_entropy

    def faulty(answers, labels, **options):
        return cross_entropy(*fault(answers, labels), **options)

    monkeypatch.setattr(F, "cross_entropy", faulty)
    train("small/rotation", data, tmp_path / "cpu", "--device", "cpu")
    with simulate(), pytest.raises(AssertionError):
        train("small/rotation", data, tmp_path / "gpu", "--device", "cuda")
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    ("capability", "precision"), [((9, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_threads_and_the_precision_of_the_hardware(capability, precision, data, tmp_path):
    with simulate(capability=capability):
        options = "--set=train.precision=auto", "--workers", 2
        train("default", data, tmp_path / "run", "--device", "cuda", *options)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["precision"] == precision
    train("default", data, tmp_path / "cpu", "--device", "cpu")
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "cpu"), rel=0.05)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_that_is_stopped_goes_on_where_it_was_and_on_a_cpu(precision, data, tmp_path):
    def learn(device, out, *options):
        chosen = f"--set=train.precision={precision}"
        train("small/moco", data, out, "--device", device, chosen, *options)

    def stop(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    whole, stopped, moved = (tmp_path / name for name in ("whole", "stopped", "moved"))
    with simulate():
        learn("cuda", whole)
        hook = register_optimizer_step_post_hook(stop)
        try:
            with pytest.raises(AssertionError):
                learn("cuda", stopped)
        finally:
            hook.remove()
        assert len(losses(stopped)) < len(losses(whole))
        shutil.copytree(stopped, moved, symlinks=True)
        learn("cuda", stopped, "--resume")
    expected, found = weights(whole), weights(stopped)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    learn("cpu", moved, "--resume")
    assert losses(moved) == pytest.approx(losses(whole), rel=1e-4 if precision == "fp32" else 0.01)


def test_colours_that_change_one_after_another(data, tmp_path):
    exact = "--set=augment.colour={hue: 0.1, contrast: 0.2, form: exact}"
    train("default", data, tmp_path / "cpu", "--device", "cpu", exact)
    with simulate():
        train("default", data, tmp_path / "gpu", "--device", "cuda", exact)
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-4)


@pytest.mark.parametrize("name", ["default", "demo", "small/moco", "small/sstl"])
def test_two_processes(name, data, tmp_path):
    with simulate() as counts, two_processes(), after_each_step(counts) as noted:
        train(name, data, tmp_path / "run", "--device", "cuda")
    assert np.isfinite(losses(tmp_path / "run")).all()
    steps = [after - before for before, after in pairwise(noted)]
    # DistributedDataParallel arranges its buckets anew in one step of a run, and waits for that.
    assert min(step.total("waits") for step in steps) == 1, steps


EVALUATORS = {
    "retrieval": (),
    "health": (),
    "pretext": (),
    "linear": (),
    "svm": (),
    "knn": (),
    "low_shot": ("shots=[1,2]",),
    "few_labels": (),
    "attentive": ("pooler.epochs=1",),
    "sync": ("pairs=2", "reach=1", "fc.epochs=1"),
    "before_after": ("pairs=1", "fc.epochs=1"),
    "still": ("fc.epochs=1",),
}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_an_evaluator(evaluator, source, data, tmp_path):
    run = shutil.copytree(source, tmp_path / "run", symlinks=True)  # it keeps features in there
    options = [f"--set={value}" for value in EVALUATORS[evaluator]]
    with simulate() as counts:
        vidssl(
            "evaluate", run, "--data", data, "--evaluator", evaluator, *options, "--device", "cuda"
        )
    assert counts.launches


def answers(index, query, device, capfd):
    capfd.readouterr()
    vidssl("retrieve", index, query, "--json", "--device", device)
    (answer,) = json.loads(capfd.readouterr().out)["queries"]
    return {hit["path"]: hit["score"] for hit in answer["hits"]}


def test_an_index_answers_as_one_of_a_cpu(source, data, tmp_path, capfd):
    query = data.parent / "3.mp4"
    vidssl("index", source, "--data", data, "--out", tmp_path / "cpu", "--device", "cpu")
    expected = answers(tmp_path / "cpu", query, "cpu", capfd)
    with simulate() as counts:
        vidssl("index", source, "--data", data, "--out", tmp_path / "gpu", "--device", "cuda")
        assert counts.launches
        found = answers(tmp_path / "gpu", query, "cuda", capfd)
    assert found == pytest.approx(expected, abs=0.02)  # a CPU may embed in bf16


@pytest.mark.parametrize(
    ("of", "options"),
    [
        ("source", ["--method", "attention", "--boundaries", "--stride", "1,2"]),
        ("source", ["--method", "guided_backprop", "--decision", "transform"]),
        ("actions", ["--method", "guided_backprop"]),
    ],
)
def test_pictures_of_where_it_looks(of, options, data, tmp_path, request):
    run, video, out = request.getfixturevalue(of), data.parent / "0.mp4", tmp_path / "out"
    with simulate() as counts:
        vidssl("visualize", run, video, "--out", out, *options, "--device", "cuda")
    assert counts.launches
