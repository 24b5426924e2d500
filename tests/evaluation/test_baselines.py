import numpy as np
import pytest

from vidssl_cli.evaluation.baselines import (
    colour,
    describe,
    frame_difference,
    motion_energy,
    one_frame,
)


def clip(*levels):
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


def test_colour_counts_the_shades_of_the_middle_frame():
    frames = clip(0, 40, 255)
    frames[1, ..., 2] = 255
    shares = colour(frames).reshape(3, 8)
    assert shares.argmax(1).tolist() == [1, 1, 7]
    assert shares.max(1).tolist() == [1, 1, 1]


def test_motion_energy_is_the_spread_of_change_over_time():
    assert motion_energy(clip(0, 10, 20, 30)) == pytest.approx(np.ones(8))
    stop_and_go = motion_energy(clip(0, 10, 10, 20, 20, 30, 30, 40, 40))
    assert stop_and_go == pytest.approx([0, 0, 0, 0, 2, 2, 2, 2])


def test_motion_energy_knows_neither_order_nor_contrast():
    frames = clip(0, 5, 20, 22, 60)
    assert motion_energy(frames[::-1]) == pytest.approx(motion_energy(frames))
    assert motion_energy(2 * frames) == pytest.approx(motion_energy(frames))


def test_a_still_video_has_none():
    assert motion_energy(clip(7, 7, 7)).tolist() == [0] * 8


def test_one_frame_averages_areas_of_the_middle_frame():
    frames = np.zeros((3, 20, 17, 3), np.uint8)  # sides that eight does not divide
    frames[1, :, :, 2] = np.arange(20)[:, None]
    areas = one_frame(frames).reshape(8, 8, 3)
    assert not areas[..., :2].any()
    rows = [(0, 2), (2, 5), (5, 7), (7, 10), (10, 12), (12, 15), (15, 17), (17, 20)]
    expected = [np.arange(*row).mean() for row in rows]
    assert areas[..., 2] == pytest.approx(np.tile(expected, (8, 1)).T)


def test_frame_difference_tells_where_frames_differ():
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[2, 4:6, 10:12] = 30
    expected = np.zeros((8, 8))
    expected[2, 5] = 20  # two of three differences
    assert frame_difference(frames).reshape(8, 8) == pytest.approx(expected)


def test_a_single_frame_does_not_move():
    frames = np.full((1, 16, 16, 3), 9, np.uint8)
    assert not motion_energy(frames).any()
    assert not frame_difference(frames).any()


def test_describe_returns_a_row_for_each_video(toy_videos):
    rows = describe(toy_videos[:3], 24)
    assert {name: row.shape for name, row in rows.items()} == {
        "colour": (3, 24),
        "one_frame": (3, 192),
        "motion_energy": (3, 8),
        "frame_difference": (3, 64),
    }
