"""The menu of backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import BackboneOptions, Options, PublicWeights, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from vidssl_cli.contract.hooks import Backbone


class BatchNorm(Options):
    """Batch normalisation: one mean and variance for all frames of a clip."""

    name: Literal["bn"]
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of a batch in the running statistics that evaluation uses."""
    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    sync: bool = False
    """Take the statistics of training over all processes, not over each one's part of a batch."""

    def build(self, channels: int) -> nn.Module:
        """Build one layer."""
        from torch import nn

        from vidssl_plugins.backbones.norm import SyncBatchNorm3d

        kind = SyncBatchNorm3d if self.sync else nn.BatchNorm3d
        return kind(channels, eps=self.eps, momentum=self.momentum)


class TGN(Options):
    """Temporal group normalisation: a mean and variance for each group of consecutive frames.

    Cho, Kim, Chang, Hwang 2020. It takes the place of every batch norm of a backbone. Weights
    fit clips of any length; groups beyond those that were trained are treated like the last one.
    """

    name: Literal["tgn"]
    frames: PositiveInt = 2
    """g, frames of a group, counted at the layer's own temporal resolution; all of a clip is bn."""
    affine: Literal["channel", "group"] = "channel"
    """Whether scale and offset are learned per channel, or for each group of its own."""
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of a batch in the running statistics that evaluation uses."""
    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    sync: bool = False
    """Take the statistics of training over all processes, not over each one's part of a batch."""
    groups: PositiveInt = 64
    """Most groups of a training clip: what the state has room for, whatever the clips' length."""

    def build(self, channels: int) -> nn.Module:
        """Build one layer."""
        from vidssl_plugins.backbones.tgn import TemporalGroupNorm

        return TemporalGroupNorm(channels, **self.model_dump(exclude={"name"}))


class NoNorm(Options):
    """No normalisation."""

    name: Literal["none"]


Norm = Annotated[BatchNorm | TGN, Field(discriminator="name")]


class NormalisedBackbone(BackboneOptions):
    """A backbone whose layers are normalised."""

    norm: Norm = BatchNorm(name="bn")
    """How the output of a convolution is normalised."""


