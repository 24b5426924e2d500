"""Options of `shuffle_and_learn`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import PositiveInt, model_validator

from vidssl_plugins.samplers.options.shared import OneClip

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class ShuffleAndLearn(OneClip):
    """Clips in order, and with their middle shuffled (shuffle and learn, Misra et al. 2016).

    Misra et al. separate three frames in order from three whose middle one lies outside the other
    two. Jenni, Meishvili, Favaro 2020 apply that to clips without saying how. Here a clip in order
    and a shuffled one have their first and last frames in common, as Misra's triples have; the
    frames between them are permuted. Misra et al. choose windows that move much; here they may lie
    anywhere.

    Offers the label ``shuffled``: 0 in order, 1 shuffled.
    """

    name: Literal["shuffle_and_learn"]
    kept: PositiveInt = 4
    """Frames at either end of a shuffled clip that stay in their places."""

    @model_validator(mode="after")
    def _leaves_a_middle(self) -> Self:
        if self.frames - 2 * self.kept < 2:
            raise ValueError(
                f"keeping {self.kept} frames at either end of {self.frames} leaves none to shuffle"
            )
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.shuffle_and_learn import ShuffleAndLearnSampler

        return ShuffleAndLearnSampler(self, self.kept)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"shuffled": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"shuffled": ("in order", "shuffled")}
