"""How the papers fine-tune a network and test it: one row of constants for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vidssl_cli.contract.study import Crops

Preset = Literal["tt", "te", "psp", "sstl", "sts2", "sts3", "pace"]
Place = Literal["uniform", "dense", "overlap"]
Level = Literal["video", "clip"]


@dataclass(frozen=True)
class Protocol:
    """By which recipe a network is trained, and how test videos are seen.

    None leaves clips to the run's recipe, and the stride to that of fine-tuning. The fields are
    those of the options of ``finetune``.
    """

    windows: Place = "uniform"
    clips: int | None = None
    stride: int | None = None
    hop: int = 8
    crops: Crops = "centre"
    level: Level = "video"
    recipe: str | None = None
    """In place of ``recipes``."""
    recipes: Mapping[str, str] = field(default_factory=lambda: {"": "finetune"})
    """Recipes by the name of the backbone; that of no name is for all others."""

    def recipe_for(self, backbone: str) -> str:
        """Return the recipe that a backbone is fine-tuned by."""
        return self.recipe or self.recipes.get(backbone) or self.recipes[""]


PROTOCOLS: Mapping[Preset, Protocol] = {
    # Jenni et al. 2020 (temporal transformations), section 4: all sub-sequences, cropped in the
    # middle. C3D has fully connected layers of its own.
    "tt": Protocol(
        "overlap",
        hop=1,
        recipes={
            "": "papers/temporal-transforms-finetune",
            "c3d_light": "papers/temporal-transforms-finetune-c3d",
        },
    ),
    # Jenni and Jin 2021 (time-equivariant), section 3.4: several clips and crops; the customary
    # numbers.
    "te": Protocol(clips=10, crops="three", recipes={"": "papers/time-equivariant-finetune"}),
    # Cho et al. 2020 (playback speed), section 4: cropped in the middle; clips as VCOP.
    "psp": Protocol(clips=10, recipes={"": "papers/playback-speed-finetune"}),
    # SSTL, section 4.2.
    "sstl": Protocol(clips=5, recipes={"": "papers/sstl-finetune"}),
    # Wang 2020 (thesis), section 2.3.2, which does not say how many clips, and 3.4.2: uniformly
    # selected clips, of which 4.3 takes ten.
    "sts2": Protocol(clips=10, level="clip", recipes={"": "papers/statistics-finetune-c3d-light"}),
    "sts3": Protocol(clips=10),
    "pace": Protocol(clips=10),
}
