"""Options of `statistics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vidssl_cli.contract.clips import Batch
    from vidssl_plugins.pretexts.statistics import Targets


class Statistics(PretextOptions):
    """Predicts where, in which direction and when a clip moves most, and where colours change.

    Wang, thesis 2020, chapters 2 and 3; Wang et al. 2019, https://arxiv.org/abs/1904.03597. The
    labels are numbers of blocks, directions, colours and frames, predicted by regression.
    """

    name: Literal["statistics"]
    motion: NonNegativeFloat = 1
    """Weight of the motion labels; 0 leaves them out, and needs no optical flow."""
    appearance: NonNegativeFloat = 0.1
    """Weight of the appearance labels; 0 leaves them out."""
    patterns: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    """How frames are cut into blocks, each a set of labels: 1 is a grid of 4 by 4, 2 is four nested
    frames, 3 is eight triangles."""
    whole: bool = True
    """Labels of the whole clip too: the moments of most motion, and the dominant colour."""
    soft_bins: bool = False
    """Split motion between the two bins of direction whose middles are nearest, much as the
    released code does, instead of giving it to one."""
    iou: Literal["channels", "joint8"] = "channels"
    """Histograms whose change is measured: one each of red, green and blue (released code), or one
    of the eight colours that halving each channel makes."""
    bins: Annotated[int, Field(ge=2, le=256)] = 256
    """Bins of the histogram of a channel."""
    loss: Literal["mse", "l2norm"] = "mse"
    """Mean squared error (released code), or the mean length of a clip's error, as printed."""
    tap: str = "feat"
    """Layer that the heads read; a map is averaged over time and space."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of each head's hidden layers (chapter 2: [2048, 2048])."""

    @field_validator("patterns")
    @classmethod
    def _ordered(cls, patterns: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(patterns)) < len(patterns):
            raise ValueError(f"the patterns {', '.join(map(str, patterns))} are not all different")
        return tuple(sorted(patterns))

    @model_validator(mode="after")
    def _some_labels(self) -> Self:
        if not (self.patterns or self.whole):
            raise ValueError("no labels are left; name a pattern or set whole")
        if not (self.motion or self.appearance):
            raise ValueError("motion and appearance are both 0; one of them must count")
        return self

    def streams(self) -> frozenset[Stream]:
        """Name flow and pixels, where their labels count."""
        needed: dict[Stream, float] = {"flow": self.motion, "pixels": self.appearance}
        return frozenset(stream for stream, weight in needed.items() if weight)

    def own_labels(self, batch: Batch) -> Mapping[str, Sequence[str]]:
        """Say where clips move and change colour most, by pattern."""
        from vidssl_plugins.pretexts.statistics_words import words

        return words(self.targets(), batch)

    def targets(self) -> Targets:
        """Return which labels there are, and how they are computed."""
        from vidssl_plugins.pretexts.statistics import Targets

        return Targets(
            {"motion": self.motion, "appearance": self.appearance},
            self.patterns,
            whole=self.whole,
            soft_bins=self.soft_bins,
            joint=self.iou == "joint8",
            bins=self.bins,
        )

    def build(self, context: PretextContext) -> Pretext:
        """Build the heads."""
        from vidssl_plugins.pretexts.statistics import StatisticsPretext

        return StatisticsPretext(
            context, self.targets(), loss=self.loss, tap=self.tap, hidden=self.hidden
        )
