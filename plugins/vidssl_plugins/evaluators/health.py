"""Faults of a representation that no accuracy shows: collapse, colour alone, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.reports import Curves, Report, Table
from vidssl_cli.contract.study import Baseline, Pool, Study
from vidssl_plugins.evaluators.health_measures import (
    Floats,
    alignment,
    deviations,
    effective_rank,
    neighbours,
    overlap,
    spectrum,
    uniformity,
)
from vidssl_plugins.evaluators.shared.settings import settle, spread

DEAD = 0.01
"""A dimension is dead if its deviation is below this share of the root mean square of all."""
COLLAPSED = 2.0
"""Effective rank below which clips differ in no more than one direction."""
ALIKE = 0.5
"""Two representations are alike if their neighbours overlap by more than this share of the way
from chance to all."""
RANDOM = "random_weights"
"""Name of the overlap with the network before training."""
DRAWN = 100
"""Directions of the spectrum to draw."""
COLOUR: Sequence[Baseline] = ("colour", "one_frame")
"""Baselines without motion."""


@dataclass(frozen=True)
class Finding:
    """What was measured of one set of weights."""

    rank: float
    """Effective rank."""
    own_units: float
    """The same with every live dimension in units of its own deviation, as standardised retrieval
    sees them: a few dimensions of large numbers leave little to all others in a covariance."""
    dimensions: int
    """D."""
    dead: int
    """Dimensions that hardly vary."""
    alignment: float
    uniformity: float
    shares: Floats
    """Of variance, by direction."""
    overlaps: dict[str, float]
    """Of neighbours, with each baseline and with random weights."""

    @property
    def collapsed(self) -> bool:
        """Whether clips differ in no more than one direction."""
        return self.own_units < COLLAPSED


class HealthEvaluator:
    """Measures features of videos; needs no labels.

    Args:
        videos: Most videos to look at.
        neighbours: Nearest videos that are compared.
        clips: Of a video; None leaves it to the recipe, like the next two.
        tap: Layer.
        pool: How it becomes a vector.
    """

    def __init__(
        self,
        videos: int,
        neighbours: int,
        *,
        clips: int | None,
        tap: str | None,
        pool: Pool | None,
    ) -> None:
        self.videos, self.neighbours = videos, neighbours
        self.clips, self.tap, self.pool = clips, tap, pool

    def __call__(self, study: Study) -> Report:
        """Report the effective rank and the live dimensions as shares of D, and overlaps.

        Raises:
            UsageError: there are fewer than three videos, or a single clip of each.
        """
        videos = spread(study.data, self.videos)
        if len(videos) < 3:
            raise UsageError(
                f"health compares neighbours, and needs three videos; there are {len(videos)}"
            )
        settings = settle(study, clips=self.clips, tap=self.tap, pool=self.pool)
        if settings.windows.clips < 2:
            raise UsageError(
                "health compares clips of one video, and needs two of each",
                where="clips",
                hint="--set clips=2",
            )
        near = min(self.neighbours, (len(videos) - 1) // 2)
        chance = near / (len(videos) - 1)
        others = {
            name: neighbours(study.baseline(name, videos), near) for name in get_args(Baseline)
        }
        clips = {weights: settings.clips(study, weights, videos) for weights in study.weights}
        means = {
            weights: np.stack([each.mean(0) for each in of_videos])
            for weights, of_videos in clips.items()
        }
        if "random" in means:
            others[RANDOM] = neighbours(means["random"], near)
        found = {
            weights: _measure(of_videos, means[weights], others, near, chance)
            for weights, of_videos in clips.items()
        }
        overlaps = {name: chance for name in ("colour", RANDOM) if name in others}
        return Report(
            [
                {
                    "weights": weights,
                    "effective_rank": each.rank / each.dimensions,
                    "live": 1 - each.dead / each.dimensions,
                    **{name: each.overlaps[name] for name in overlaps},
                }
                for weights, each in found.items()
            ],
            chance=0.0,
            chances=overlaps,
            facts={
                "videos": len(videos),
                "neighbours": near,
                **{key: settings.facts[key] for key in ("clips", "stride", "tap", "pool")},
            },
            tables=[
                _verdicts(found["run"], chance),
                _quantities(found),
                _overlaps(found, list(others), chance),
            ],
            figures=[_curves(found)],
        )


def _measure(
    clips: Sequence[Floats],
    means: Floats,
    others: dict[str, NDArray[np.int64]],
    near: int,
    chance: float,
) -> Finding:
    together = np.concatenate(clips)
    varying = deviations(together)
    live = varying > DEAD * np.sqrt(np.square(varying).mean())
    mine = neighbours(means, near) if deviations(means).any() else None
    return Finding(
        effective_rank(together),
        effective_rank(together[:, live] / varying[live]) if live.any() else 0.0,
        together.shape[1],
        int((~live).sum()),
        alignment(clips),
        uniformity(means),
        spectrum(together),
        # Where all videos look the same none is nearer than another, and neighbours are by chance.
        {
            name: chance if mine is None else overlap(mine, theirs)
            for name, theirs in others.items()
        },
    )


def _verdicts(run: Finding, chance: float) -> Table:
    """Return a table of answers about the run, in words."""

    def like(names: Sequence[str]) -> list[str]:
        name = max(names, key=run.overlaps.__getitem__)
        share = (run.overlaps[name] - chance) / (1 - chance)
        answer = "yes" if share > ALIKE else "partly" if share > ALIKE / 2 else "no"
        shared = f"{100 * run.overlaps[name]:.0f} % of neighbours as by {name}"
        return [answer, f"{shared}, chance {100 * chance:.0f} %"]

    rank = f"effective rank {run.rank:.1f} of {run.dimensions}, {run.own_units:.1f} in own units"
    dead = f"{run.dead} of {run.dimensions} dimensions hardly vary"
    rows = [
        ["is it collapsed?", "yes" if run.collapsed else "no", rank],
        ["are dimensions dead?", _share(run.dead / run.dimensions), dead],
        ["is it merely colour?", *like(COLOUR)],
    ]
    if RANDOM in run.overlaps:
        rows.append(["is it as before training?", *like([RANDOM])])
    return Table("verdict on the run", ["question", "answer", "why"], rows)


def _share(dead: float) -> str:
    return "most" if dead > 0.5 else "some" if dead > 0.1 else "no"


def _quantities(found: dict[str, Finding]) -> Table:
    return Table(
        "distances of clips and directions of variance",
        ["weights", "effective rank", "in own units", "of", "dead", "alignment", "uniformity"],
        [
            [
                weights,
                round(each.rank, 2),
                round(each.own_units, 2),
                each.dimensions,
                each.dead,
                round(each.alignment, 4),
                round(each.uniformity, 4),
            ]
            for weights, each in found.items()
        ],
    )


def _overlaps(found: dict[str, Finding], names: Sequence[str], chance: float) -> Table:
    rows: list[list[str | float]] = [
        [name, *(round(100 * each.overlaps[name], 1) for each in found.values())] for name in names
    ]
    rows.append(["chance", *(round(100 * chance, 1) for _ in found)])
    return Table("neighbours in common, percent", ["with", *found], rows)


def _curves(found: dict[str, Finding]) -> Curves:
    return Curves(
        "variance by direction",
        "principal directions",
        "share of the variance in them",
        {
            weights: [
                (float(number), float(share))
                for number, share in enumerate(np.cumsum(each.shares[:DRAWN]), 1)
            ]
            for weights, each in found.items()
        },
    )
