"""Backbone, samplers and pretexts together learn what their labels say, in seconds."""

import numpy as np
import pytest
import torch

from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import Batch, Draw
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_cli.model.learner import PretrainLearner
from vidssl_plugins.backbones.hooks import R3D
from vidssl_plugins.pretexts.hooks import (
    SSTL,
    Classify,
    Equivariance,
    Instance,
    Order,
    Pace,
    SameContext,
    TemporalTransforms,
)
from vidssl_plugins.samplers.hooks import SSTL as SSTLSampler
from vidssl_plugins.samplers.hooks import (
    ArrowOfTime,
    ClipOrder,
    PlaybackSpeed,
    Rotation,
    ShuffleAndLearn,
    Speediness,
    TimeEquivariant,
    Uniform,
)
from vidssl_plugins.samplers.hooks import Pace as PaceSampler
from vidssl_plugins.samplers.hooks import TemporalTransforms as TransformSampler

VIDEOS = [Video(path=f"{i}", frames=64) for i in range(8)]


def pictures():
    """Return (8, 64, 16, 16) videos: for each, waves of its own angle that roll along.

    They are brighter below, which tells what is up, and brighten, which tells what is later.
    """
    rows, columns, time = np.meshgrid(np.arange(16), np.arange(16), np.arange(64), indexing="ij")
    angles = np.arange(8) * np.pi / 8
    waves = [np.sin(0.6 * (np.cos(a) * rows + np.sin(a) * columns) - 0.35 * time) for a in angles]
    return (np.stack(waves) + rows / 16 + time / 100).transpose(0, 3, 1, 2)


def batches(sampler, steps):
    content = pictures()
    for epoch in range(steps):
        plans = sampler.plan_batch(VIDEOS, [Draw(0, epoch, index) for index in range(8)])
        clips = [
            [np.rot90(content[i, v.frames], v.turns, axes=(1, 2)) for v in plan.views]
            for i, plan in enumerate(plans)
        ]
        labels = {
            name: torch.from_numpy(np.stack([plan.labels[name] for plan in plans]))
            for name in plans[0].labels
        }
        clips = torch.tensor(np.array(clips), dtype=torch.float32)[:, :, None]
        yield Batch(clips.expand(-1, -1, 3, -1, -1, -1), labels, torch.arange(8), torch.empty(0))


@pytest.mark.parametrize(
    ("sampler", "pretext", "metric", "chance"),
    [
        (PaceSampler(name="pace", paces=[1, 4], frames=8), Pace(name="pace"), "accuracy", 1 / 2),
        (
            TransformSampler(name="temporal_transforms", frames=8, types=["speed", "random"]),
            TemporalTransforms(name="temporal_transforms"),
            "motion_accuracy",
            1 / 2,
        ),
        (
            PaceSampler(name="pace", views=2, frames=8),
            SameContext(name="same_context", normalise=True, temperature=0.1, denominator="anchor"),
            "accuracy",
            1 / 15,
        ),
        (
            TimeEquivariant(name="time_equivariant", speeds=[0, 2], frames=8),
            Equivariance(name="equivariance", hidden=[32], dim=32),
            "accuracy",
            1 / 7,
        ),
        (
            TimeEquivariant(name="time_equivariant", speeds=[0], frames=8),
            Classify(name="classify", label="direction", hidden=[32], norm=True),
            "accuracy",
            1 / 2,
        ),
        (
            PlaybackSpeed(name="playback_speed", speeds=3, frames=8),
            Order(name="order", hidden=64),
            "accuracy",
            1 / 6,
        ),
        (
            ClipOrder(name="clip_order", frames=8),
            Order(name="order", hidden=64, orders="random"),
            "accuracy",
            1 / 6,
        ),
        (
            Rotation(name="rotation", frames=8),
            Classify(name="classify", label="rotation"),
            "accuracy",
            1 / 4,
        ),
        (
            ArrowOfTime(name="arrow_of_time", frames=8),
            Classify(name="classify", label="direction"),
            "accuracy",
            1 / 2,
        ),
        (
            ShuffleAndLearn(name="shuffle_and_learn", frames=8, kept=2),
            Classify(name="classify", label="shuffled"),
            "accuracy",
            1 / 2,
        ),
        (
            Speediness(name="speediness", frames=8, fast=[2.6, 3]),
            Classify(name="classify", label="fast", tap="conv5", reduce="max_space"),
            "accuracy",
            1 / 2,
        ),
        (
            SSTLSampler(name="sstl", frames=8),
            SSTL(name="sstl", proj_dim=32, proj_hidden=[32], bank_negatives=16),
            "accuracy",
            1 / 29,
        ),
        (Uniform(name="uniform", views=2, frames=8), Instance(name="instance"), "accuracy", 1 / 15),
        (
            Uniform(name="uniform", views=2, frames=8),
            Instance(name="instance", momentum=0.9, queue=32),
            "accuracy",
            1 / 43,
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_learns(sampler, pretext, metric, chance):
    torch.manual_seed(0)
    planner = sampler.build()
    network = R3D(name="r3d", depth=10, width=4).build()

    def encode(network, clips):
        taps = network(clips.flatten(0, 1))
        return {name: tap.unflatten(0, clips.shape[:2]) for name, tap in taps.items()}

    context = PretextContext(
        network.feature_dim,
        network.taps,
        sampler.labels(),
        planner.views,
        len(VIDEOS),
        network,
        encode,
    )
    head = pretext.build(context)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=3e-3)
    losses, scores = [], []
    for batch in batches(planner, 60):
        terms, metrics = head(encode(network, batch.clips), batch)
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update := getattr(head, "after_step", None):
            update()
        losses.append(loss.item())
        scores.append(metrics[metric].item())
    assert np.mean(losses[-15:]) < 0.7 * np.mean(losses[:5])
    assert np.mean(scores[-15:]) > (1 + chance) / 2


class Constant(torch.nn.Module):
    """A pretext whose loss is what it is told."""

    def __init__(self, value):
        super().__init__()
        self.value = torch.tensor(value)

    def forward(self, features, batch):
        return {"loss": self.value}, {"accuracy": torch.tensor(0.5)}


def test_weighted_losses_add_up(toy_recipe):
    recipe = PretrainRecipe.model_validate(toy_recipe())  # pace, and same_context at 0.1
    learner = PretrainLearner(recipe, videos=4)
    learner.pretexts = torch.nn.ModuleList([Constant(1.2), Constant(2.0)])
    batch = Batch(torch.randn(4, 2, 3, 8, 16, 16), {}, torch.arange(4), torch.empty(0))
    total, values = learner(batch, torch.float32)
    assert total.item() == pytest.approx(1.4)
    assert values["pace.loss"].item() == pytest.approx(1.2)
    assert values["same_context.loss"].item() == 2
    assert values["same_context.accuracy"].item() == 0.5


def test_tasks_of_one_name_are_told_apart(toy_recipe):
    label = {"name": "classify", "label": "pace"}
    pretexts = [{"name": "same_context"}, label, {"name": "same_context", "tap": "conv4"}]
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"pretext": pretexts})
    learner = PretrainLearner(recipe, videos=4)
    assert learner.names == ["same_context", "classify.pace", "same_context.2"]
