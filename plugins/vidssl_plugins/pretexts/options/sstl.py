"""Options of `sstl`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions


class SSTL(ProjectionOptions):
    """Contrasts base clips, in the batch and with a memory of every video, and predicts the rate.

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
    """The paper's memory size: cells that are drawn in each step, as negatives of every clip; 0 for
    none."""
    bank_from: Literal["outside", "others"] = "outside"
    """Which cells: of videos outside the batch of all processes (section 3.2, apart from the input
    videos), or of any, where those of a clip's own video are not its negatives. Under
    train.accumulate the batch is one of its parts."""
    columns: PositiveInt = 2
    """L, cells for each video; 1 for a memory that does not depend on time."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.5
    """m, what a cell keeps of itself when a clip at its place arrives."""
    spread: Annotated[float, Field(ge=0, le=1)] = 0.6
    """c, what the other cells take in, compared with the cell at the clip's place."""
    neighbour: Literal["intended", "printed", "none"] = "intended"
    """How the other cells move: less the further they are, as the text means it; by the printed
    formula, which moves them more than the clip's own cell; or not at all (strategy 1)."""
    rate_input: Literal["pooled", "map"] = "pooled"
    """What the rate is predicted from: the tap's vector, or conv5 averaged to 1 x 4 x 4 places, all
    its numbers side by side (the paper's network at 112 pixels has just these)."""
    rate_hidden: PositiveInt = 512
    """Width of the hidden layer from which the rate is predicted."""

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
        from vidssl_plugins.pretexts.sstl import SSTLPretext, Weights
        from vidssl_plugins.pretexts.sstl_bank import CellUpdate

        update = CellUpdate(self.columns, self.momentum, self.spread, self.neighbour)
        return SSTLPretext(
            self,
            context,
            temperature=self.temperature,
            weights=Weights(self.contrast_weight, self.rate_weight, self.video_weight),
            update=update if self.remembers else None,
            bank_negatives=self.bank_negatives,
            bank_from=self.bank_from,
            rate_input=self.rate_input,
            rate_hidden=self.rate_hidden,
        )
