"""The menu of samplers: which clips are cut from a video, and the labels that come for free."""

from __future__ import annotations

from vidssl_cli.contract.hooks import SamplerOptions, hookimpl
from vidssl_plugins.samplers.options.curriculum import Consecutive, Curriculum
from vidssl_plugins.samplers.options.order import ClipOrder
from vidssl_plugins.samplers.options.plain import ArrowOfTime, Rotation, ShuffleAndLearn, Uniform
from vidssl_plugins.samplers.options.speed import Pace, PlaybackSpeed, Speediness
from vidssl_plugins.samplers.options.sstl import SSTL
from vidssl_plugins.samplers.options.transforms import TemporalTransforms, TimeEquivariant


@hookimpl
def vidssl_samplers() -> list[type[SamplerOptions]]:
    """Offer the built-in samplers."""
    return [
        Uniform,
        Consecutive,
        Curriculum,
        Pace,
        TemporalTransforms,
        TimeEquivariant,
        PlaybackSpeed,
        SSTL,
        ClipOrder,
        Rotation,
        Speediness,
        ArrowOfTime,
        ShuffleAndLearn,
    ]
