"""Options of `s3dg`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Backbone, PublicWeights
from vidssl_plugins.backbones.options.shared import KINETICS, NormalisedBackbone

FEATURES = {"0": "conv1", "5": "conv3.0", "6": "conv3.1", "14": "conv5.0", "15": "conv5.1"}
FEATURES |= {str(8 + module): f"conv4.{module}" for module in range(5)}
"""Stages and inception modules by their number in torchvision's ``features``."""

TORCHVISION = PublicWeights(
    source="torchvision s3d",
    names=(
        (r"^features\.2\.([01])\.", r"conv2.\1."),
        (r"^features\.3\.0\.0\.", "conv2.3."),
        (r"^features\.3\.0\.1\.", "conv2.4."),
        (r"^features\.3\.1\.0\.", "conv2.6."),
        (r"^features\.3\.1\.1\.", "conv2.7."),
        *((rf"^features\.{number}\.", f"{own}.") for number, own in FEATURES.items()),
        (r"^conv1\.0\.([01])\.", r"conv1.\1."),
        (r"^conv1\.1\.0\.", "conv1.3."),
        (r"^conv1\.1\.1\.", "conv1.4."),
        (r"\.branch0\.", ".branches.0."),
        (r"\.branch([12])\.0\.", r".branches.\1."),
        (r"\.branch([12])\.1\.0\.0\.", r".branches.\1.3."),
        (r"\.branch([12])\.1\.0\.1\.", r".branches.\1.4."),
        (r"\.branch([12])\.1\.1\.0\.", r".branches.\1.6."),
        (r"\.branch([12])\.1\.1\.1\.", r".branches.\1.7."),
        (r"\.branch3\.1\.0\.", ".branches.3.1."),
        (r"\.branch3\.1\.1\.", ".branches.3.2."),
    ),
    left=r"^classifier\.",
    input={"resize": (256, 256), "crop": 224, **KINETICS},
    frames=128,
    options={
        "stem": "separable",
        "gate": False,
        "norm": {"name": "bn", "eps": 0.001, "momentum": 0.001},
    },
)
"""docs/weights.md has the table."""


class S3DG(NormalisedBackbone):
    """Separable inception network with gates: 9.1 M parameters (Xie et al. 2018).

    https://arxiv.org/abs/1712.04851
    """

    public: ClassVar = TORCHVISION

    name: Literal["s3dg"]
    width: PositiveInt = 64
    """Channels of the first convolution; the representation has 16 times as many."""
    stem: Literal["plain", "separable"] = "plain"
    """First convolution: 3 x 7 x 7 as in the pace paper's code, or 1 x 7 x 7 and 7 x 1 x 1."""
    gate: bool = True
    """Weigh channels by the content of the whole clip; without, the network is called S3D."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.s3dg import s3dg

        return s3dg(self.width, self.stem, self.gate, self.norm.build)
