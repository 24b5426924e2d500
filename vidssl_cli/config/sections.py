"""Sections of a recipe: input, augmentation, training, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vidssl_cli.contract.hooks import LoggerOptions, ascending
from vidssl_cli.contract.registry import Offered
from vidssl_cli.contract.study import Crops, Pool

Probability = Annotated[float, Field(ge=0, le=1)]
Colour3 = tuple[float, float, float]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, and values are immutable."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Input(Section):
    """What the network sees, the same in training and evaluation; stored with the weights."""

    resize: tuple[PositiveInt, PositiveInt] | PositiveInt = (128, 171)
    """Size at which frames are decoded: [height, width], or the length of the short side."""
    crop: PositiveInt = 112
    """Side of the square that the network sees, in pixels of the resized frame."""
    mode: Literal["rgb", "residual"] = "rgb"
    """Frames, or differences of consecutive frames (the last difference is repeated)."""
    mean: Colour3 = (0.5, 0.5, 0.5)
    """Subtracted from red, green and blue, which range from 0 to 1."""
    std: Colour3 = (0.5, 0.5, 0.5)
    """Divides red, green and blue after that."""
    fps: PositiveFloat | None = None
    """Frames per second at which frames are counted and clips are cut; null takes those of the
    file, as the papers do."""

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        short = self.resize if isinstance(self.resize, int) else min(self.resize)
        if self.crop > short:
            raise ValueError(f"crop {self.crop} does not fit into frames resized to {self.resize}")
        return self


class Colour(Section):
    """Random changes of colour, each drawn uniformly from its range."""

    brightness: NonNegativeFloat = 0
    """Factor from [1 - b, 1 + b]."""
    contrast: NonNegativeFloat = 0
    """Factor on the distance to the frame's mean grey, from [1 - c, 1 + c]."""
    saturation: NonNegativeFloat = 0
    """Factor on the distance to grey, from [1 - s, 1 + s]."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0
    """Rotation of the hue, from [-h, h] of a full turn."""
    mix: NonNegativeFloat = 0
    """Strength of a random mixing of the colour channels; 0 leaves them alone."""
    probability: Probability = 1
    """Probability that colours are changed."""
    per: Literal["clip", "frame"] = "clip"
    """One set of parameters for a clip, or one for each of its frames (pace prediction)."""
    form: Literal["fast", "exact"] = "fast"
    """One affine map with hue as a turn of chroma, or step by step with hue in HSV."""


class ResizedCrop(Section):
    """A box of random area and shape, scaled to the network's square."""

    scale: tuple[PositiveFloat, Annotated[float, Field(gt=0, le=1)]] = (0.2, 1)
    """Smallest and largest share of the frame's area."""
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 4 / 3)
    """Smallest and largest width divided by height."""

    @field_validator("scale", "ratio")
    @classmethod
    def _ascends(cls, limits: tuple[float, float]) -> tuple[float, float]:
        return ascending(limits)


class Blur(Section):
    """Gaussian blur of whole clips."""

    probability: Probability = 0
    """Probability that a clip is blurred."""
    sigma: tuple[PositiveFloat, PositiveFloat] = (0.1, 2)
    """Smallest and largest deviation, in pixels of what the network sees."""

    @field_validator("sigma")
    @classmethod
    def _ascends(cls, limits: tuple[float, float]) -> tuple[float, float]:
        return ascending(limits)


class Augment(Section):
    """How training clips are varied; evaluation uses the centre crop and nothing else."""

    crop: Literal["random", "center"] | ResizedCrop = "random"
    """Where the square is cut that the network sees; or `scale` and `ratio` of a resized crop."""
    flip: Probability = 0.5
    """Probability that a clip is mirrored left to right."""
    colour: Colour = Colour()
    grey: Probability = 0
    """Probability that a clip loses its colours."""
    blur: Blur = Blur()


