"""What the options of several evaluators have in common."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.study import Crops, Pool
from vidssl_plugins.evaluators.options.finetune_protocols import Place

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Preset = TypeVar("Preset", bound=DataclassInstance)


def as_tuple(value: object) -> object:
    """Return a text as a tuple of it, and anything else as it is."""
    return (value,) if isinstance(value, str) else value


Stride = PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
Penalties = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
Standardise = bool | Literal["centre"]
"""By the training videos' mean and deviation, or not; or subtract from either side its mean."""


def _known_poolings(taps: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for tap in taps or ():
        _, colon, pool = tap.partition(":")
        if colon and pool not in get_args(Pool):
            raise ValueError(f"no pooling {pool!r}; choose from {', '.join(get_args(Pool))}")
    return taps


Taps = Annotated[tuple[str, ...], AfterValidator(_known_poolings)]
"""Names of taps, each with or without a pooling of its own, ``pool4:gmp``."""


class Training(BaseModel):
    """How new layers on a frozen network are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: PositiveInt = 50
    """How often every clip is seen."""
    batch: Annotated[int, Field(ge=2)] = 24
    """Clips of a step, at least."""
    lr: PositiveFloat = 5e-5
    """Learning rate of AdamW at the beginning; falls to a thousandth along a cosine."""
    weight_decay: NonNegativeFloat = 1e-4
    """On weights; biases and batch norm are spared."""
    seed: NonNegativeInt = 0
    """Draws the first weights and the order of the clips."""


class FC(Training):
    """New fully connected layers and how they are trained.

    Jenni, Meishvili and Favaro (2020), section 4: three layers on a frozen network, 50 epochs.
    Optimizer, schedule and batch norm are those of their code.
    """

    hidden: tuple[PositiveInt, ...] = (2048, 2048)
    """Widths of the layers before the last."""
    norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""


class Pooler(Training):
    """A learned query that attends to a clip's positions, and how it is trained."""

    heads: PositiveInt = 8
    """Heads of attention, among which the tap's channels are divided."""
    blocks: NonNegativeInt = 0
    """Blocks in which positions attend to each other before the query does: none in V-JEPA, three
    in V-JEPA 2."""
    epochs: PositiveInt = 20
    """How often every clip is seen."""
    lr: PositiveFloat = 1e-3
    """Learning rate of AdamW at the beginning; falls to a thousandth along a cosine."""
    weight_decay: NonNegativeFloat = 0.01
    """On weights; biases and norms are spared."""


class Probe(EvaluatorOptions):
    """Frozen features and new fully connected layers on them."""

    tap: str = "pool5"
    """Layer that is read: what follows conv5 in the paper."""
    pool: Pool = "flatten"
    """How it becomes a vector."""
    seed: NonNegativeInt = 0
    """Addresses the random draws of clips."""
    fc: FC = FC()


class TimeProbe(Probe):
    """A task in time, which new layers learn, or all layers do."""

    freeze: bool = True
    """Train new layers alone, on features of the network. If false, the task's own recipe trains
    all layers with them, on new clips in every epoch; ``tap``, ``pool`` and ``fc`` are not used."""
    set: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """What is different from that recipe, such as ``[train.epochs=5, train.batch_videos=8]``."""

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if self.freeze:
            if self.set:
                raise ValueError("set changes how all layers learn, which takes freeze=false")
            return self
        frozen = {name: type(self).model_fields[name].default for name in ("tap", "pool", "fc")}
        if given := [name for name, default in frozen.items() if getattr(self, name) != default]:
            raise ValueError(
                f"{', '.join(given)} says how layers learn from a frozen network; with "
                "freeze=false the recipe does, which set changes"
            )
        return self


class TestWindows(EvaluatorOptions):
    """Where the clips of test videos lie, if not where those of training videos do."""

    windows: Place = "uniform"
    """Clips of a test video: evenly spaced, ``dense`` for about so many of all that there are, or
    ``overlap`` for one from every start that is a multiple of ``hop``. With hop 1 these are all
    sub-sequences (Jenni, Meishvili, Favaro 2020, section 4)."""
    hop: PositiveInt = 8
    """Frames from one start to the next, for ``overlap``."""


class Frozen(TestWindows):
    """How a network that is not trained any more describes videos."""

    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    stride: Stride | None = None
    """Distance in frames between two frames of a clip, or several whose features are joined; the
    recipe's evaluation.stride if not given."""
    crops: Crops = "centre"
    """The middle of each clip, or ``three`` squares along its longer side."""
    tap: str | None = None
    """Layer that is read; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""


def with_given(preset: Preset, options: EvaluatorOptions) -> Preset:
    """Return a preset with the values of the options of the same names that are not None."""
    values = {field.name: getattr(options, field.name, None) for field in fields(preset)}
    return replace(preset, **{name: value for name, value in values.items() if value is not None})
