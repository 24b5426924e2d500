"""Options of `retrieval`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Crops, Pool
from vidssl_plugins.evaluators.options.retrieval_protocols import (
    PROTOCOLS,
    Level,
    Place,
    Preset,
    Protocol,
)
from vidssl_plugins.evaluators.options.shared import Standardise, Stride, Taps, with_given


class Retrieval(EvaluatorOptions):
    """Nearest neighbours by cosine: test videos are queries, training videos the gallery.

    A query is a hit at k if one of its k nearest neighbours has its class. With one neighbour
    this is 1-NN classification. ``mAP`` is the mean average precision over the whole gallery.
    Equally near items stand in the order of the gallery.
    """

    name: Literal["retrieval"]
    preset: Preset | None = None
    """A paper's protocol; whatever else is given replaces it. docs/evaluation.md has the table."""
    level: Level | None = None
    """``video`` averages the features of a video's clips (VCOP's code, most papers since, and what
    is done if nothing is given); ``clip`` looks up every test clip among all training clips."""
    windows: Place | None = None
    """``uniform`` spreads the clips evenly, which is what is done if nothing is given; ``overlap``
    takes one from every hop-th frame on."""
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    stride: Stride | None = None
    """Distance in frames between two frames of a clip, or several whose features are joined; the
    recipe's evaluation.stride if not given."""
    hop: PositiveInt | None = None
    """Frames from one start to the next, for ``overlap``; half a clip if not given."""
    crops: Crops | None = None
    """``centre``, which is what is done if nothing is given, or ``three`` along the longer side."""
    tap: str | None = None
    """Layer that is compared; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    taps: Taps | None = None
    """Layers to compare in one pass over the videos, as a table of their own: names of taps, each
    with the pooling above or with its own, ``pool4:gmp``."""
    standardise: Standardise | None = None
    """Whether to standardise by the training videos' mean and deviation; ``centre`` subtracts from
    either side its own mean (CoCLR's code). The recipe's evaluation.standardise if not given."""
    topk: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] | None = None
    """The k to report, of which the smallest leads; if not given, those of 1, 5, 10, 20 and 50 that
    the gallery has items for."""
    baselines: bool = False
    """Show what hand-made features find: colours, and how much frames differ."""
    still: bool = False
    """Repeat the middle frame of every clip: what is still found is found by appearance."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.retrieval import RetrievalEvaluator

        protocol = PROTOCOLS[self.preset] if self.preset else Protocol()
        return RetrievalEvaluator(
            with_given(protocol, self),
            preset=self.preset,
            topk=self.topk,
            baselines=self.baselines,
            still=self.still,
        )
