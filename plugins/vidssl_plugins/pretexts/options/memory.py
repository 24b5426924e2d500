"""Options of tasks that remember earlier steps: instance contrast and SSTL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vidssl_plugins.pretexts.options.projection import ProjectionOptions

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import Pretext, PretextContext


class Instance(ProjectionOptions):
    """Tells clips of one video from clips of all others: NT-Xent, or its form in MoCo.

    Every clip is compared by cosine with all clips of the batch; those of its own visit to the
    video attract, those of other videos repel (Chen et al. 2020, SimCLR). With ``momentum`` what
    it is compared with comes from a slow copy of network and projection, with ``queue`` it also
    competes with keys of earlier steps (He et al. 2020, MoCo: momentum 0.999, temperature 0.07 and
    65,536 keys for a million pictures). A queue that is longer than an epoch has clips only holds
    older keys of the same videos; a fraction of an epoch suits small data.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["instance"]
    proj_dim: PositiveInt | None = 128
    """Numbers of the projection that is compared; none compares the tap itself."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers, each with ReLU; its last layer is then linear."""
    temperature: PositiveFloat = 0.1
    """Divides cosines."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of its weights that the slow copy keeps at each step; none for no copy, then gradients
    flow through both sides. Batch norms of the copy use the statistics of its own batch, in each
    process those of its part; keys are not shuffled between processes as in MoCo."""
    queue: NonNegativeInt = 0
    """Keys of earlier steps, over all processes, to compete with; none of a clip's own video ever
    does."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, and what is remembered."""
        from vidssl_plugins.pretexts.instance import InstancePretext

        return InstancePretext(self, context)


class SSTL(ProjectionOptions):
    """Tells base clips apart, in the batch and from a memory of every video, and tells the rate.

    SSTL, ICLR 2021 submission, section 3.2: NT-Xent between the two clips of a base clip,
    the distance of each clip to the memory of its video, and its playback rate. The memory holds
    several cells for each video, one for each stretch of it.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["sstl"]
    proj_dim: PositiveInt | None = 512
    """Numbers of the projection that is compared and remembered; none takes the tap itself."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers, each with ReLU; its last layer is then linear."""
    temperature: PositiveFloat = 0.1
    """Divides cosines."""
    contrast_weight: NonNegativeFloat = 1.0
    """Factor on the contrast of clips."""
    rate_weight: NonNegativeFloat = 0.1
    """Factor on the error of the rate; 0 for no such term."""
    video_weight: NonNegativeFloat = 0.2
    """Factor on the distance of a clip to the mean cell of its video; 0 for no such term."""
    bank_negatives: NonNegativeInt = 2048
    """The paper's memory size: cells that are drawn in each step, for every clip to compete with
    those of other videos; 0 for none."""
    columns: PositiveInt = 2
    """L, cells for each video; 1 for a memory that knows no time."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.5
    """m, what a cell keeps of itself when a clip at its place arrives."""
    spread: Annotated[float, Field(ge=0, le=1)] = 0.6
    """c, what the other cells take in, compared with the cell at the clip's place."""
    neighbour: Literal["intended", "printed", "none"] = "intended"
    """How the other cells move: less the further they are, as the text means it; by the printed
    formula, which moves them more than the clip's own cell; or not at all (strategy 1)."""
    rate_input: Literal["pooled", "map"] = "pooled"
    """What the rate is told from: the tap's vector, or conv5 averaged to 1 x 4 x 4 places, all its
    numbers side by side (the paper's network at 112 pixels has just these)."""
    rate_hidden: PositiveInt = 512
    """Width of the hidden layer from which the rate is told."""

    @property
    def remembers(self) -> bool:
        """Whether any loss needs the bank."""
        return bool(self.bank_negatives or self.video_weight)

    def required(self) -> frozenset[str]:
        """Return the labels that the chosen losses need."""
        wanted = {"rate": bool(self.rate_weight), "position": self.remembers}
        return frozenset(label for label, needed in wanted.items() if needed)

    def build(self, context: PretextContext) -> Pretext:
        """Build heads and bank."""
        from vidssl_plugins.pretexts.sstl import SSTLPretext

        return SSTLPretext(self, context)
