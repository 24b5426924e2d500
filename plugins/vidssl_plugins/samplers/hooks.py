"""The built-in samplers: which clips are cut from a video, and the labels that come with them."""

from __future__ import annotations

from vidssl_cli.contract.hooks import SamplerOptions, hookimpl
from vidssl_plugins.samplers.options.arrow_of_time import ArrowOfTime
from vidssl_plugins.samplers.options.before_after import BeforeAfter
from vidssl_plugins.samplers.options.clip_order import ClipOrder
from vidssl_plugins.samplers.options.consecutive import Consecutive
from vidssl_plugins.samplers.options.curriculum import Curriculum
from vidssl_plugins.samplers.options.pace import Pace
from vidssl_plugins.samplers.options.playback_speed import PlaybackSpeed
from vidssl_plugins.samplers.options.rotation import Rotation
from vidssl_plugins.samplers.options.shuffle_and_learn import ShuffleAndLearn
from vidssl_plugins.samplers.options.speediness import Speediness
from vidssl_plugins.samplers.options.sstl import SSTL
from vidssl_plugins.samplers.options.sync import Sync
from vidssl_plugins.samplers.options.temporal_transforms import TemporalTransforms
from vidssl_plugins.samplers.options.time_equivariant import TimeEquivariant
from vidssl_plugins.samplers.options.uniform import Uniform


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
        Sync,
        BeforeAfter,
    ]
