"""Options of `arrow_of_time`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from vidssl_plugins.samplers.options.shared import OneClip

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class ArrowOfTime(OneClip):
    """Clips played forwards and backwards (arrow of time, Wei et al. 2018).

    Offers the label ``direction``: 0 forwards, 1 backwards.
    """

    name: Literal["arrow_of_time"]

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.arrow_of_time import ArrowOfTimeSampler

        return ArrowOfTimeSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"direction": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"direction": ("forwards", "backwards")}
