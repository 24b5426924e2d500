"""Every built-in plugin passes the contract kit, and the kit finds what is wrong."""

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from vidssl_cli import testing
from vidssl_cli.contract.clips import ClipPlan, Sampler, Stage, View
from vidssl_cli.contract.hooks import PretextOptions, SamplerOptions
from vidssl_cli.contract.registry import offered
from vidssl_cli.contract.reports import Report
from vidssl_cli.evaluation.made_up import MadeUpStudy
from vidssl_plugins.backbones.hooks import R3D, S3DG, C3DLight, R2Plus1D
from vidssl_plugins.backbones.options.c3d_light import NoNorm
from vidssl_plugins.backbones.options.tgn import TGN
from vidssl_plugins.evaluators.hooks import Retrieval
from vidssl_plugins.pretexts.hooks import SSTL, Classify, Equivariance, Instance, Order, SameContext
from vidssl_plugins.pretexts.hooks import Pace as PacePretext
from vidssl_plugins.samplers.hooks import SSTL as SSTLSampler
from vidssl_plugins.samplers.hooks import (
    ArrowOfTime,
    ClipOrder,
    Consecutive,
    Curriculum,
    Pace,
    PlaybackSpeed,
    Rotation,
    ShuffleAndLearn,
    Speediness,
    TemporalTransforms,
    TimeEquivariant,
    Uniform,
)

SMALL = {
    "c3d": {"width": 8},
    "c3d_light": {"width": 8, "cells": [1, 1, 1]},
    "mc3": {"width": 8},
    "r2d3d": {"width": 8},
    "r2plus1d": {"depth": 10, "width": 8},
    "r3d": {"depth": 10, "width": 8},
    "s3dg": {"width": 8},
    "vit": {"width": 24, "depth": 2, "heads": 2, "tubelet": [2, 8, 8]},
}
"""Sizes for backbones whose default would take long."""
SAMPLERS = {
    "statistics": Consecutive(name="consecutive"),
    "temporal_transforms": TemporalTransforms(name="temporal_transforms"),
    "equivariance": TimeEquivariant(name="time_equivariant"),
    "sstl": SSTLSampler(name="sstl"),
}
"""Samplers for pretexts that cannot learn from pace clips."""
CHOICES = {"classify": {"label": "pace"}}
"""What pretexts cannot do without."""


LAYERS = {"fc": {"hidden": [8], "epochs": 2}}
MEASURED = {
    "before_after": LAYERS,
    "low_shot": {"shots": [1, 5]},
    "still": LAYERS,
    "sync": LAYERS,
}
"""What fits the few videos of the made-up study, and takes no time."""


WRAPPED = {"curriculum": {"sampler": Pace(name="pace", views=2), "order": "random"}}
"""What samplers need that work on others."""


@pytest.mark.parametrize("name", sorted(offered("backbone")))
def test_backbones(name):
    options = offered("backbone")[name](name=name, **SMALL.get(name, {}))
    testing.check_backbone(options, clip=(8, 32, 32))


@pytest.mark.parametrize(
    "options",
    [
        R3D(name="r3d", width=4, stem="hara", norm=TGN(name="tgn", affine="group")),
        R2Plus1D(name="r2plus1d", width=4, mid_width="block", norm=TGN(name="tgn", frames=3)),
        C3DLight(name="c3d_light", width=4, representation="gap", norm=NoNorm(name="none")),
        S3DG(name="s3dg", width=4, stem="separable", gate=False),
    ],
    ids=lambda options: options.name,
)
def test_backbones_with_other_options(options):
    testing.check_backbone(options, clip=(8, 32, 32))


@pytest.mark.parametrize("name", sorted(offered("sampler")))
def test_samplers(name):
    testing.check_sampler(offered("sampler")[name](name=name, **WRAPPED.get(name, {})))


@pytest.mark.parametrize("name", sorted(offered("pretext")))
def test_pretexts(name):
    sampler = SAMPLERS.get(name, Pace(name="pace", views=2))
    testing.check_pretext(offered("pretext")[name](name=name, **CHOICES.get(name, {})), sampler)


@pytest.mark.parametrize("name", sorted(offered("evaluator").keys() - {"similarity"}))
def test_evaluators(name):
    testing.check_evaluator(offered("evaluator")[name](name=name, **MEASURED.get(name, {})))


