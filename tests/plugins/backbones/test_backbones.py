"""Convolutional backbones: parameter counts, shapes of all taps, and what each option changes."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.registry import offered
from vidssl_cli.model.devices_cpu import PrePadded, pad_short_clips

CONVOLUTIONAL = sorted(offered("backbone").keys() - {"vit"})
NONE = {"name": "none"}
TGN = {"name": "tgn"}
CUBE = (16, 112, 112)
SMALL = {
    "c3d_light": {"width": 4, "representation": "gap"},
    "r3d": {"depth": 10, "width": 4},
    "r2plus1d": {"depth": 10, "width": 4},
    "r2d3d": {"width": 4},
}
"""Options that make each network small enough to run; others have a width of 4 alone."""


def build(name, **options):
    return offered("backbone")[name](name=name, **options).build()


def small(name, **options):
    return build(name, **{"width": 4, **SMALL.get(name, {}), **options})


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("c3d_light", {"norm": NONE}, 4_651_008),
        ("c3d_light", {}, 4_652_928),
        ("c3d", {}, 27_661_440),
        ("c3d", {"temporal_pool": "psp_table1"}, 27_661_440),
        ("r3d", {"depth": 10}, 14_361_792),
        ("r3d", {"depth": 18}, 33_166_272),
        ("r3d", {"depth": 18, "stem": "hara"}, 33_203_904),
        ("r3d", {"depth": 18, "stem": "sstl"}, 33_166_272),
        ("r3d", {"depth": 34}, 63_475_904),
        ("r2plus1d", {"depth": 10}, 14_365_303),
        ("r2plus1d", {"depth": 18}, 31_300_125),
        ("mc3", {}, 11_490_240),
        ("r2d3d", {"depth": 18}, 31_820_352),
        ("r2d3d", {"depth": 18, "last_width": 4}, 14_057_536),
        ("r2d3d", {"depth": 34}, 60_802_880),
        ("r2d3d", {"depth": 34, "last_width": 4}, 32_422_208),
        ("s3dg", {"stem": "plain"}, 9_125_072),
        ("s3dg", {"stem": "separable"}, 9_135_056),
        ("s3dg", {"stem": "separable", "gate": False}, 7_910_048),
    ],
    ids=str,
)
def test_parameter_counts(name, options, count):
    with torch.device("meta"):
        assert parameters(build(name, **options)) == count
        if options.get("norm") != NONE:  # one scale per channel, however many groups
            assert parameters(build(name, **options, norm=TGN)) == count


@pytest.mark.parametrize(
    ("network", "clip", "expected"),
    [
        (
            {"name": "c3d_light"},
            CUBE,
            "64x16x112x112 128x16x56x56 256x8x28x28 256x4x14x14 256x2x7x7 | "
            "64x16x56x56 128x8x28x28 256x4x14x14 256x2x7x7 256x1x4x4 | 4096",
        ),
        (
            {"name": "c3d_light", "representation": "gap"},
            CUBE,
            "64x16x112x112 128x16x56x56 256x8x28x28 256x4x14x14 256x2x7x7 | "
            "64x16x56x56 128x8x28x28 256x4x14x14 256x2x7x7 256x1x4x4 | 256",
        ),
        (
            {"name": "c3d"},
            CUBE,
            "64x16x112x112 128x16x56x56 256x8x28x28 512x4x14x14 512x2x7x7 | "
            "64x16x56x56 128x8x28x28 256x4x14x14 512x2x7x7 512 | 512",
        ),
        (
            {"name": "c3d", "temporal_pool": "psp_table1"},
            CUBE,
            "64x16x112x112 128x8x56x56 256x4x28x28 512x2x14x14 512x2x7x7 | "
            "64x8x56x56 128x4x28x28 256x2x14x14 512x2x7x7 512 | 512",
        ),
        *(
            (
                {"name": name, "depth": depth},
                CUBE,
                "64x16x56x56 64x16x56x56 128x8x28x28 256x4x14x14 512x2x7x7 | "
                "64x16x56x56 64x16x56x56 128x8x28x28 256x4x14x14 512 | 512",
            )
            for name, depth in [("r3d", 10), ("r3d", 34), ("r2plus1d", 10), ("r2plus1d", 18)]
        ),
        *(
            (
                {"name": "r3d", "stem": stem},
                CUBE,
                "64x16x56x56 64x8x28x28 128x4x14x14 256x2x7x7 512x1x4x4 | "
                "64x8x28x28 64x8x28x28 128x4x14x14 256x2x7x7 512 | 512",
            )
            for stem in ("hara", "sstl")
        ),
        (
            {"name": "mc3"},
            CUBE,
            "64x16x56x56 64x16x56x56 128x16x28x28 256x16x14x14 512x16x7x7 | "
            "64x16x56x56 64x16x56x56 128x16x28x28 256x16x14x14 512 | 512",
        ),
        (
            {"name": "r2d3d", "last_width": 4},
            (16, 128, 128),
            "64x16x64x64 64x16x32x32 128x16x16x16 256x8x8x8 256x4x4x4 | "
            "64x16x32x32 64x16x32x32 128x16x16x16 256x8x8x8 256 | 256",
        ),
        *(
            (
                {"name": "s3dg", "stem": stem},
                (64, 224, 224),
                "64x32x112x112 192x32x56x56 480x32x28x28 832x16x14x14 1024x8x7x7 | "
                "64x32x56x56 192x32x28x28 480x16x14x14 832x8x7x7 1024 | 1024",
            )
            for stem in ("plain", "separable")
        ),
    ],
    ids=str,
)
def test_taps_at_full_size(network, clip, expected):
    with torch.device("meta"):
        built = build(**network)
        taps = built(torch.empty(2, 3, *clip))
    shapes = {name: tap.shape[1:] for name, tap in taps.items()}
    convs, pools, feat = expected.split(" | ")
    names = [f"{kind}{i}" for kind in ("conv", "pool") for i in range(1, 6)]
    sizes = [*convs.split(), *pools.split(), feat]
    assert {k: "x".join(map(str, v)) for k, v in shapes.items()} == dict(
        zip([*names, "feat"], sizes, strict=True)
    )
    assert built.taps == {name: shape[0] for name, shape in shapes.items()}
    assert built.feature_dim == built.taps["feat"]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_representation_is_the_average_of_the_last_stage(name):
    network = small(name)
    taps = network(torch.randn(2, 3, 8, 32, 32))
    torch.testing.assert_close(taps["feat"], taps["conv5"].mean((2, 3, 4)))
    assert (taps["conv5"] >= 0).all()  # taps are taken after the ReLU


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("norm", ["bn", "tgn"])
def test_a_fresh_network_keeps_the_scale_of_its_input(name, norm):
    torch.manual_seed(0)
    network = small(name, width=8, norm={"name": norm})
    taps = network(torch.randn(4, 3, 8, 32, 32))
    for tap in ("conv2", "conv3", "conv4", "conv5"):
        assert 0.1 < taps[tap].std() < 3, tap


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_representation_stays_float32_under_autocast(name):
    network = small(name)
    with torch.autocast("cpu", torch.bfloat16):
        taps = network(torch.randn(2, 3, 8, 32, 32))
    assert taps["conv1"].dtype == torch.bfloat16
    assert taps["feat"].dtype == torch.float32


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_tgn_takes_the_place_of_every_batch_norm(name):
    with torch.device("meta"):
        plain = [type(module).__name__ for module in build(name).modules()]
        grouped = [type(module).__name__ for module in build(name, norm=TGN).modules()]
    assert plain.count("BatchNorm3d") == grouped.count("TemporalGroupNorm") > 3
    assert "BatchNorm3d" not in grouped


def test_without_a_norm_convolutions_stand_alone():
    kinds = {type(module) for module in small("c3d_light", norm=NONE).conv5}
    assert kinds == {nn.Conv3d, nn.ReLU}


def test_pooling_that_rounds_up_pads_with_nothing():
    pool = small("c3d_light").pool5
    assert torch.equal(pool(-torch.ones(1, 1, 2, 7, 7)), -torch.ones(1, 1, 1, 4, 4))


def test_the_flat_representation_is_pool5():
    network = small("c3d_light", representation="flatten", cells=[1, 2, 3])
    taps = network(torch.randn(2, 3, 9, 40, 70))
    assert network.feature_dim == 16 * 6
    torch.testing.assert_close(taps["feat"], taps["pool5"].flatten(1))


def test_clips_with_other_cells_are_refused():
    network = small("c3d_light", representation="flatten")
    with pytest.raises(UsageError, match="1 x 2 x 2 cells for these clips, not 1 x 4 x 4") as found:
        network(torch.randn(1, 3, 16, 64, 64))
    assert "[1, 2, 2]" in found.value.hint


@pytest.mark.parametrize(
    ("name", "least"), [("c3d", (8, 16, 16)), ("s3dg", (5, 17, 17)), ("r3d", (1, 1, 1))]
)
def test_the_smallest_clip(name, least):
    network = small(name).eval()
    network(torch.randn(1, 3, *least))
    for axis in range(3) if name != "r3d" else ():
        size = [side - (axis == number) for number, side in enumerate(least)]
        with pytest.raises(UsageError, match="too small for this backbone"):
            network(torch.randn(1, 3, *size))


def mids(network):
    """Return the channels between the convolutions of each pair, stem and shortcuts included."""
    kernels = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv3d)}
    return {
        n: m.out_channels for n, m in kernels.items() if m.kernel_size[0] == 1 and n[-2:] == ".0"
    }


def test_channels_between_a_pair_of_convolutions():
    with torch.device("meta"):
        pairs, blocks = mids(build("r2plus1d", depth=10)), mids(build("r2plus1d", depth=18))
    assert pairs["conv1.0.0"] == 83
    assert blocks["conv1.0.0"] == 45
    assert [pairs[f"conv2.0.residual.{i}.0"] for i in (0, 3)] == [144, 144]
    assert [pairs[f"conv3.0.residual.{i}.0"] for i in (0, 3)] == [230, 288]
    assert [pairs[f"conv5.0.residual.{i}.0"] for i in (0, 3)] == [921, 1152]
    assert pairs["conv3.0.shortcut.0.0"] == 42
    assert [blocks[f"conv3.0.residual.{i}.0"] for i in (0, 3)] == [230, 230]
    assert "conv3.0.shortcut.0.0" not in blocks
    with torch.device("meta"):
        assert mids(build("r2plus1d", depth=10, mid_width="block"))["conv1.0.0"] == 45


def test_the_first_half_of_r2d3d_sees_single_frames():
    network = small("r2d3d").eval()
    clip = torch.randn(1, 3, 8, 32, 32)
    other = clip.clone()
    other[:, :, 3] += 1
    changed = {
        tap: (network(clip)[tap] != network(other)[tap]).flatten(3).any(3).any(1)[0].tolist()
        for tap in ("conv3", "conv4")
    }
    assert changed["conv3"] == [number == 3 for number in range(8)]
    assert sum(changed["conv4"]) > 1


def test_a_gate_looks_at_the_whole_clip():
    gated, plain = (small("s3dg", gate=gate).eval() for gate in (True, False))
    clip = torch.randn(1, 3, 32, 64, 64)
    other = clip.clone()
    other[:, :, -1] += 5
    first = [(n(clip)["conv2"] - n(other)["conv2"])[:, :, 0].abs().max() for n in (gated, plain)]
    assert first[0] > 0 == first[1]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "r3d", "depth": 50},
        {"name": "r3d", "width": 0},
        {"name": "r3d", "layers": 3},
        {"name": "r3d", "norm": NONE},
        {"name": "r2plus1d", "depth": 34},
        {"name": "r2d3d", "last_width": 2},
        {"name": "c3d", "norm": {"name": "tgn", "frames": 0}},
    ],
    ids=str,
)
def test_refuses_what_it_does_not_know(options):
    with pytest.raises(ValidationError):
        offered("backbone")[options["name"]](**options)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_convolution_is_one_that_can_be_kept_right_on_a_cpu(name):
    network = small(name)
    pad_short_clips(network)
    kinds = {type(m) for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)}
    assert kinds == {PrePadded}
