"""Video transformers: sizes, taps, positions, and tokens that are left out."""

import math

import pytest
import torch
from pydantic import ValidationError

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.model.weights import SizeLimit
from vidssl_cli.testing import check_backbone
from vidssl_plugins.backbones.hooks import ViT
from vidssl_plugins.backbones.vit import resized, rotary, rotate, sine_table

SMALL = {"width": 24, "depth": 4, "heads": 2, "tubelet": (2, 8, 8), "clip": (8, 32, 32)}
POSITIONS = ("sine", "learned", "rotary")


def options(**given):
    return ViT(name="vit", **SMALL | given)


def build(**given):
    torch.manual_seed(0)
    return options(**given).build().eval()


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("tiny", 5_633_856),
        ("small", 21_884_544),
        ("base", 86_236_416),
        ("large", 303_885_312),
        ("huge", 631_648_000),
        ("giant", 1_012_173_952),
    ],
)
def test_parameter_counts(size, count):
    with torch.device("meta"):
        network = ViT(name="vit", size=size, positions="rotary").build()
    assert sum(p.numel() for p in network.parameters()) == count


def test_the_parts_of_the_count():
    """12 blocks of 4 D^2 + 8 D^2 weights, their 9 D biases and 4 D of norms; tubelets; a norm."""
    d = 768
    blocks = 12 * (12 * d * d + 9 * d + 4 * d)
    assert blocks + (3 * 2 * 16 * 16 * d + d) + 2 * d == 86_236_416