@pytest.mark.parametrize(
    "options",
    [
        Pace(name="pace", paces=["1/3", "1/2", 1, 2, -3], views=2, start="anywhere"),
        Pace(name="pace", direction="random", short_video="skip", frames=64),
        TemporalTransforms(name="temporal_transforms", speed_scope="batch", turn="composed"),
        TemporalTransforms(name="temporal_transforms", speeds=[0, 1, 2], warp_steps=[1, 4]),
        TemporalTransforms(name="temporal_transforms", types=["speed", "warp"], frames=8),
        Pace(name="pace", short_video="clamp", start="anywhere"),
        TemporalTransforms(name="temporal_transforms", short_video="clamp"),
        TemporalTransforms(name="temporal_transforms", short_video="loop", speed_scope="batch"),
        Uniform(name="uniform", frames=32, stride=4, views=3),
        Consecutive(name="consecutive", start="pieces"),
        Curriculum(
            name="curriculum",
            sampler=Consecutive(name="consecutive", start="pieces", frames=8),
            order="random",
            pacing={"name": "fixed_exponential", "length": 1},
        ),
        TimeEquivariant(name="time_equivariant", relation="balanced", coupling=3),
        TimeEquivariant(name="time_equivariant", relation="aligned", copies=2),
        TimeEquivariant(name="time_equivariant", equivariance="spatial", short_video="loop"),
        TimeEquivariant(name="time_equivariant", equivariance="both", short_video="skip"),
        TimeEquivariant(name="time_equivariant", equivariance="none", speeds=[1, 2], frames=8),
        PlaybackSpeed(name="playback_speed", speeds=[-1, -3, -5], short_video="loop"),
        PlaybackSpeed(name="playback_speed", speeds=7, short_video="clamp"),
        ClipOrder(name="clip_order", clips=4, stride=2, gap=0, short_video="loop"),
        Rotation(name="rotation", variants="random", stride=4, short_video="clamp"),
        Speediness(name="speediness", short_video="loop", fast=[2, 3], geometry="own"),
        ArrowOfTime(name="arrow_of_time", variants="random", short_video="loop"),
        ShuffleAndLearn(name="shuffle_and_learn", kept=2, frames=8, stride=3),
        SSTLSampler(name="sstl", rate_target="realised", spatial_share="video"),
        SSTLSampler(name="sstl", buffer=0, dropout=0, rate=(1, 1), short_video="skip"),
    ],
    ids=str,
)
def test_samplers_with_other_options(options):
    testing.check_sampler(options)


@pytest.mark.parametrize(
    "options",
    [
        {"normalise": True, "temperature": 0.1, "denominator": "anchor", "proj_dim": 128},
        {"tap": "conv4", "denominator": "single_log"},
        {"proj_dim": 16},
    ],
)
def test_contrast_with_other_options(options):
    pace = Pace(name="pace", views=2)
    testing.check_pretext(SameContext(name="same_context", **options), pace)


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        (
            Equivariance(name="equivariance", tap="conv4", hidden=[8], dim=4, norm=False),
            TimeEquivariant(name="time_equivariant", equivariance="both"),
        ),
        (
            Classify(name="classify", label="order", over="video", hidden=[16], norm=True),
            TimeEquivariant(name="time_equivariant"),
        ),
        (Order(name="order", orders="random"), ClipOrder(name="clip_order")),
        (Order(name="order", hidden=16, tap="conv5"), PlaybackSpeed(name="playback_speed")),
        (
            Classify(name="classify", label="fast", tap="conv5", reduce="max_space"),
            Speediness(name="speediness"),
        ),
        (Classify(name="classify", label="rotation"), Rotation(name="rotation")),
        (Classify(name="classify", label="direction"), ArrowOfTime(name="arrow_of_time")),
        (Classify(name="classify", label="shuffled"), ShuffleAndLearn(name="shuffle_and_learn")),
    ],
    ids=str,
)
def test_pretexts_of_other_methods(options, sampler):
    testing.check_pretext(options, sampler)


@pytest.mark.parametrize(
    "options",
    [
        Instance(name="instance", momentum=0.99, queue=16),
        Instance(name="instance", queue=7, proj_dim=None),
        Instance(name="instance", momentum=0, tap="conv4", proj_hidden=[8], proj_norm=True),
        SSTL(name="sstl", rate_input="map", neighbour="printed", columns=4),
        SSTL(name="sstl", rate_weight=0, video_weight=0, bank_negatives=0),
        SSTL(name="sstl", proj_dim=None, proj_hidden=[], bank_negatives=0, neighbour="none"),
    ],
    ids=str,
)
def test_memories_with_other_options(options):
    testing.check_pretext(options, SAMPLERS["sstl"])


