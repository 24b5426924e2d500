"""Options of `attentive`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_cli.contract.study import Crops
from vidssl_plugins.evaluators.options.shared import Pooler, Stride, TestWindows


class Attentive(TestWindows):
    """The attentive probe of V-JEPA: a learned query reads the positions of a frozen map.

    Bardes et al. 2024, https://arxiv.org/abs/2404.08471; Assran et al. 2025, V-JEPA 2,
    https://arxiv.org/abs/2506.09985. The query attends to every token of a clip, or to every place
    and time of a convolution's map; an MLP and a linear layer follow. Clips are learned one by one,
    and the mean softmax over a video's clips decides.
    """

    name: Literal["attentive"]
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    stride: Stride | None = None
    """Distance in frames between two frames of a clip, or several, whose positions are all read;
    the recipe's evaluation.stride if not given."""
    crops: Crops = "centre"
    """The middle of each clip, or ``three`` squares along its longer side."""
    tap: str = "conv5"
    """Layer whose positions are read; of ``vit`` the tokens after the last block. A vector is one
    position."""
    pooler: Pooler = Pooler()

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.attentive import AttentiveEvaluator

        return AttentiveEvaluator(
            self,
            self.pooler,
            clips=self.clips,
            stride=self.stride,
            crops=self.crops,
            tap=self.tap,
        )
