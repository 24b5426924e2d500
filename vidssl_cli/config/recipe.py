"""Models of recipes: the YAML file that says everything about a run.

`vidssl_cli.config.load` finds and reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from vidssl_cli.base.errors import PluginError
from vidssl_cli.config.sections import (
    Augment,
    ClassifierEvaluation,
    Evaluation,
    Input,
    Section,
    Train,
)
from vidssl_cli.contract.hooks import (
    BackboneOptions,
    PretextOptions,
    SamplerOptions,
    Stream,
)
from vidssl_cli.contract.registry import Offered
from vidssl_cli.contract.videos import FlowMethod, Video

Pretext = Annotated[PretextOptions, Offered("pretext")]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Recipe(Section):
    """What pre-training and fine-tuning share."""

    summary: str = ""
    """One line for `vidssl recipes list`."""
    train: Train
    augment: Augment = Augment()
    evaluation: Evaluation = Evaluation()
    published: tuple[str, ...] = ()
    """What the paper reports: keys of published figures, shown by `vidssl published KEY`."""

    def without_loggers(self) -> Self:
        """Return the recipe that a run keeps: with other loggers it is the same run."""
        train = self.train.model_copy(update={"loggers": None})
        return self.model_copy(update={"train": train})


class PretrainRecipe(Recipe):
    """Learns from unlabelled video: `vidssl pretrain`."""

    task: Literal["pretrain"] = "pretrain"
    """What the recipe is for."""
    input: Input = Input()
    backbone: Annotated[BackboneOptions, Offered("backbone")]
    """The network that is kept."""
    sampler: Annotated[SamplerOptions, Offered("sampler")]
    """Which clips are cut from a video, with which free labels."""
    pretext: Annotated[
        tuple[Pretext, ...],
        Field(min_length=1),
        BeforeValidator(_as_list, json_schema_input_type=Pretext | tuple[Pretext, ...]),
    ]
    """One task, or several that share the sampler's clips; their weighted losses add up."""
    flow: FlowMethod = "dis"
    """How optical flow is computed for the tasks that ask for it: ``dis`` is dense inverse search,
    ``tvl1`` is 60 times slower. A packed set that holds flow must hold this one."""

    share: Annotated[str, Field(pattern=r"^[1-9]\d*/[1-9]\d*$")] = "1/1"
    """Share of the videos to learn from: 3/4 takes the first 3 of every 4, in their order."""

    @field_validator("share")
    @classmethod
    def _is_a_part(cls, share: str) -> str:
        count, of = map(int, share.split("/"))
        if count > of:
            raise ValueError(f"{share} is more than all videos")
        return share

    def taken(self, videos: Sequence[Video]) -> list[Video]:
        """Return the share of the videos to train on."""
        count, of = map(int, self.share.split("/"))
        return [video for place, video in enumerate(videos) if place % of < count]

    def streams(self) -> frozenset[Stream]:
        """Return what batches must hold in addition to clips."""
        return frozenset[Stream]().union(*(pretext.streams() for pretext in self.pretext))

    @field_validator("sampler")
    @classmethod
    def _groups_stay_whole(cls, sampler: SamplerOptions, info: Any) -> SamplerOptions:
        train: Train | None = info.data.get("train")
        built = sampler.build()
        for name in ("views", "frames"):
            if not hasattr(built, name):
                raise PluginError(
                    f"the sampler {sampler.name} does not set {name}",
                    hint="check it with vidssl_cli.testing.check_sampler",
                )
        together = built.together
        if train is not None and train.batch_videos % (train.accumulate * together):
            parts = f" in {train.accumulate} parts" if train.accumulate > 1 else ""
            raise ValueError(
                f"{sampler.name} plans {together} videos together, which "
                f"batch_videos {train.batch_videos}{parts} would split"
            )
        return sampler

    @field_validator("pretext")
    @classmethod
    def _sampler_serves(cls, pretexts: tuple[PretextOptions, ...], info: Any) -> Any:
        sampler: SamplerOptions | None = info.data.get("sampler")
        if sampler is None:  # invalid, which is an error of its own
            return pretexts
        views = sampler.build().views
        for pretext in pretexts:
            if missing := sorted(pretext.required() - sampler.labels().keys()):
                offers = ", ".join(sorted(sampler.labels())) or "none"
                raise ValueError(
                    f"{pretext.name} needs the label {', '.join(missing)}; "
                    f"the sampler {sampler.name} offers {offers}"
                )
            if views < pretext.needs_views:
                raise ValueError(
                    f"{pretext.name} needs {pretext.needs_views} views of a video; "
                    f"the sampler {sampler.name} is set to plan {views}"
                )
        return pretexts


class FinetuneRecipe(Recipe):
    """Trains a classifier on labelled video: `vidssl finetune`."""

    task: Literal["finetune"]
    """What the recipe is for."""
    sampler: Annotated[SamplerOptions, Offered("sampler")]
    """Which clips are cut from a video, with which free labels."""
    freeze: bool = False
    """Train the classifier alone; the backbone keeps its weights and its statistics."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of fully connected layers before the classifier."""
    hidden_norm: bool = False
    """Put batch norm before the ReLU of each of these layers."""
    heads: Literal["fresh", "run"] = "fresh"
    """Where these layers come from, which may belong to the network: ``fresh`` draws them, ``run``
    takes them from the head of the run's first pretext task, or from its classifier. The last
    layer, which tells the classes, is always new, and with `--scratch` all of them are."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of the representation that is dropped before the classifier."""
    evaluation: ClassifierEvaluation = ClassifierEvaluation()

    @property
    def stride(self) -> int | None:
        """Distance in frames between two frames of a training clip; None if clips have several."""
        return getattr(self.sampler, "stride", None)

    @field_validator("heads")
    @classmethod
    def _layers_to_carry(cls, heads: str, info: Any) -> str:
        if heads == "run" and not info.data.get("hidden"):
            raise ValueError("run takes over hidden layers, and hidden has none")
        return heads

    @model_validator(mode="after")
    def _test_follows_training(self) -> Self:
        if self.stride is None or "stride" in self.evaluation.model_fields_set:
            return self
        evaluation = self.evaluation.model_copy(update={"stride": self.stride})
        return self.model_copy(update={"evaluation": evaluation})
