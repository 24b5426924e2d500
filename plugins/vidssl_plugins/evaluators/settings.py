"""What an evaluator's options say, and the recipe where they say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import Crops, Look, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.hooks import EvaluatorOptions
    from vidssl_cli.contract.study import Pool, Study
    from vidssl_cli.contract.videos import Video


@dataclass(frozen=True)
class Settings:
    """How videos are embedded for a protocol."""

    windows: Windows
    reading: Reading
    crops: Crops
    standardise: bool

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a report says of it."""
        return {
            "clips": self.windows.clips,
            "stride": self.windows.stride,
            "tap": self.reading.tap,
            "pool": self.reading.pool,
            "standardise": self.standardise,
            "crops": self.crops,
        }

    def looks(self, study: Study, videos: Sequence[Video]) -> list[Look]:
        """Return the clips that stand for each video."""
        return [Look(v, self.windows.of(study.count(v), study.frames)) for v in videos]

    def clips(
        self, study: Study, weights: str, videos: Sequence[Video]
    ) -> list[NDArray[np.float32]]:
        """Return (clips x crops, D) features of each video."""
        looks = self.looks(study, videos)
        (found,) = study.features(weights, looks, [self.reading], self.crops)
        return found

    def means(self, study: Study, weights: str, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D), the mean over the clips of every video."""
        return np.stack([features.mean(0) for features in self.clips(study, weights, videos)])


def reading_of(study: Study, tap: str, pool: Pool) -> Reading:
    """Return how a layer of the network is read.

    Raises:
        UsageError: the backbone has no such tap.
    """
    if tap not in study.taps:
        raise UsageError(f"the backbone has no tap {tap!r}", hint=f"it has {', '.join(study.taps)}")
    return Reading(tap, pool)


def settle(options: EvaluatorOptions, study: Study) -> Settings:
    """Return the options, filled up by the recipe's.

    Raises:
        UsageError: the backbone has no such tap.
    """

    def choose(key: str) -> Any:
        given = getattr(options, key, None)
        return getattr(study.evaluation, key) if given is None else given

    return Settings(
        Windows(clips=choose("clips"), stride=choose("stride")),
        reading_of(study, choose("tap"), choose("pool")),
        getattr(options, "crops", "centre"),
        choose("standardise"),
    )
