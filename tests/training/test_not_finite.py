"""Numbers that are none are named, and never saved."""

import pytest
import torch
from torch import nn

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.model.run_directory import read_rows
from vidssl_cli.training import checkpoint
from vidssl_cli.training.not_finite import (
    NotFiniteError,
    SavedBuffers,
    StepSkipper,
    describe_problem,
    find_not_finite,
)
from vidssl_cli.training.run import Run
from vidssl_cli.training.run_progress import Progress


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_tensor_with_one_bad_number_is_found(value):
    bad = torch.ones(3, 4)
    bad[1, 2] = value
    tensors = {"bad": bad, "good": torch.ones(3), "none": torch.ones(0), "count": torch.tensor(3)}
    assert find_not_finite(tensors.items()) == ["bad"]


def test_the_term_is_named_or_else_the_parameter():
    nan = float("nan")
    assert describe_problem({"loss": nan, "a.loss": nan, "b.loss": 1.0}, {}, nan) == "a.loss is nan"
    assert describe_problem({"loss": nan, "a.loss": 1.0}, {}, nan) == "the loss is nan"
    gradients = {"head.weight": torch.tensor([nan]), "head.bias": torch.ones(1)}
    said = describe_problem({"loss": 1.0}, gradients, nan)
    assert said == "the gradient of head.weight is not finite"


def test_buffers_are_taken_back():
    norm = nn.BatchNorm1d(2)
    kept = SavedBuffers(norm)
    norm(torch.full((4, 2), float("nan")))
    assert norm.running_mean.isnan().all()
    kept.restore()
    assert norm.running_mean.tolist() == [0, 0]
    assert norm.num_batches_tracked == 0


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    good = checkpoint.save(tmp_path, network, optimizer, Progress(step=1), best=True)
    network.weight.data[0, 0] = float("inf")
    with pytest.raises(VidsslError, match="step 2 left numbers that are not finite in weight"):
        checkpoint.save(tmp_path, network, optimizer, Progress(step=2), best=True)
    assert (tmp_path / "last").resolve() == good


@pytest.mark.parametrize(("steps", "most"), [(1, 0), (2, 1), (10, 1), (30, 3)])
def test_so_many_steps_of_an_epoch_may_be_left_out(steps, most, tmp_path):
    progress = Progress()
    skipper = StepSkipper("skip", Run(tmp_path, {}), progress, steps, leads=True)
    for _ in range(most):
        skipper.skip(NotFiniteError("a.loss is nan"), ["a.mp4"])
    with pytest.raises(VidsslError, match=r"too many; step 1: a\.loss is nan; its videos: a\.mp4"):
        skipper.skip(NotFiniteError("a.loss is nan"), ["a.mp4"])
    row = read_rows(tmp_path / "metrics.jsonl")[-1]
    assert (row["not_finite"], row["videos"]) == ("a.loss is nan", ["a.mp4"])
