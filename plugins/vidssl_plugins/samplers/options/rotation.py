"""Options of `rotation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from vidssl_plugins.samplers.options.shared import OneClip

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class Rotation(OneClip):
    """Clips turned by 0, 90, 180 and 270 degrees (3D-RotNet, Jing, Tian 2018).

    Offers the label ``rotation``: the quarter turns, counter-clockwise.
    """

    name: Literal["rotation"]

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.rotation import RotationSampler

        return RotationSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"rotation": 4}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"rotation": ("0°", "90°", "180°", "270°")}
