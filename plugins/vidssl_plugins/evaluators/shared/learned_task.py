"""A task that time alone decides, learned by all layers of the network; no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import TimeProbe


class LearnedTask:
    """A task that is learned from the training split by a recipe, and tested on the test split."""

    def __init__(
        self,
        study: Study,
        options: TimeProbe,
        needs: int,
        recipe: str,
        pairs: int,
        drawn: Mapping[str, int],
    ) -> None:
        """Check that there are videos with enough frames.

        Args:
            study: Videos and the network.
            options: What is different from the recipe.
            needs: Frames that a video must have.
            recipe: For `vidssl pretrain`.
            pairs: Visits of the recipe's sampler to a test video.
            drawn: Options of that sampler.

        Raises:
            UsageError: No video of a split is long enough.
        """
        self.study, self.recipe, self.pairs = study, recipe, pairs
        sampler = {"frames": study.frames, **drawn}
        self.overrides = [
            *(f"sampler.{name}={value}" for name, value in sampler.items()),
            f"train.seed={options.seed}",
            *options.set,
        ]
        self.set = options.set
        self.too_short = 0
        for split in ("train", "test"):
            videos = [video for video in study.data if video.split == split]
            enough = sum(study.count(video) >= needs for video in videos)
            self.too_short += len(videos) - enough
            if not enough:
                raise UsageError(
                    f"none of the {len(videos)} videos of the split {split!r} has {needs} frames",
                    hint="give data with a train and a test split, and with longer videos",
                )

    @property
    def facts(self) -> dict[str, Any]:
        """The counts and settings that a report shows."""
        return {
            "recipe": self.recipe,
            **({"set": list(self.set)} if self.set else {}),
            "pairs": self.pairs,
            "videos too short": self.too_short,
        }

    def counts(self, weights: str) -> NDArray[np.int64]:
        """Train all layers; return the `confusion` of the test clips."""
        scores = self.study.learn(weights, self.recipe, self.overrides, self.pairs)
        return np.array(scores.confusions[0].counts, dtype=np.int64)
