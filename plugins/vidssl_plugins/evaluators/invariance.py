"""Likeness of clips under temporal augmentation and over time (SSTL 2021, figures 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.reports import Curves, Report, Table
from vidssl_cli.contract.study import Pool, Study
from vidssl_plugins.evaluators.invariance_clips import Plan
from vidssl_plugins.evaluators.invariance_measures import (
    Floats,
    Point,
    between,
    cosines_of_pairs,
    distribution,
    interval,
    over_distance,
    separation,
    within,
)
from vidssl_plugins.evaluators.shared.settings import settle, spread


@dataclass(frozen=True)
class Likeness:
    """Cosines by one set of weights."""

    augmented: Sequence[Point]
    """By strength."""
    distant: Sequence[Point]
    """By relative distance in time."""
    within: Sequence[float]
    """Of each video, the mean over pairs of its clips."""
    between: Sequence[float]
    """The same with the clips of another video."""


class InvarianceEvaluator:
    """Compares clips of videos; needs no labels.

    Args:
        plan: Which clips.
        videos: Most videos to look at.
        stride: Of clips; None leaves it to the recipe, like the next two.
        tap: Layer.
        pool: How it becomes a vector.
    """

    def __init__(
        self, plan: Plan, videos: int, stride: int | None, tap: str | None, pool: Pool | None
    ) -> None:
        self.plan, self.videos = plan, videos
        self.stride, self.tap, self.pool = stride, tap, pool

    def __call__(self, study: Study) -> Report:
        """Report ``separation``: how often the clips of a video are more alike than those of two.

        Cosines are in tables and figures.

        Raises:
            UsageError: fewer than two videos are long enough, or there is no such tap.
        """
        settings = settle(study, stride=self.stride, tap=self.tap, pool=self.pool)
        stride, plan = settings.windows.strides[0], self.plan
        looked_at = spread(study.data, self.videos)
        needs = plan.needs(study.frames, stride)
        videos = [video for video in looked_at if study.count(video) >= needs]
        if len(videos) < 2:
            raise UsageError(
                f"{len(videos)} of {len(looked_at)} videos have {needs} frames, as the strongest "
                "augmentation needs, and invariance compares two videos or more",
                where="strengths",
                hint="give smaller strengths, a smaller stride, or longer videos",
            )
        others = [_other(plan.seed, number, len(videos)) for number in range(len(videos))]
        pairs = [
            sets
            for number, video in enumerate(videos)
            for sets in plan.augmented(study, video, number, stride)
        ]
        clips = [plan.spread(study, video, stride) for video in videos]
        starts = [each.frames[:, 0] for each in clips]
        found = {}
        for weights in study.weights:
            (features,) = study.features(weights, [*pairs, *clips], [settings.reading])
            cosines = list(map(cosines_of_pairs, features[: len(pairs)]))
            spaced = features[len(pairs) :]
            found[weights] = Likeness(
                _by_strength(plan.strengths, cosines),
                over_distance(spaced, starts),
                [within(each) for each in spaced],
                [between(each, spaced[other]) for each, other in zip(spaced, others, strict=True)],
            )
        return Report(
            [
                {"weights": weights, "separation": separation(each.within, each.between)}
                for weights, each in found.items()
            ],
            chance=0.5,
            chances={"separation": 0.5},
            facts={
                "videos": len(videos),
                "videos too short": len(looked_at) - len(videos),
                "clips": plan.clips,
                "pairs": plan.pairs,
                "stride": stride,
                **{key: settings.facts[key] for key in ("tap", "pool")},
            },
            tables=[_means(found), _strengths(plan, study.frames, found)],
            figures=[*_figures(found)],
        )


def _other(seed: int, number: int, count: int) -> int:
    """Draw another video than that of a number."""
    drawn = int(Draw(seed, 0, number)("other video").integers(count - 1))
    return drawn + (drawn >= number)


def _by_strength(strengths: Sequence[int], cosines: Sequence[Floats]) -> list[Point]:
    """Return means over videos, given the cosines of every video and strength, strengths first."""
    count = len(strengths)
    return [
        interval(strength, [float(each.mean()) for each in cosines[place::count]])
        for place, strength in enumerate(strengths)
    ]


def _means(found: Mapping[str, Likeness]) -> Table:
    rows: list[list[str | float]] = [
        [weights, *(round(float(np.mean(cosines)), 4) for cosines in (each.within, each.between))]
        for weights, each in found.items()
    ]
    return Table("mean cosine of two clips", ["weights", "of a video", "of two videos"], rows)


def _strengths(plan: Plan, frames: int, found: Mapping[str, Likeness]) -> Table:
    rows = [
        [
            strength,
            plan.dropped(strength, frames),
            *(round(each.augmented[place].mean, 4) for each in found.values()),
        ]
        for place, strength in enumerate(plan.strengths)
    ]
    return Table("mean cosine of two augmented clips", ["buffer, frames", "dropped", *found], rows)


def _figures(found: Mapping[str, Likeness]) -> list[Curves]:
    return [
        _curves(
            "clips under temporal augmentation",
            "buffer for cropping and dropping, frames",
            {weights: each.augmented for weights, each in found.items()},
        ),
        *(
            Curves(
                f"cosines within and between videos, {weights} weights",
                "cosine",
                "share of videos",
                {
                    "within a video": distribution(each.within),
                    "between videos": distribution(each.between),
                },
            )
            for weights, each in found.items()
        ),
        _curves(
            "clips of a video over distance in time",
            "distance, relative to the longest",
            {weights: each.distant for weights, each in found.items()},
        ),
    ]


def _curves(title: str, x: str, lines: Mapping[str, Sequence[Point]]) -> Curves:
    return Curves(
        title,
        x,
        "mean cosine, 95 % confidence",
        {name: [(point.x, point.mean) for point in line] for name, line in lines.items()},
        {name: [(point.low, point.high) for point in line] for name, line in lines.items()},
    )