@pytest.mark.parametrize("final_norm", ["tokens", "mean", "none"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_it_keeps_the_contract(positions, final_norm):
    chosen = options(positions=positions, final_norm=final_norm)
    check_backbone(chosen, clip=(8, 32, 32))
    check_backbone(chosen, clip=(4, 16, 24))


def test_taps_follow_each_quarter_of_the_blocks():
    for depth, ends in {4: [1, 2, 3, 4], 12: [3, 6, 9, 12], 2: [1, 1, 2, 2]}.items():
        assert list(build(depth=depth).ends.values()) == ends
    network = build(depth=2, final_norm="none")
    clips = torch.randn(2, 3, 8, 32, 40)
    taps = network(clips)
    assert {tap.shape[1:] for name, tap in taps.items() if "conv" in name} == {(24, 4, 4, 5)}
    torch.testing.assert_close(taps["conv3"], taps["conv2"])
    x, _ = network.locate(taps["conv1"].flatten(2).transpose(1, 2), (4, 4, 5), None)
    first = network.blocks[0](x)
    torch.testing.assert_close(taps["conv2"].flatten(2).transpose(1, 2), first)
    torch.testing.assert_close(taps["conv5"].flatten(2).transpose(1, 2), network.blocks[1](first))


def test_what_the_final_norm_normalises():
    clips = torch.randn(2, 3, 8, 32, 32)
    tokens, mean, none = (build(final_norm=kind)(clips) for kind in ("tokens", "mean", "none"))
    torch.testing.assert_close(tokens["feat"], tokens["conv5"].mean((2, 3, 4)))
    torch.testing.assert_close(none["feat"], none["conv5"].mean((2, 3, 4)))
    assert tokens["conv5"].var(1, correction=0).sub(1).abs().max() < 1e-3
    torch.testing.assert_close(mean["conv5"], none["conv5"])
    expected = torch.nn.functional.layer_norm(none["feat"], (24,), eps=1e-6)
    torch.testing.assert_close(mean["feat"], expected)


def test_the_representation_stays_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        taps = build()(torch.randn(2, 3, 8, 32, 32))
    assert taps["conv1"].dtype == torch.bfloat16
    assert taps["feat"].dtype == torch.float32


@pytest.mark.parametrize("positions", POSITIONS)
def test_tokens_that_are_left_out_are_not_seen(positions):
    network = build(positions=positions)
    clips = torch.randn(1, 3, 8, 32, 32)
    keep = torch.tensor([[0, 5, 17, 63]])
    found = network(clips, keep)
    assert found.keys() == {"tokens"}
    assert found["tokens"].shape == (1, 4, 24)
    other = clips.clone()
    other[:, :, 0:2, 0:8, 8:16] += 1  # token 1
    assert torch.equal(network(other, keep)["tokens"], found["tokens"])
    other[:, :, 0:2, 0:8, 0:8] += 1  # token 0
    assert not torch.allclose(network(other, keep)["tokens"], found["tokens"])


@pytest.mark.parametrize("positions", POSITIONS)
def test_all_tokens_in_any_order_are_the_whole_clip(positions):
    network = build(positions=positions)
    clips = torch.randn(2, 3, 8, 32, 32)
    order = torch.stack([torch.randperm(64), torch.randperm(64)])
    tokens = network(clips, order)["tokens"]
    whole = network(clips)["conv5"].flatten(2).transpose(1, 2)
    expected = torch.stack([whole[n][order[n]] for n in range(2)])
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_places_matter(positions):
    """The same pixels elsewhere in time, in a row or in a column, are another clip."""
    network = build(positions=positions, final_norm="none")
    clip = torch.randn(1, 3, 8, 32, 32)
    feat = network(clip)["feat"]
    for shifts, dim in ((2, 2), (8, 3), (8, 4)):
        assert (network(clip.roll(shifts, dim))["feat"] - feat).abs().max() > 1e-3


def test_sine_table():
    table = sine_table(1568, 768)
    assert table.shape == (1568, 768)
    assert table[0, :4].tolist() == [0, 1, 0, 1]
    for n, i in ((1, 0), (700, 3), (1567, 383)):
        angle = n / 10000 ** (2 * i / 768)
        assert table[n, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[n, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_description_that_asks_for_a_huge_table_is_refused(tmp_path):
    """`SizeLimit` sees what is made, before it is."""
    with (
        SizeLimit({"w": torch.zeros(100)}, tmp_path),
        pytest.raises(DamagedFileError, match="much larger than its weights"),
    ):
        build(clip=(2_000_000, 800, 800))


def test_tables_are_interpolated_along_time_rows_and_columns():
    rows = torch.arange(4.0)[None, :, None].expand(2, 4, 3)
    table = torch.stack([rows.flatten(), 10 + rows.flatten()], dim=1)
    found = resized(table, (2, 4, 3), (5, 8, 3)).T.unflatten(1, (5, 8, 3))
    assert found[0, 0, :, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    torch.testing.assert_close(found[1], 10 + found[0])
    assert resized(table, (2, 4, 3), (2, 4, 3)) is table


def test_rotary_scores_depend_on_distances_alone():
    """Where the two numbers of a pair are alike, turning is a function of the difference."""
    cos, sin = rotary((6, 5, 4), 24, torch.device("cpu"))
    assert cos.shape == (120, 24)
    assert torch.equal(cos[0], torch.ones(24))
    # A third is frames: places 20 apart. Its first pair turns by rates 1 and 10000^(-1/4).
    rates = [1, 10000**-0.25, 10000**-0.5, 10000**-0.75] * 2
    torch.testing.assert_close(cos[40, :8], torch.tensor([math.cos(2 * rate) for rate in rates]))
    torch.testing.assert_close(sin[8, 8:16], torch.tensor([math.sin(2 * rate) for rate in rates]))
    torch.testing.assert_close(sin[3, 16:], torch.tensor([math.sin(3 * rate) for rate in rates]))


def test_what_is_left_over_is_not_turned():
    cos, sin = rotary((3, 3, 3), 64, torch.device("cpu"))
    assert torch.equal(cos[:, 60:], torch.ones(27, 4))
    assert not sin[:, 60:].any()
    assert (sin[-1, :60] != 0).all()


def test_turning_by_equal_angles_keeps_lengths():
    x = torch.randn(5, 6)
    angle = torch.rand(5, 1).expand(5, 6)
    turned = rotate(x, (angle.cos(), angle.sin()))
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    first = x[:, 0] * angle[:, 0].cos() - x[:, 1] * angle[:, 0].sin()
    torch.testing.assert_close(turned[:, 0], first)


def test_a_bias_of_keys_changes_nothing_without_rotary_positions():
    clips = torch.randn(1, 3, 8, 32, 32)
    for positions, same in (("sine", True), ("rotary", False)):
        network = build(positions=positions)
        before = network(clips)["feat"]
        with torch.no_grad():
            for block in network.blocks:
                block.attention.qkv.bias[24:48].normal_()
        assert torch.allclose(network(clips)["feat"], before, rtol=1e-4, atol=1e-5) == same


def test_clips_that_are_too_small_are_refused():
    with pytest.raises(UsageError, match="1 x 32 x 32 are smaller than a tubelet") as found:
        build()(torch.randn(1, 3, 1, 32, 32))
    assert "2 x 8 x 8" in found.value.hint


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"heads": 5}, "width 24 cannot be cut into 5 heads"),
        ({"heads": 6, "positions": "rotary"}, "heads of 4 numbers are too narrow"),
        ({"clip": (1, 32, 32)}, "smaller than a tubelet"),
        ({"size": "colossal"}, "Input should be"),
    ],
)
def test_refuses_what_does_not_fit(wrong, told):
    with pytest.raises(ValidationError, match=told):
        options(**wrong)
