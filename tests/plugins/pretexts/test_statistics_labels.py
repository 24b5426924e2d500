"""Labels of spatio-temporal statistics: printed values, symmetries, and a slow way to count."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidssl_plugins.pretexts.statistics_appearance import (
    appearance_labels,
    constancy,
    octants,
)
from vidssl_plugins.pretexts.statistics_motion import (
    derivatives,
    motion_labels,
    orientations,
    polar,
)
from vidssl_plugins.pretexts.statistics_partitions import BLOCKS, cells, partition

ALL = (1, 2, 3)
CPU = torch.device("cpu")


def blocks(pattern, height=112, width=112):
    return partition(pattern, height, width, CPU) + 1


# Partitions


@pytest.mark.parametrize(
    ("pattern", "areas"),
    [
        (1, [784] * 16),
        (2, [784, 2352, 3920, 5488]),
        (3, [1596, 1540, 1540, 1596, 1596, 1540, 1540, 1596]),
    ],
)
def test_areas(pattern, areas):
    assert blocks(pattern).flatten().bincount().tolist() == [0, *areas]
    assert sum(areas) == 12544


def test_rings_are_nested_squares():
    ring = blocks(2)
    assert (ring[42:70, 42:70] == 1).all()
    for place, block in [(41, 2), (28, 2), (27, 3), (14, 3), (13, 4), (0, 4)]:
        assert ring[place, place] == block


def test_triangles_of_points():
    expected = {
        (40, 5): 1, (5, 40): 2, (5, 70): 3, (40, 105): 4, (70, 5): 5, (105, 40): 6,
        (105, 70): 7, (70, 105): 8, (0, 0): 1, (0, 111): 4, (111, 0): 5, (111, 111): 8,
        (55, 55): 1, (56, 56): 8,
    }  # fmt: skip
    assert {point: int(blocks(3)[point]) for point in expected} == expected


def test_rings_and_triangles_of_8_by_8():
    rings = ["44444444", "43333334", "43222234", "43211234"]
    triangles = [
        "12223334", "11223344", "11123444", "11114444",
        "55558888", "55567888", "55667788", "56667778",
    ]  # fmt: skip
    rows = [["".join(map(str, row)) for row in blocks(p, 8, 8).tolist()] for p in (2, 3)]
    assert rows == [rings + rings[::-1], triangles]


MIRRORED = {
    1: [4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13],
    2: [1, 2, 3, 4],
    3: [4, 3, 2, 1, 8, 7, 6, 5],
}
"""Where block 1, 2, … lies in a mirrored clip."""


@pytest.mark.parametrize("pattern", ALL)
def test_patterns_are_mirror_symmetric(pattern):
    moved = torch.tensor([0, *MIRRORED[pattern]])
    assert torch.equal(moved[blocks(pattern)], blocks(pattern).flip(1))


@given(height=st.integers(8, 60), width=st.integers(8, 60))
def test_patterns_cut_any_frame_into_all_their_blocks(height, width):
    for pattern in ALL:
        assert set(blocks(pattern, height, width).unique().tolist()) == set(
            range(1, BLOCKS[pattern] + 1)
        )
    cell, member = cells(ALL, height, width, CPU)
    start = 0
    for pattern in ALL:
        of_pixel = member[cell][..., start : start + BLOCKS[pattern]]
        assert (of_pixel.sum(-1) == 1).all()
        assert torch.equal(of_pixel.argmax(-1) + 1, blocks(pattern, height, width))
        start += BLOCKS[pattern]


# Motion


def motion(u, v, **options):
    """Return the labels of one clip of fields (F, H, W)."""
    flow = torch.stack([torch.as_tensor(u), torch.as_tensor(v)])[None].float()
    return motion_labels(flow, ALL, **options)[0].int().tolist()


def test_a_moving_camera_has_no_boundaries():
    still = torch.zeros(15, 112, 112)
    assert motion(still + 3.3, still - 2.1) == [0] * 14


def test_derivatives_of_a_ramp():
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    dx, dy = derivatives(ramp)
    assert (dx[0, 0, :, 1:-1] == 6).all()
    assert (dx[0, 0, :, [0, -1]] == 3).all()
    assert not dy.any()
    assert not polar(dx, dy)[1].any()


def test_derivatives_are_those_of_prewitts_kernels():
    fields = torch.randn(2, 3, 9, 7)
    kernel = torch.tensor([[-1.0, 0, 1]] * 3)
    padded = torch.nn.functional.pad(fields, (1, 1, 1, 1), mode="replicate").flatten(0, 1)
    for found, weights in zip(derivatives(fields), (kernel, kernel.T), strict=True):
        expected = torch.nn.functional.conv2d(padded[:, None], weights[None, None])
        torch.testing.assert_close(found.flatten(0, 1), expected[:, 0])


def step_edges():
    """Fields whose largest boundaries are in grid blocks 8 (u) and 9 (v), at times 5 and 10."""
    u, v = torch.zeros(15, 112, 112), torch.zeros(15, 112, 112)
    u[:, :, 98:] = 1
    u[:, 28:56, 98:] = 3
    v[:, 70:, :28] = 1
    v[:, 70:84, :28] += 2
    u[4] *= 2
    v[9] *= 2
    return u, v


def test_labels_of_step_edges():
    assert motion(*step_edges()) == [8, 1, 9, 7, 4, 1, 3, 7, 4, 1, 5, 7, 5, 10]


def test_patterns_and_the_whole_clip_can_be_left_out():
    flow = torch.stack(step_edges())[None]
    assert motion_labels(flow, (3,)).tolist() == [[4, 1, 5, 7, 5, 10]]
    assert motion_labels(flow, (2, 3), whole=False).tolist() == [[4, 1, 3, 7, 4, 1, 5, 7]]
    assert motion_labels(flow, ()).tolist() == [[5, 10]]


@pytest.mark.parametrize(
    ("dx", "dy", "bin_"), [(1, 0, 1), (1, -1, 2), (0, -1, 3), (-1, 1, 6), (0, 1, 7)]
)
def test_directions_are_counted_counter_clockwise_on_the_screen(dx, dy, bin_):
    magnitude, angle = polar(torch.tensor([[[float(dx)]]]), torch.tensor([[[float(dy)]]]))
    assert orientations(magnitude, angle)[0, :, 0, 0].nonzero().tolist() == [[bin_ - 1]]


def test_an_angle_that_rounds_to_360_is_in_the_first_bin():
    bins = orientations(torch.ones(1, 1, 1), torch.full((1, 1, 1), 360.0))
    assert bins[0, :, 0, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("angle", "shares"),
    [(22.5, {0: 1}), (45, {0: 0.5, 1: 0.5}), (0, {7: 0.5, 0: 0.5}), (348.75, {7: 0.75, 0: 0.25})],
)
def test_soft_bins_share_a_vector_out(angle, shares):
    bins = orientations(torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), angle), soft=True)
    found = bins[0, :, 0, 0]
    assert {int(i): float(found[i]) / 2 for i in found.nonzero()} == pytest.approx(shares)


def test_average_not_sum_decides_between_blocks_of_different_size():
    u = torch.zeros(15, 112, 112)
    u[:, 50:60, 50:60] = 5  # in the centre of the rings, and a little farther out everywhere
    u[:, :, ::4] += 0.8
    labels = motion_labels(torch.stack([u, u])[None], (2,), whole=False)
    assert labels[0, 0] == 1


def smooth_flow(seed, clips=1, frames=4, side=32):
    """Return random smooth flow (N, 2, F, S, S)."""
    flow = torch.randn(clips, 2, frames, side, side, generator=torch.Generator().manual_seed(seed))
    for _ in range(6):
        flow = (
            flow + flow.roll(1, -1) + flow.roll(-1, -1) + flow.roll(1, -2) + flow.roll(-1, -2)
        ) / 5
    return flow.double()


seeds = given(seed=st.integers(0, 10_000), soft=st.booleans())


@seeds
@settings(max_examples=25)
def test_a_constant_changes_no_label(seed, soft):
    flow = smooth_flow(seed)
    moved = flow + torch.tensor([7.5, -3.0], dtype=torch.float64).view(1, 2, 1, 1, 1)
    one, other = (motion_labels(f, ALL, soft_bins=soft) for f in (flow, moved))
    assert torch.equal(one, other)


@seeds
@settings(max_examples=25)
def test_mirrored_clips_have_mirrored_labels(seed, soft):
    flow = smooth_flow(seed)
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1, 1)
    before = motion_labels(flow, ALL, soft_bins=soft)[0].int().tolist()
    after = motion_labels(mirrored, ALL, soft_bins=soft)[0].int().tolist()
    for k, pattern in enumerate(ALL):
        p_u, o_u, p_v, o_v = before[4 * k : 4 * k + 4]
        moved = MIRRORED[pattern]
        # The remainder of 5 - o_v counts from 1 to 8.
        expected = [moved[p_u - 1], 9 - o_u, moved[p_v - 1], (4 - o_v) % 8 + 1]
        assert after[4 * k : 4 * k + 4] == expected
    assert after[12:] == before[12:]


@seeds
@settings(max_examples=15)
def test_the_order_of_fields_moves_only_the_moment(seed, soft):
    flow = smooth_flow(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    before = motion_labels(flow, ALL, soft_bins=soft)[0]
    after = motion_labels(flow[:, :, order], ALL, soft_bins=soft)[0]
    assert torch.equal(after[:12], before[:12])
    assert [int(order[int(i) - 1]) + 1 for i in after[12:]] == before[12:].int().tolist()


def test_clips_of_a_batch_are_labelled_apart():
    flow = smooth_flow(5, clips=3)
    flow[1] = 2
    together = motion_labels(flow, ALL)
    assert torch.equal(together, torch.cat([motion_labels(f[None], ALL) for f in flow]))
    assert not together[1].any()


# Appearance


def test_octants_have_the_released_numbers():
    colours = {
        (0, 0, 255): 1, (0, 255, 255): 2, (255, 0, 255): 3, (255, 255, 255): 4,
        (0, 0, 0): 5, (0, 255, 0): 6, (255, 0, 0): 7, (255, 255, 0): 8,
        (127, 128, 127): 6,
    }  # fmt: skip
    pixels = torch.tensor(list(colours), dtype=torch.uint8).T.reshape(3, -1, 1, 1)
    assert (octants(pixels).flatten() + 1).tolist() == list(colours.values())


def reddening():
    """Three frames of four pixels, black but for 0, 1 and 2 red ones: (3, T, 1, 4)."""
    pixels = torch.zeros(3, 3, 1, 4, dtype=torch.uint8)
    pixels[0, 1, 0, :1] = pixels[0, 2, 0, :2] = 255
    return pixels


def test_intersection_over_union_of_histograms():
    channels = torch.nn.functional.one_hot(reddening().long(), 256).sum((2, 3))  # (3, T, 256)
    each = constancy(channels.transpose(0, 1))
    assert each.tolist() == pytest.approx([1 / 3, 1, 1])
    assert each.mean().item() == pytest.approx(0.777778, abs=1e-6)
    joint = torch.nn.functional.one_hot(octants(reddening()), 8).sum((1, 2))
    assert constancy(joint).item() == pytest.approx(1 / 3)


def yellow_block():
    """A blue clip (1, 3, 16, 112, 112) whose grid block 13 is yellow in three of four frames."""
    pixels = torch.zeros(1, 3, 16, 112, 112, dtype=torch.uint8)
    pixels[:, 2] = 200
    changes = [i for i in range(16) if i % 4]
    for channel, value in enumerate([255, 255, 0]):
        pixels[0, channel, changes, 84:, :28] = value
    return pixels


@pytest.mark.parametrize("joint", [False, True])
def test_labels_of_a_changing_block(joint):
    labels = appearance_labels(yellow_block(), ALL, joint=joint)
    assert labels.tolist() == [[13, 8, 1, 1, 4, 1, 1, 1, 5, 1, 1, 1, 1]]
    assert appearance_labels(yellow_block(), (2,), whole=False).tolist() == [[4, 1, 1, 1]]


def test_a_still_clip_is_constant_in_its_first_block():
    labels = appearance_labels(yellow_block()[:, :, :1].expand(-1, -1, 16, -1, -1), ALL)
    assert labels[0, [0, 2, 4, 6, 8, 10]].tolist() == [1] * 6


def by_hand(clip, pattern, bins, joint):
    """Return the constancy of each block of (3, T, H, W), block after block."""
    out = []
    for block in range(1, BLOCKS[pattern] + 1):
        inside = clip[:, :, blocks(pattern, *clip.shape[2:]) == block].long()
        if joint:
            inside = octants(inside[..., None])[..., 0][None]
        values = inside if joint else inside * bins // 256
        shares = [
            constancy(torch.stack([frame.bincount(minlength=bins) for frame in channel]))
            for channel in values
        ]
        out.append(np.mean([float(share) for share in shares]))
    return out


@pytest.mark.parametrize(("bins", "joint"), [(256, False), (5, False), (8, True)])
def test_counting_once_is_counting_each_block(bins, joint):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 4, 24, 24), generator=generator).to(torch.uint8)
    found = appearance_labels(pixels, ALL, bins=bins, joint=joint)
    for clip, labels in zip(pixels, found, strict=True):
        for k, pattern in enumerate(ALL):
            shares = by_hand(clip, pattern, bins, joint)
            assert labels[4 * k] == 1 + np.argmin(shares)
            assert labels[4 * k + 2] == 1 + np.argmax(shares)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_the_order_of_frames_changes_no_appearance(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (1, 3, 5, 16, 16), generator=generator).to(torch.uint8)
    order = torch.randperm(5, generator=generator)
    assert torch.equal(appearance_labels(pixels, ALL), appearance_labels(pixels[:, :, order], ALL))
