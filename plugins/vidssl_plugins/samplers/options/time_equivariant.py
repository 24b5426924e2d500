"""Options of `time_equivariant`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import ShortOrLess, Speeds, speed_names

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class TimeEquivariant(SamplerOptions):
    """Two clips of each video; couples of videos share the relation between their two clips.

    Jenni, Jin 2021, section 3. Consecutive videos of a batch make a couple, and get one relative
    transformation: the speeds and directions of the two clips, and the shift from one start to
    the other. Each video draws where that lies in it. Offers the labels ``speed`` (rank of
    the speed) and ``direction`` (0 forwards, 1 backwards) of each clip; ``order`` of the two (0
    the first ends before the second starts, 1 the other way round, 2 they overlap); and, for the
    contrast between couples, numbers of the ``couple`` and of its ``relation``. With ``copies: 2``
    there is a number of each ``clip`` too, which its two views share.
    """

    name: Literal["time_equivariant"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    speeds: Speeds = (0, 1, 2, 3)
    """Speed classes to draw from; class k plays every 2^k-th frame."""
    backward: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a clip runs backwards."""
    equivariance: Literal["temporal", "spatial", "both", "none"] = "temporal"
    """What a couple shares: the ``temporal`` relation of its clips; the ``spatial`` one, crops and
    flips, with both clips of a video on the same frames; both; or nothing, without couples."""
    relation: Literal["natural", "balanced", "aligned"] = "natural"
    """How the shift is drawn: as that between two starts anywhere in the shorter video; so that
    before, after and overlap are equally frequent where they are possible; or not at all, so that
    both clips begin at one frame."""
    copies: Literal[1, 2] = 1
    """Views of each clip, each cropped, mirrored and coloured by itself: 2 for contrast between the
    clips of one video, whose views are the first clip, the second, and both again."""
    coupling: Annotated[int, Field(ge=2)] = 2
    """Videos that share a relation; train.batch_videos must be a multiple."""
    short_video: ShortOrLess = "restrict"
    """What becomes of a video that is shorter than a clip at the fastest speed: its couple gets the
    speeds that fit, or it goes on from its first frame, is left out, or stops the run."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.time_equivariant import TimeEquivariantSampler

        return TimeEquivariantSampler(
            frames=self.frames,
            speeds=self.speeds,
            backward=self.backward,
            equivariance=self.equivariance,
            relation=self.relation,
            copies=self.copies,
            coupling=self.coupling,
            short_video=self.short_video,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the labels."""
        names = {"speed": len(self.speeds), "direction": 2, "order": 3}
        if self.equivariance != "none":
            names |= {"couple": 0, "relation": 0}
        if self.copies > 1:
            names["clip"] = 0
        return names

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the labels that have any."""
        return {
            "speed": speed_names(self.speeds),
            "direction": ("forwards", "backwards"),
            "order": ("before", "after", "overlap"),
        }