def test_contrast_of_clips_that_are_seen_twice():
    sampler = TimeEquivariant(name="time_equivariant", copies=2)
    testing.check_pretext(SameContext(name="same_context", group="clip"), sampler)
    testing.check_pretext(Equivariance(name="equivariance"), sampler)


@pytest.mark.parametrize("level", ["video", "clip"])
def test_a_separable_study_is_retrieved(level):
    options = Retrieval(name="retrieval", level=level)
    report = options.build()(MadeUpStudy())
    run, random = report.rows
    assert run["top1"] == 1
    assert random["top1"] < 0.8
    assert report.chance == pytest.approx(1 / 3)


# What the kit is for: each of these breaks one rule.


class Fixed(Sampler):
    views, frames = 1, 4

    def __init__(self, numbers, label=0):
        self.numbers, self.label = np.asarray(numbers), np.array([label])

    def plan(self, video, draw):
        return ClipPlan((View(self.numbers),), {"kind": self.label})


class FixedOptions(SamplerOptions):
    name: Literal["fixed"]
    numbers: tuple[float, ...] = (0, 0, 0, 0)
    label: int = 0
    whole: bool = True

    def build(self):
        return Fixed(np.array(self.numbers).astype(int if self.whole else float), self.label)

    def labels(self):
        return {"kind": 2}


class Streamed(FixedOptions):
    name: Literal["streamed"]

    def build(self):
        class Stream(Fixed):
            def plan(self, video, draw):
                return ClipPlan((View(self.numbers),), {"kind": np.random.randint(2, size=1)})

        return Stream((0, 0, 0, 0))


class Parted(FixedOptions):
    name: Literal["parted"]

    def build(self):
        class Numbered(Fixed):
            def plan_batch(self, videos, draws):
                return [
                    ClipPlan((View(self.numbers),), {"kind": np.array([number % 2])})
                    for number, _ in enumerate(videos)
                ]

            def plan_part(self, videos, draws, part):
                return self.plan_batch(videos[part], draws[part])

        return Numbered((0, 0, 0, 0))


class Viewless(FixedOptions):
    name: Literal["viewless"]

    def build(self):
        fixed = Fixed((0, 0, 0, 0))

        class Without(Sampler):
            frames = 4

            def plan(self, video, draw):
                return fixed.plan(video, draw)

        return Without()


class Counted(FixedOptions):
    name: Literal["counted"]

    def build(self):
        class Plain(Fixed):
            def plan(self, video, draw):
                return ClipPlan((View(self.numbers),), {"kind": 1})

        return Plain((0, 0, 0, 0))


class Reversed(FixedOptions):
    name: Literal["reversed"]

    def build(self):
        return Fixed(np.arange(4)[::-1])


def test_a_batch_of_noise_takes_frames_that_numpy_reversed():
    batch = testing.noise_batch(Reversed(name="reversed"), videos=2)
    assert batch.frames.tolist() == [[[3, 2, 1, 0]]] * 2


def test_tasks_are_checked_with_installed_samplers():
    assert testing.sampler("pace", views=2) == Pace(name="pace", views=2)


def test_a_plain_sampler_passes():
    testing.check_sampler(FixedOptions(name="fixed"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (FixedOptions(name="fixed", numbers=(0, 1, 2, 3)), r"leaves 0\.\.0"),
        (FixedOptions(name="fixed", numbers=(0, 0, 0)), r"has \(3,\), not \(4,\)"),
        (FixedOptions(name="fixed", numbers=(0, 0, 0, -1)), r"leaves 0\.\.0"),
        (FixedOptions(name="fixed", label=2), "declared are 2 classes"),
        (FixedOptions(name="fixed", whole=False), "not int64"),
        (Viewless(name="viewless"), "Without does not set views"),
        (Counted(name="counted"), "label kind is 1, not a numpy array"),
        (Streamed(name="streamed"), "two different plans"),
        (Parted(name="parted"), "plan_part plans other clips than plan_batch"),
    ],
)
def test_the_kit_names_what_is_wrong_with_a_sampler(options, complaint):
    with pytest.raises(AssertionError, match=complaint):
        testing.check_sampler(options)


class Odd(FixedOptions):
    name: Literal["odd"]
    visits: int = 1
    stages: tuple[tuple[int, int], ...] = ((0, 1),)

    def build(self):
        class Staged(Fixed):
            def visits(self, video, visits=self.visits):
                return visits

            def stages(self, course, stages=self.stages):
                return [Stage(first, np.zeros(count, np.int64)) for first, count in stages]

        return Staged((0, 0, 0, 0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"visits": 0}, "has 0 visits"),
        ({"stages": ((1, 1),)}, "not at step 0"),
        ({"stages": ((0, 1), (0, 1))}, "not one after the other"),
        ({"stages": ((0, 1), (5, 0))}, "the stage at step 5 draws on nothing"),
        ({"stages": ((0, 2),)}, "draws on a visit twice"),
    ],
)
def test_the_kit_names_what_is_wrong_with_stages(options, complaint):
    testing.check_sampler(Odd(name="odd"))
    with pytest.raises(AssertionError, match=complaint):
        testing.check_sampler(Odd(name="odd", **options))


