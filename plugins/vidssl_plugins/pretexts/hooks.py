"""The built-in pretext tasks: what is learned from the samplers' labels."""

from __future__ import annotations

from vidssl_cli.contract.hooks import PretextOptions, hookimpl
from vidssl_plugins.pretexts.options.byol import BYOL
from vidssl_plugins.pretexts.options.classify import Classify
from vidssl_plugins.pretexts.options.equivariance import Equivariance
from vidssl_plugins.pretexts.options.instance import Instance
from vidssl_plugins.pretexts.options.masked_latents import MaskedLatents
from vidssl_plugins.pretexts.options.masked_pixels import MaskedPixels
from vidssl_plugins.pretexts.options.order import Order
from vidssl_plugins.pretexts.options.pace import Pace
from vidssl_plugins.pretexts.options.same_context import SameContext
from vidssl_plugins.pretexts.options.same_pace import SamePace
from vidssl_plugins.pretexts.options.sigreg import SIGReg
from vidssl_plugins.pretexts.options.sstl import SSTL
from vidssl_plugins.pretexts.options.statistics import Statistics
from vidssl_plugins.pretexts.options.temporal_transforms import TemporalTransforms
from vidssl_plugins.pretexts.options.vicreg import VICReg


@hookimpl
def vidssl_pretexts() -> list[type[PretextOptions]]:
    """Offer the built-in pretext tasks."""
    return [
        Classify,
        Pace,
        TemporalTransforms,
        Equivariance,
        Order,
        SameContext,
        SamePace,
        Instance,
        BYOL,
        SSTL,
        Statistics,
        MaskedPixels,
        MaskedLatents,
        VICReg,
        SIGReg,
    ]
