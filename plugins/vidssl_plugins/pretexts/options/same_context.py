"""Options of `same_context`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ContrastOptions


class SameContext(ContrastOptions):
    """Contrasts clips of a video with those of other videos (Wang, thesis 2020, section 4.2.3)."""

    needs_views: ClassVar[int] = 2

    name: Literal["same_context"]
    group: Literal["video", "clip"] = "video"
    """What two positive clips share: their video; or their frames, by the label ``clip`` of the
    sampler, so that clips of one video at other times or speeds are negatives (distinctive, not
    equivariant: Jenni, Jin 2021, figure 5)."""

    def required(self) -> frozenset[str]:
        """Return the label by which clips are grouped, if it is not their video."""
        return frozenset({"clip"}) if self.group == "clip" else frozenset()

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, if there is one."""
        from vidssl_plugins.pretexts.same_context import SameContextPretext

        return SameContextPretext(self, context, self.group)