class Loss(PretextOptions):
    needs: ClassVar[frozenset[str]] = frozenset({"pace"})
    name: Literal["loss"]
    fault: str

    def build(self, context):
        class Head(nn.Linear):
            def forward(self, features, batch, fault=self.fault):
                out = super().forward(
                    features["feat"].detach() if fault == "cut" else features["feat"]
                )
                return {
                    "cut": ({"loss": out.mean()}, {}),
                    "vector": ({"loss": out.mean((0, 1))}, {}),
                    "nan": ({"loss": out.mean() / 0 * 0}, {}),
                    "none": ({}, {}),
                    "bare": out.mean(),
                    "alone": ({"loss": out.mean()},),
                    "no gradient": ({"loss": out.mean().detach()}, {}),
                }.get(fault, ({"loss": out.mean()}, {}))

            def decisions(self, features, fault=self.fault):
                logits = super().forward(features["feat"])
                return {
                    "flat": {"pace": logits.flatten(0, 1)},
                    "no logits": {"pace": logits.detach()},
                    "of videos": {"pace": logits.mean(1)},
                }.get(fault, {"pace": logits})

            def after_step(self, fault=self.fault):
                if fault == "random state":
                    nn.init.normal_(self.weight)

        return Head(context.feature_dim, 1 if self.fault != "vector" else 2)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("cut", "no gradient reaches any tap"),
        ("vector", "must be a scalar"),
        ("nan", "loss is nan"),
        ("none", "no loss term"),
        ("bare", r"a call returns tensor\(.*\), not two dictionaries"),
        ("alone", "not two dictionaries"),
        ("no gradient", "carry no gradient"),
        ("random state", "one step from one state led to two states"),
        ("flat", r"decisions about pace are \(\d+, 1\); they must be \(B, V, classes\)"),
        ("no logits", "the decisions about pace carry no gradient"),
    ],
)
def test_the_kit_names_what_is_wrong_with_a_pretext(fault, complaint):
    with pytest.raises(AssertionError, match=complaint):
        testing.check_pretext(Loss(name="loss", fault=fault), Pace(name="pace", views=2))


def test_the_kit_names_a_missing_label():
    testing.check_pretext(Loss(name="loss", fault="fine"), Pace(name="pace"))
    testing.check_pretext(Loss(name="loss", fault="of videos"), Pace(name="pace"))
    with pytest.raises(AssertionError, match=r"needs \['pace'\]; uniform offers \[\]"):
        testing.check_pretext(PacePretext(name="pace"), Uniform(name="uniform"))


class Broken(R3D):
    fault: str

    def build(self):
        network = super().build()
        if self.fault == "feature_dim":
            network.feature_dim = 5
        elif self.fault == "taps":
            network.taps = {**network.taps, "conv6": 8}
        elif self.fault == "unused":
            network.unused = nn.Linear(2, 2)
        elif self.fault == "seed":
            with torch.random.fork_rng():
                torch.seed()
                nn.init.normal_(network.conv1[0].weight)
        return network


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("feature_dim", "feature_dim 5"),
        ("taps", "taps promises"),
        ("unused", "no gradient reaches unused.weight"),
        ("seed", "two builds from one seed differ"),
    ],
)
def test_the_kit_names_what_is_wrong_with_a_backbone(fault, complaint):
    options = Broken(name="r3d", depth=10, width=4, fault=fault)
    with pytest.raises(AssertionError, match=complaint):
        testing.check_backbone(options, clip=(8, 32, 32))


class Boastful(Retrieval):
    def build(self):
        return lambda study: Report([{"weights": w, "top1": 100} for w in study.weights], 0.1)


def test_the_kit_names_a_metric_in_percent():
    with pytest.raises(AssertionError, match="top1 is 100, not from 0 to 1"):
        testing.check_evaluator(Boastful(name="retrieval"))


class Nameless(SamplerOptions):
    name: str = "anything"


def test_the_kit_wants_a_literal_name():
    with pytest.raises(AssertionError, match=r"Nameless\.name must be a Literal"):
        testing.check_options(Nameless())