class SGD(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: PositiveFloat
    """Learning rate that the schedule scales."""
    momentum: Probability = 0.9
    """Share of the last update that goes into the next."""
    nesterov: bool = False
    """Look ahead along the momentum (Nesterov)."""
    weight_decay: NonNegativeFloat = 0
    """Times the weight, added to its gradient."""
    decay: Literal["all", "weights"] = "all"
    """What decays: every parameter, or all but norms and biases."""


class AdamW(Section):
    """Adam with decoupled weight decay, which shrinks with the learning rate."""

    name: Literal["adamw"]
    lr: PositiveFloat
    """Learning rate that the schedule scales."""
    betas: tuple[Probability, Probability] = (0.9, 0.999)
    """Memory of the means of the gradient and of its square."""
    eps: PositiveFloat = 1e-8
    """Added to the divisor, against division by zero."""
    weight_decay: NonNegativeFloat = 0.01
    """Share of a weight that is lost per step, times the learning rate."""
    decay: Literal["all", "weights"] = "weights"
    """What decays: every parameter, or all but norms and biases."""


class Schedule(Section):
    """How the learning rate changes, as a factor on the optimizer's ``lr``."""

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of all steps in which the factor rises linearly from 0."""


class Constant(Schedule):
    """Does not change."""

    name: Literal["constant"]


class Step(Schedule):
    """Multiplies by gamma every so many epochs."""

    name: Literal["step"]
    every: PositiveInt
    """Epochs between two changes."""
    gamma: PositiveFloat = 0.1
    """Factor of one change."""
    restarts: tuple[PositiveInt, ...] = ()
    """Epochs, counted from 0, at whose beginning the rate and the count of epochs start again, as a
    curriculum needs it."""


class MultiStep(Schedule):
    """Multiplies by gamma when each of the given epochs begins."""

    name: Literal["multistep"]
    epochs: tuple[PositiveInt, ...]
    """Epochs, counted from 0, at whose beginning the rate changes."""
    gamma: PositiveFloat = 0.1
    """Factor of one change."""


class Cosine(Schedule):
    """Falls along half a cosine to a final factor."""

    name: Literal["cosine"]
    final: Probability = 0
    """Factor at the end of the run."""


class Train(Section):
    """The training loop."""

    epochs: PositiveInt
    """Passes over the data, each of ``repeats`` visits to every video."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Addresses every random draw of the run."""
    batch_videos: PositiveInt
    """Videos per optimizer step, over all processes; a video may contribute several clips."""
    repeats: PositiveInt = 1
    """Visits to every video in an epoch, or to every piece of it if the sampler cuts pieces."""
    accumulate: PositiveInt = 1
    """Parts in which a batch passes through the network, to save memory."""
    optimizer: Annotated[SGD | AdamW, Field(discriminator="name")]
    """How gradients change the weights."""
    schedule: Annotated[Constant | Step | MultiStep | Cosine, Field(discriminator="name")] = (
        Constant(name="constant")
    )
    """How the learning rate changes."""
    clip_gradient: PositiveFloat | None = None
    """Largest norm of the gradient over all parameters."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """``auto`` takes bf16 autocast where it is faster, or fp16 on GPUs that have no bf16; a CPU
    without AMX measures a step."""
    deterministic: bool = False
    """Let a GPU take only algorithms that give the same bits each time, which are slower."""
    compile: bool = False
    """Run the backbone through torch.compile."""
    checkpoint_minutes: NonNegativeFloat = 10
    """Time between checkpoints; one is also written at the end of every epoch."""
    loggers: tuple[Annotated[LoggerOptions, Offered("logger")], ...] | None = None
    """Where metrics go besides metrics.jsonl; null is TensorBoard where it is installed. It is no
    part of what a run is: its own recipe.yaml says null, and it may go on with others."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.batch_videos % self.accumulate:
            raise ValueError(
                f"batch_videos {self.batch_videos} cannot be cut into {self.accumulate} equal parts"
            )
        return self


class Evaluation(Section):
    """How a trained run embeds a video: for evaluation and for indexes, unless told otherwise."""

    clips: PositiveInt = 10
    """Evenly spaced clips of a video."""
    stride: PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = 1
    """Distance in frames between two frames of a clip. Several, such as ``[2, 4]``, make clips with
    one middle, whose features are joined."""
    tap: str = "pool5"
    """Layer whose output is the representation; ``projection`` is what the first pretext task with
    a projection compares."""
    pool: Pool = "gap"
    """How a layer's output (C, T, H, W) becomes a vector."""
    standardise: bool = False
    """Subtract the mean and divide by the deviation of the gallery, per dimension."""


class ClassifierEvaluation(Evaluation):
    """How a classifier is tested: on which clips of a video, whose mean softmax decides."""

    stride: PositiveInt = 1
    """Distance in frames between two frames of a clip; that of the sampler if not given."""
    windows: Literal["uniform", "dense", "overlap"] = "uniform"
    """``uniform`` takes ``clips`` evenly spaced clips, ``dense`` about that many of all that there
    are, ``overlap`` one from every start that is a multiple of ``hop``."""
    hop: PositiveInt = 8
    """Frames from one start to the next, for ``overlap``."""
    crops: Crops = "centre"
    """The middle of each clip, or ``three`` squares along its longer side."""


class DataSet(Section):
    """A data set, or the part of it that is there."""

    name: str
    classes: int | None = None
    """How many classes are there."""
    of: int | None = None
    """How many classes the data set has."""

    @property
    def whole(self) -> bool:
        """Whether no class is missing."""
        return self.classes == self.of
