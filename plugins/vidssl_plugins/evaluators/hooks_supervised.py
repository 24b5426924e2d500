"""The menu of protocols with labels: fine-tuning, and classifiers on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.study import Crops, Pool
from vidssl_plugins.evaluators.fc_options import FC

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import Evaluator

Penalties = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Finetune(EvaluatorOptions):
    """All layers trained on labelled video, from the run's weights and from random ones.

    The last checkpoint is tested, on clips and on videos, which the mean softmax over their clips
    decides. What was trained is kept beside the report and not trained again.
    """

    name: Literal["finetune"]
    recipe: str = "finetune"
    """Recipe for `vidssl finetune`, by name or path."""
    set: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """What is different from the recipe, such as ``[train.epochs=5, train.batch_videos=8]``."""
    splits: tuple[PositiveInt, ...] = ()
    """Official splits to train and test on; the one of `--split` if there are none here."""
    preset: Literal["tt", "te", "psp", "sstl", "sts2", "sts3", "pace"] | None = None
    """Clips and crops of a paper's test: temporal transformations, time-equivariant, playback
    speed, SSTL, statistics (thesis, chapters 2 and 3) and pace. What is given besides wins."""
    windows: Literal["uniform", "dense", "overlap"] | None = None
    """Where the clips of a test video lie: evenly spaced, about so many of all that there are, or
    from every start that is a multiple of ``hop``; ``uniform`` if not given."""
    clips: PositiveInt | None = None
    """Clips of a test video; the run's evaluation.clips if not given."""
    stride: PositiveInt | None = None
    """Distance in frames between two frames of a clip; the run's evaluation.stride if not given."""
    hop: PositiveInt = 8
    """Frames from one start to the next, for ``overlap``."""
    crops: Crops | None = None
    """The middle of each clip, which is the default, or ``three`` squares along its longer side,
    each of which counts as a clip."""
    level: Literal["video", "clip"] | None = None
    """What ``accuracy`` and the accuracy of each class count; ``video`` if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.finetune import FinetuneEvaluator

        return FinetuneEvaluator(self)


class Frozen(EvaluatorOptions):
    """How a network that is not trained any more describes videos."""

    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    stride: PositiveInt | None = None
    """Distance in frames between two frames of a clip; the recipe's evaluation.stride if not
    given."""
    crops: Crops = "centre"
    """The middle of each clip, or ``three`` squares along its longer side."""
    tap: str | None = None
    """Layer that is read; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""


class Linear(Frozen):
    """How easily classes can be read off frozen features.

    By logistic regression on the mean over a video's clips, standardised by the training videos'
    mean and deviation; or by new fully connected layers on clips, whose mean softmax decides on
    the video (Jenni et al. 2020, Table 1; there with tap pool5 and pool flatten).
    """

    name: Literal["linear"]
    head: Literal["logistic", "fc"] = "logistic"
    """``logistic`` regression, or ``fc`` for new fully connected layers."""
    penalties: Penalties = (1e-3, 1e-2, 0.1, 1, 10)
    """Inverse strengths of the L2 penalty of ``logistic`` (scikit-learn's C); cross-validation on
    the training videos chooses."""
    fc: FC = FC()

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.linear import LinearEvaluator

        return LinearEvaluator(self)


class SVM(Frozen):
    """Linear support vector machines, one for each class against the rest (Jenni and Jin 2021).

    On the mean over a video's clips and crops, standardised by the training videos' mean and
    deviation.
    """

    name: Literal["svm"]
    penalties: Penalties = (1e-4, 1e-3, 1e-2, 0.1, 1)
    """Values of C; cross-validation on the training videos chooses."""
    seed: NonNegativeInt = 0
    """Of the solver."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.frozen import SVMEvaluator

        return SVMEvaluator(self)


class KNN(Frozen):
    """The nearest training videos vote, by cosine; with one neighbour it is retrieval's top1."""

    name: Literal["knn"]
    neighbours: PositiveInt = 1
    """How many vote; between equal counts the nearest decides."""
    temperature: PositiveFloat | None = None
    """Every neighbour has one vote, or exp(cosine / temperature) votes (Wu et al. 2018, section
    3.4, with 0.07)."""
    standardise: bool | None = None
    """Whether to standardise by the training videos' mean and deviation; the recipe's
    evaluation.standardise if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.frozen import KNNEvaluator

        return KNNEvaluator(self)


class LowShot(Frozen):
    """How accuracy grows with the labels: a classifier on frozen features of a few videos.

    Features are the mean over a video's clips and crops, standardised by all training videos, which
    takes no labels.
    """

    name: Literal["low_shot"]
    classifier: Literal["logistic", "svm", "knn"] = "logistic"
    """What learns from the labels: logistic regression, linear SVM, or the nearest neighbour."""
    shots: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 5, 10)
    """Labelled videos of each class; all there are is always added."""
    draws: PositiveInt = 5
    """How often they are drawn."""
    penalty: PositiveFloat = 0.1
    """C of ``logistic`` and ``svm``: a video or two of a class are too few to choose it by."""
    seed: NonNegativeInt = 0
    """Of the draws."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.low_shot import LowShotEvaluator

        return LowShotEvaluator(self)
