"""The retrieval protocols of the papers: one row of constants for each, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vidssl_cli.contract.study import Crops, Pool
from vidssl_plugins.evaluators.options.shared import Standardise

Level = Literal["video", "clip"]
Place = Literal["uniform", "overlap"]
Preset = Literal["vcop", "psp", "pace", "sts", "tt", "te", "sstl", "coclr"]

LAYERS = (*(f"pool{number}:adaptive_max233" for number in range(1, 5)), "pool5")
"""The layers of the thesis's tables; how it made vectors of the first four is not said."""


@dataclass(frozen=True)
class Protocol:
    """What is looked up, and how; None leaves it to the run's recipe.

    The fields are those of the options of ``retrieval``.
    """

    source: str = ""
    """Where each constant is from."""
    tap: str | None = None
    pool: Pool | None = None
    standardise: Standardise | None = None
    level: Level = "video"
    windows: Place = "uniform"
    clips: int | None = None
    stride: int | tuple[int, ...] | None = None
    hop: int | None = None
    crops: Crops = "centre"
    taps: tuple[str, ...] = ()


PROTOCOLS: Mapping[Preset, Protocol] = {
    "vcop": Protocol(
        "Xu et al. 2019 and released code: ten clips, their mean, maxima over 1 x 2 x "
        "2 cells of the last convolution, cosine of the vectors as they are",
        tap="conv5",
        pool="maxpool122",
        standardise=False,
        clips=10,
    ),
    "psp": Protocol(
        "Cho et al. 2020: as VCOP, with 3-D max pooling instead of global pooling",
        tap="conv5",
        pool="maxpool122",
        standardise=False,
        clips=10,
    ),
    "pace": Protocol(
        "Wang, thesis 2020, section 4.6: every test clip among the training clips, ten of a video; "
        "pool1 to pool5, section 4.6 and table 4.10",
        tap="pool5",
        pool="gap",
        standardise=False,
        clips=10,
        level="clip",
        taps=LAYERS,
    ),
    "sts": Protocol(
        "Wang, thesis 2020, section 3.6.2: cosine distances between videos, ten clips of each; "
        "pool1 to pool5, figure 3.8",
        tap="pool5",
        pool="gap",
        standardise=False,
        clips=10,
        taps=LAYERS,
    ),
    "tt": Protocol(
        "Jenni, Meishvili, Favaro 2020: mean of ten temporal crops, global average, "
        "standardised by the training videos",
        tap="pool5",
        pool="gap",
        standardise=True,
        clips=10,
    ),
    "te": Protocol(
        "Jenni, Jin 2021: mean over several temporal and spatial crops (how many is not "
        "said; ten times three are customary), global average, standardised",
        tap="pool5",
        pool="gap",
        standardise=True,
        clips=10,
        crops="three",
    ),
    "sstl": Protocol(
        "SSTL, ICLR 2021 submission: every test clip among all training clips, ten of "
        "a video, by the last fully connected layer (section 4.4)",
        tap="projection",
        pool="gap",
        standardise=False,
        clips=10,
        level="clip",
    ),
    "coclr": Protocol(
        "Han, Xie, Zisserman 2020, released code: mean over clips of 32 frames from every 15th "
        "frame on, global average, each side without its own mean",
        tap="pool5",
        pool="gap",
        standardise="centre",
        clips=10,
        windows="overlap",
        hop=15,
    ),
}
"""All of them look for test videos of split 1 among its training videos, with k = 1, 5, 10, 20 and
50 (SSTL and VCOP in their tables; Jenni and Jin leave out 50), by cosine."""
