"""The retrieval protocols of the papers: one row of constants for each, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vidssl_cli.contract.study import Crops, Pool

Level = Literal["video", "clip"]
Place = Literal["uniform", "overlap"]
Standardise = bool | Literal["centre"]
Preset = Literal["vcop", "psp", "pace", "sts", "tt", "te", "sstl", "coclr"]

LAYERS = (*(f"pool{number}:adaptive_max233" for number in range(1, 5)), "pool5")
"""The layers of the thesis's tables; how it made vectors of the first four is not said."""


@dataclass(frozen=True)
class Protocol:
    """What a paper looks up, and how; the fields are those of the options of ``retrieval``."""

    source: str
    """Where each constant is from."""
    tap: str
    pool: Pool
    standardise: Standardise
    level: Level = "video"
    windows: Place = "uniform"
    clips: int = 10
    hop: int | None = None
    crops: Crops = "centre"
    taps: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """Return the options that it sets."""
        return {key: value for key, value in asdict(self).items() if key != "source"}


PROTOCOLS: Mapping[Preset, Protocol] = {
    "vcop": Protocol(
        "Xu et al. 2019 and released code: ten clips, their mean, maxima over 1 x 2 x "
        "2 cells of the last convolution, cosine of the vectors as they are",
        tap="conv5",
        pool="maxpool122",
        standardise=False,
    ),
    "psp": Protocol(
        "Cho et al. 2020: as VCOP, with 3-D max pooling instead of global pooling",
        tap="conv5",
        pool="maxpool122",
        standardise=False,
    ),
    "pace": Protocol(
        "Wang, thesis 2020, chapter 4: ten clips, pool1 to pool5; its text looks up clips, the "
        "code that it names (VCOP's) the mean of a video's clips",
        tap="pool5",
        pool="gap",
        standardise=False,
        taps=LAYERS,
    ),
    "sts": Protocol(
        "Wang, thesis 2020, chapter 3: as pace",
        tap="pool5",
        pool="gap",
        standardise=False,
        taps=LAYERS,
    ),
    "tt": Protocol(
        "Jenni, Meishvili, Favaro 2020: mean of ten temporal crops, global average, "
        "standardised by the training videos",
        tap="pool5",
        pool="gap",
        standardise=True,
    ),
    "te": Protocol(
        "Jenni, Jin 2021: mean over several temporal and spatial crops (how many is not "
        "said; ten times three are customary), global average, standardised",
        tap="pool5",
        pool="gap",
        standardise=True,
        crops="three",
    ),
    "sstl": Protocol(
        "SSTL, ICLR 2021 submission: every test clip among all training clips, ten of "
        "a video, by the last fully connected layer; that is part of the pretext task, not of the "
        "network, so that feat, which it reads, stands for it",
        tap="feat",
        pool="gap",
        standardise=False,
        level="clip",
    ),
    "coclr": Protocol(
        "Han, Xie, Zisserman 2020, released code: mean over clips of 32 frames from every 15th "
        "frame on, global average, each side without its own mean",
        tap="pool5",
        pool="gap",
        standardise="centre",
        windows="overlap",
        hop=15,
    ),
}
"""All of them look for test videos of split 1 among its training videos, with k = 1, 5, 10, 20 and
50 (SSTL and VCOP in their tables; Jenni and Jin leave out 50), by cosine."""
