"""Options of `instance`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions


class Instance(ProjectionOptions):
    """Contrasts clips of one video with clips of all others: NT-Xent, or its form in MoCo.

    Every clip is compared by cosine with all clips of the batch; those of its own visit to the
    video are positives, those of other videos negatives (Chen et al. 2020, SimCLR). With
    ``momentum`` what it is compared with comes from a slow copy of network and projection, with
    ``queue`` keys of earlier steps are negatives too (He et al. 2020, MoCo: momentum 0.999,
    temperature 0.07 and 65,536 keys for a million pictures). A queue that is longer than an epoch
    has clips only holds older keys of the same videos; a fraction of an epoch suits small data.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["instance"]
    proj_dim: PositiveInt | None = 128
    """Numbers of the projection that is compared; none compares the tap itself."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers, each with ReLU; its last layer is then linear."""
    temperature: PositiveFloat = 0.1
    """Divides cosines."""
    decoupled: bool = False
    """Leave a clip's positives out of what they compete with (Yeh et al. 2022), which matters most
    for small batches."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of its weights that the slow copy keeps at each step; none for no copy, then gradients
    flow through both sides. Batch norms of the copy use the statistics of its own batch, in each
    process those of its part; keys are not shuffled between processes as in MoCo."""
    queue: NonNegativeInt = 0
    """Keys of earlier steps, over all processes, that are negatives; never those of a clip's own
    video."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, the slow copy and the queue."""
        from vidssl_plugins.pretexts.instance import InstancePretext

        return InstancePretext(
            self,
            context,
            temperature=self.temperature,
            decoupled=self.decoupled,
            momentum=self.momentum,
            queue=self.queue,
        )
