"""Options of `classify`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ClassifyOptions


class Classify(ClassifyOptions):
    """Classifies any label that the sampler offers: speed, direction, order or rotation."""

    name: Literal["classify"]
    label: str
    """The label, one of the sampler's that has classes."""
    over: Literal["clip", "video", "difference"] = "clip"
    """``clip`` predicts a label that each clip has; ``video`` predicts one that the video has, such
    as the order of its views, from all of them together; ``difference`` does so from the first of
    two views less the second (synchronisation, Jenni et al. 2020)."""

    def title(self) -> str:
        """Name the label, since a recipe may classify several."""
        return f"{self.name}.{self.label}"

    def required(self) -> frozenset[str]:
        """Return the one label."""
        return frozenset({self.label})

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.classify import ClassifyPretext

        return ClassifyPretext(self, context, self.label, self.over)
