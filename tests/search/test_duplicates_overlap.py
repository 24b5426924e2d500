"""Common parts of made-up frames; where they are is known exactly."""

import numpy as np
import pytest

from vidssl_cli.search.duplicates_overlap import RATE, Frames, common_parts, covered


def film(seed, count):
    """Frames that are smooth in time, each unlike those of other seeds."""
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(count // 6 + 3, 16, 16))
    places = np.arange(count) / 6
    low = places.astype(int)
    share = (places - low)[:, None, None]
    return (1 - share) * points[low] + share * points[low + 1]


def frames(*pieces, noise=0.0):
    pictures = np.concatenate(pieces)
    pictures = pictures + noise * np.random.default_rng(0).normal(size=pictures.shape)
    grey = np.clip(128 + 40 * pictures, 0, 255).astype(np.uint8)
    return Frames(grey, len(grey) / RATE)


def seconds(*spans):
    return [(first / RATE, last / RATE) for first, last in spans]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_part_in_the_middle_of_both(mirrored):
    shared = film(0, 40)
    other = frames(film(3, 33), shared[:, :, ::-1] if mirrored else shared, noise=0.05)
    (part,), flipped = common_parts(frames(film(1, 25), shared, film(2, 30)), other)
    assert flipped is mirrored
    assert np.abs(np.subtract([part.first, part.second], seconds((25, 65), (33, 73)))).max() < 0.3


def test_several_parts():
    a, b = film(0, 40), film(1, 30)
    parts, _ = common_parts(frames(a, film(2, 20), b), frames(b, film(3, 20), a))
    assert len(parts) == 2
    assert sorted(round(part.seconds * RATE) for part in parts) == pytest.approx([30, 40], abs=2)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_video_that_is_shorter_than_a_part_must_be_whole(count):
    shared = film(0, 60)
    (part,), _ = common_parts(frames(shared), frames(shared[20 : 20 + count]))
    assert part.second == (0, count / RATE)


def test_a_part_that_is_too_short_is_none():
    shared = film(0, 6)
    parts, _ = common_parts(frames(film(1, 30), shared), frames(film(2, 30), shared))
    assert parts == []


def test_another_take_of_a_scene_is_none():
    scene = film(0, 1) * 2
    for size in (0.0, 0.1, 0.3):
        one, other = (scene + size * film(take, 80) for take in (1, 2))
        parts, _ = common_parts(frames(one), frames(other))
        assert bool(parts) is (size == 0)


def test_black_frames_share_nothing():
    black = np.full((40, 16, 16), -3.0)
    assert common_parts(frames(black), frames(black))[0] == []
    parts, _ = common_parts(frames(black, film(0, 40)), frames(black, film(1, 40)))
    assert parts == []


def test_moments_that_overlap_are_counted_once():
    assert covered([]) == 0
    assert covered([(4, 6), (0, 2), (1, 3), (5, 5.5)]) == 5
