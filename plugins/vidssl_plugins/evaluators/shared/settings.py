"""How a protocol embeds videos: its options, and the run's recipe where they are None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import ClipSet, Crops, Layer, Pool, Study
from vidssl_cli.contract.videos import Video
from vidssl_plugins.evaluators.options.finetune_protocols import Place
from vidssl_plugins.evaluators.options.shared import Frozen, Standardise


@dataclass(frozen=True)
class Settings:
    """How videos are embedded for a protocol."""

    windows: Windows
    reading: Layer
    crops: Crops
    standardise: Standardise

    @property
    def facts(self) -> dict[str, Any]:
        """The settings that a report shows."""
        windows = self.windows
        place = {} if windows.place == "uniform" else {"windows": windows.place}
        hop = {"hop": windows.hop} if windows.place == "overlap" else {}
        return {
            "clips": windows.clips,
            **place,
            **hop,
            "stride": windows.stride,
            "tap": self.reading.tap,
            "pool": self.reading.pool,
            "standardise": self.standardise,
            "crops": self.crops,
        }

    def tested(self, place: Place, hop: int) -> Settings:
        """Return the settings for test videos, whose clips may lie elsewhere."""
        return replace(self, windows=replace(self.windows, place=place, hop=hop))

    def looks(self, study: Study, videos: Sequence[Video]) -> list[ClipSet]:
        """Return the clips that stand for each video."""
        return [ClipSet(v, self.windows.of(study.count(v), study.frames)) for v in videos]

    def clips(
        self, study: Study, weights: str, videos: Sequence[Video]
    ) -> list[NDArray[np.float32]]:
        """Return (clips x crops, D) features of each video."""
        looks = self.looks(study, videos)
        (found,) = study.features(weights, looks, [self.reading], self.crops)
        return found

    def means(self, study: Study, weights: str, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D), the mean over the clips of every video."""
        (found,) = self.layer_means(study, weights, videos, [self.reading])
        return found

    def layer_means(
        self, study: Study, weights: str, videos: Sequence[Video], readings: Sequence[Layer]
    ) -> list[NDArray[np.float32]]:
        """Return for each layer (N, D), the mean over the clips of every video, in one pass."""
        looks = self.looks(study, videos)
        found = study.features(weights, looks, readings, self.crops)
        return [np.stack([clips.mean(0) for clips in of_layer]) for of_layer in found]


def reading_of(study: Study, tap: str | None = None, pool: Pool | None = None) -> Layer:
    """Return how a layer of the network is read; None leaves it to the recipe.

    Raises:
        UsageError: the backbone has no such tap.
    """
    tap, pool = tap or study.evaluation.tap, pool or study.evaluation.pool
    if tap not in study.taps:
        raise UsageError(f"the backbone has no tap {tap!r}", hint=f"it has {', '.join(study.taps)}")
    return Layer(tap, pool)


def readings_of(study: Study, taps: Sequence[str] | None, pool: Pool | None = None) -> list[Layer]:
    """Return how layers of the network are read, for names such as ``pool4`` and ``pool4:gmp``.

    Args:
        study: whose recipe gives the pooling that neither a name nor ``pool`` does.
        taps: the names; None for none.
        pool: of those without a pooling of their own.

    Raises:
        UsageError: the backbone has no such tap.
    """
    parts = (name.partition(":") for name in taps or ())
    return [reading_of(study, tap, cast(Pool, own) or pool) for tap, _, own in parts]


def settle(
    study: Study,
    *,
    clips: int | None = None,
    stride: int | tuple[int, ...] | None = None,
    tap: str | None = None,
    pool: Pool | None = None,
    crops: Crops = "centre",
    standardise: Standardise | None = None,
) -> Settings:
    """Return settings, with the recipe's in place of None.

    Raises:
        UsageError: the backbone has no such tap.
    """
    recipe = study.evaluation
    return Settings(
        Windows(clips=clips or recipe.clips, stride=stride or recipe.stride),
        reading_of(study, tap, pool),
        crops,
        recipe.standardise if standardise is None else standardise,
    )


def settle_frozen(study: Study, options: Frozen) -> Settings:
    """Return the settings of options for a frozen network, with the recipe's in place of None.

    Raises:
        UsageError: the backbone has no such tap.
    """
    return settle(
        study,
        clips=options.clips,
        stride=options.stride,
        tap=options.tap,
        pool=options.pool,
        crops=options.crops,
    )


def spread(videos: Sequence[Video], most: int) -> Sequence[Video]:
    """Return the videos, or so many of them, evenly spaced."""
    if len(videos) <= most:
        return videos
    return [videos[number * len(videos) // most] for number in range(most)]
