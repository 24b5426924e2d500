"""The menu of protocols that ask whether a representation knows about motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.study import Pool
from vidssl_plugins.evaluators.fc_options import FC

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import Evaluator


class Probe(EvaluatorOptions):
    """Frozen features and new fully connected layers on them."""

    tap: str = "pool5"
    """Layer that is read: what follows conv5 in the paper."""
    pool: Pool = "flatten"
    """How it becomes a vector."""
    seed: NonNegativeInt = 0
    """Addresses the random draws of clips."""
    fc: FC = FC()


class Sync(Probe):
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
    """Pairs of clips of a video."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.sync import SyncEvaluator

        return SyncEvaluator(self)


class BeforeAfter(Probe):
    """Order in time: whether the two halves of a clip, from two places of a video, are swapped.

    Both orders of every couple of halves are shown. Needs no labels. Jenni, Meishvili, Favaro 2020,
    section 4, table 3.
    """

    name: Literal["before_after"]
    pairs: PositiveInt = 10
    """Couples of halves of a video."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.before_after import BeforeAfterEvaluator

        return BeforeAfterEvaluator(self)


class Still(Probe):
    """Dynamics against single frames: classification of clips, and of one frame that is repeated.

    What is left on still clips does not come from motion. Jenni, Meishvili, Favaro 2020,
    section 4.
    """

    name: Literal["still"]
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.still import StillEvaluator

        return StillEvaluator(self)