class C3DLight(BackboneOptions):
    """C3D with five convolutions: 4.65 M parameters (motion statistics, temporal transformations).

    Its pooling rounds up, so that clips of 16 x 112 x 112 end as 256 x 1 x 4 x 4.
    """

    name: Literal["c3d_light"]
    norm: Annotated[BatchNorm | TGN | NoNorm, Field(discriminator="name")] = BatchNorm(name="bn")
    """How the output of a convolution is normalised; ``none`` for the motion statistics of 2019."""
    width: PositiveInt = 64
    """Channels of the first convolution; the last three have 4 times as many."""
    representation: Literal["flatten", "gap"] = "flatten"
    """Every number of pool5 (4096), or the average of conv5 over time and space (256)."""
    cells: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 4)
    """Frames, rows and columns of pool5, for ``flatten``; 1 x 4 x 4 if clips are 16 x 112 x 112."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.c3d import c3d_light

        norm = None if isinstance(self.norm, NoNorm) else self.norm.build
        return c3d_light(self.width, norm, self.cells if self.representation == "flatten" else None)


class C3D(NormalisedBackbone):
    """C3D with eight convolutions: 27.7 M parameters (clip order, playback speed, curriculum).

    Unlike that of Tran et al. 2015 (https://arxiv.org/abs/1412.0767) it has batch norm.
    """

    name: Literal["c3d"]
    width: PositiveInt = 64
    """Channels of the first convolution; the representation has 8 times as many."""
    temporal_pool: Literal["standard", "psp_table1"] = "standard"
    """Where time is halved: behind stages 2, 3 and 4, or 1, 2 and 3 as Cho 2020 lists sizes."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.c3d import c3d

        return c3d(self.width, self.temporal_pool, self.norm.build)


def torchvision(name: str, stem: tuple[tuple[str, str], ...]) -> PublicWeights:
    """Describe torchvision's weights of an 18-layer network, trained on Kinetics-400."""
    blocks = (
        (r"\.conv1\.([01])\.", r".residual.\1."),
        (r"\.conv2\.0\.", ".residual.3."),
        (r"\.conv2\.1\.", ".residual.4."),
        (r"\.downsample\.", ".shortcut."),
    )
    stages = tuple((rf"^layer{number}\.", f"conv{number + 1}.") for number in range(1, 5))
    return PublicWeights(
        source=f"torchvision {name}",
        names=(*blocks, *stages, *stem),
        left=r"^fc\.",
        input={
            "resize": (128, 171),
            "crop": 112,
            "mean": (0.43216, 0.394666, 0.37645),
            "std": (0.22803, 0.22145, 0.216989),
            "fps": 15,
        },
        frames=16,
    )


class ResidualBackbone(NormalisedBackbone):
    """What residual networks share."""

    width: PositiveInt = 64
    """Channels of the first stage; the representation has 8 times as many. 16 to 32 suit a CPU."""


class R3D(ResidualBackbone):
    """Residual network of 3-D convolutions (Tran et al. 2018, https://arxiv.org/abs/1711.11248).

    Depth 10 has one block per stage. It is what the clip-order, pace and playback-speed papers
    call R3D or R3D-18 and give 14.4 M parameters; depth 18 has 33.2 M and 34 has 63.5 M.
    """

    public: ClassVar = torchvision("r3d_18", ((r"^stem\.", "conv1."),))

    name: Literal["r3d"]
    depth: Literal[10, 18, 34] = 18
    """Layers with weights, the classifier counted."""
    stem: Literal["tran", "hara", "sstl"] = "tran"
    """3 x 7 x 7; or 7 x 7 x 7 and max-pooling (Hara et al. 2018); or the first with the pooling."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r3d import r3d

        return r3d(self.depth, self.width, self.stem, self.norm.build)


class R2Plus1D(ResidualBackbone):
    """Residual network of spatial and temporal convolutions in turn (Tran et al. 2018).

    Depth 10 is what the clip-order, pace and playback-speed papers call R(2+1)D and give 14.4 M
    parameters; depth 18 is torchvision's with 31.3 M.
    """

    public: ClassVar = torchvision(
        "r2plus1d_18",
        ((r"^stem\.([013])\.", r"conv1.0.\1."), (r"^stem\.4\.", "conv1.1.")),
    )

    name: Literal["r2plus1d"]
    depth: Literal[10, 18] = 18
    """Layers with weights, the classifier counted."""
    mid_width: Literal["conv", "block"] | None = None
    """Channels between a pair of convolutions: fitted to each pair, with pairs in shortcuts too, or
    to a block, with plain shortcuts. Null is ``conv`` for depth 10 and ``block`` for depth 18."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r2plus1d import r2plus1d

        mid_width = self.mid_width or ("conv" if self.depth == 10 else "block")
        return r2plus1d(self.depth, self.width, mid_width, self.norm.build)


class R2D3D(ResidualBackbone):
    """Residual network whose first half sees single frames (Han et al. 2019, DPC).

    31.8 M parameters at depth 18. The released code of temporal transformations calls it
    3D-ResNet18.
    """

    name: Literal["r2d3d"]
    depth: Literal[18, 34] = 18
    """Layers with weights, the classifier counted."""
    last_width: Literal[4, 8] = 8
    """Channels of the last stage in multiples of ``width``; 4 is DPC's, with 14.1 M parameters."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r2d3d import r2d3d

        return r2d3d(self.depth, self.width, self.last_width, self.norm.build)


class S3DG(NormalisedBackbone):
    """Separable inception network with gates: 9.1 M parameters (Xie et al. 2018).

    https://arxiv.org/abs/1712.04851
    """

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


@hookimpl
def vidssl_backbones() -> list[type[BackboneOptions]]:
    """Offer the built-in backbones."""
    return [C3DLight, C3D, R3D, R2Plus1D, R2D3D, S3DG]
