"""fp16 scales the loss, and an overflow costs neither a step nor a batch."""

import pytest
import torch
from torch import nn

from vidssl_cli.config.sections import Constant, Train
from vidssl_cli.contract.clips import Batch
from vidssl_cli.model.learner import Learner
from vidssl_cli.training import checkpoint, loss_scale
from vidssl_cli.training.loss_scale import LARGEST, LossScale
from vidssl_cli.training.not_finite import NotFiniteError
from vidssl_cli.training.processes import World
from vidssl_cli.training.run_progress import Progress
from vidssl_cli.training.step import Stepper


class Line(Learner):
    """Its gradient is what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.forgotten = 0

    def forward(self, batch, precision):
        assert precision == torch.float16
        return (self.weight * batch.clips).sum(), {}

    def discard_step(self):
        self.forgotten += 1


@pytest.fixture
def learner():
    return Line()


@pytest.fixture
def stepper(learner):
    settings = Train(
        epochs=1,
        batch_videos=1,
        optimizer={"name": "sgd", "lr": 1.0, "momentum": 0},
        schedule=Constant(name="constant"),
    )
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    world = World(0, 1, torch.device("cpu"))

    def make(scale):
        return Stepper(learner, optimizer, settings, 1, world, "fp16", scale=scale)

    return make


def batch(gradient):
    return Batch(torch.tensor([gradient]), {}, torch.zeros(1), torch.zeros(1))


def test_it_halves_until_it_is_one_and_doubles_after_many_steps():
    scale = LossScale(factor=4)
    assert [scale.lower(), scale.lower(), scale.lower()] == [True, True, False]
    for _ in range(loss_scale.GROWS_AFTER):
        scale.count_step()
    assert scale == LossScale(factor=2, steps=0)
    scale.factor = LARGEST
    for _ in range(loss_scale.GROWS_AFTER):
        scale.count_step()
    assert scale.factor == LARGEST


def test_the_scale_changes_no_gradient(learner, stepper):
    scale = LossScale()
    stepper(scale)(batch(3.0), 0)
    assert learner.weight.item() == -3
    assert scale == LossScale(steps=1)


def test_an_overflow_is_taken_again_with_a_smaller_factor(learner, stepper):
    scale = LossScale(factor=16, steps=7)
    stepper(scale)(batch(1e38), 0)  # 4e38 is none in float32
    assert learner.weight.item() == pytest.approx(-1e38)
    assert learner.forgotten == 3
    assert scale == LossScale(factor=2, steps=1)


def test_what_no_factor_mends_is_an_error(learner, stepper):
    scale = LossScale(factor=4)
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        stepper(scale)(batch(float("nan")), 0)
    assert scale.factor == 4
    learner.forward = lambda *_: ((learner.weight**0.5).sum(), {})
    with pytest.raises(NotFiniteError, match="the gradient of weight is not finite"):
        stepper(scale)(batch(1.0), 0)
    assert scale.factor == 1


def test_a_checkpoint_keeps_it(learner, tmp_path):
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    progress = Progress(step=5, scale=LossScale(8.0, 3))
    saved = checkpoint.save(tmp_path, learner, optimizer, progress, best=False)
    assert checkpoint.restore(saved, learner, optimizer) == progress
