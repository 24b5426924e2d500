"""Options of `finetune`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Crops
from vidssl_plugins.evaluators.options.finetune_protocols import (
    PROTOCOLS,
    Level,
    Place,
    Preset,
    Protocol,
)
from vidssl_plugins.evaluators.options.shared import as_tuple, with_given


class Finetune(EvaluatorOptions):
    """All layers trained on labelled video, from the run's weights and from random ones.

    The last checkpoint is tested, on clips and on videos, which the mean softmax over their clips
    decides. What was trained is kept with the report and not trained again.
    """

    name: Literal["finetune"]
    recipe: str | None = None
    """Recipe for `vidssl finetune`, by name or path; if not given, that of the preset, and
    ``finetune`` without one."""
    set: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """What is different from the recipe, such as ``[train.epochs=5, train.batch_videos=8]``."""
    splits: tuple[PositiveInt, ...] = ()
    """Official splits to train and test on; the one of `--split` if there are none here."""
    preset: Preset | None = None
    """A paper's recipe, and clips and crops of its test: temporal transformations,
    time-equivariant, playback speed, SSTL, statistics (thesis, chapters 2 and 3) and pace. What
    else is given replaces it."""
    windows: Place | None = None
    """Where the clips of a test video lie: evenly spaced, about so many of all that there are, or
    from every start that is a multiple of ``hop``; ``uniform`` if not given."""
    clips: PositiveInt | None = None
    """Clips of a test video; the run's evaluation.clips if not given."""
    stride: PositiveInt | None = None
    """Distance in frames between two frames of a test clip; that of the recipe, which is that of
    training unless it says another, if not given."""
    hop: PositiveInt | None = None
    """Frames from one start to the next, for ``overlap``; the preset's, or 8, if not given."""
    crops: Crops | None = None
    """The middle of each clip, which is the default, or ``three`` squares along its longer side,
    each of which counts as a clip."""
    level: Level | None = None
    """What ``accuracy`` and the accuracy of each class count; ``video`` if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.finetune import FinetuneEvaluator

        protocol = PROTOCOLS[self.preset] if self.preset else Protocol()
        return FinetuneEvaluator(with_given(protocol, self), self.set, self.splits)
