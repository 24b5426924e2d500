"""How the papers test a network that is fine-tuned: one row of constants for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vidssl_cli.contract.study import Crops

Preset = Literal["tt", "te", "psp", "sstl", "sts2", "sts3", "pace"]
Place = Literal["uniform", "dense", "overlap"]
Level = Literal["video", "clip"]


@dataclass(frozen=True)
class Protocol:
    """How test videos are seen; None leaves a number to the run's recipe.

    The fields are those of the options of ``finetune``.
    """

    windows: Place = "uniform"
    clips: int | None = None
    stride: int | None = None
    hop: int = 8
    crops: Crops = "centre"
    level: Level = "video"


PROTOCOLS: Mapping[Preset, Protocol] = {
    # Jenni et al. 2020 (temporal transformations); the code has about 32 windows at step 4.
    "tt": Protocol("dense", clips=32, stride=4),
    # Jenni and Jin 2021 (time-equivariant): several clips and crops; the customary numbers.
    "te": Protocol(clips=10, crops="three"),
    # Cho et al. 2020 (playback speed), as VCOP.
    "psp": Protocol(clips=10),
    "sstl": Protocol(clips=5),
    # Wang 2020 (thesis), chapters 2, 3 and 4; chapter 2 does not say how many clips.
    "sts2": Protocol(clips=10, level="clip"),
    "sts3": Protocol(clips=10),
    "pace": Protocol(clips=10),
}
