"""Options of `sync`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import TimeProbe


class Sync(TimeProbe):
    """Synchronisation: by how many frames one clip of a video is delayed against another.

    Layers are trained on the difference of the features of both clips. Needs no labels. Jenni,
    Meishvili, Favaro 2020, section 4, table 3.
    """

    name: Literal["sync"]
    reach: PositiveInt = 6
    """Largest delay, in frames of a clip, either way: 6 makes 13 classes."""
    stride: PositiveInt = 1
    """Distance in frames of the video between two frames of a clip; delays count in it."""
    pairs: Annotated[int, Field(ge=2)] = 10
    """Pairs of clips of a video; where all layers learn, of a test video."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.sync import SyncEvaluator

        return SyncEvaluator(self, self.reach, self.stride, self.pairs)
