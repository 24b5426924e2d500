"""Many draws at once are bit for bit the draws one by one."""

import numpy as np
import pytest

from vidssl_cli.contract import draws as module
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.draws import Draws

DRAWS = [Draw(seed, epoch, 7 * video) for seed in (0, 3) for epoch in (0, 5) for video in range(60)]
VIEWS = (0, 1, "shared 1")
PAIRS = [(draw, view) for draw in DRAWS for view in VIEWS]
MANY = Draws.of(DRAWS, "purpose", VIEWS)


def one_by_one():
    return [draw("purpose", view) for draw, view in PAIRS]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 28, 100])
def test_random(count):
    expected = np.stack([one.random(count) for one in one_by_one()])
    assert np.array_equal(MANY.random(count), expected)


def test_uniform():
    expected = np.array([one.uniform(1.0, 1.25) for one in one_by_one()])
    assert np.array_equal(MANY.uniform(1.0, 1.25), expected)


def test_a_draw_of_the_video_has_no_view():
    expected = [draw("start").integers(1000) for draw in DRAWS]
    assert Draws.of(DRAWS, "start").integers(np.full(len(DRAWS), 1000)).tolist() == expected


@pytest.mark.parametrize("most", [1, 2, 60, 2**31 + 5, 2**32 - 1])
def test_integers(most):
    below = np.random.default_rng(0).integers(1, most + 1, len(PAIRS))
    expected = [one.integers(n) for one, n in zip(one_by_one(), below, strict=True)]
    assert MANY.integers(below).tolist() == expected


@pytest.mark.parametrize("size", [0, 1, 2, 4, 9])
def test_subsets(size):
    below = np.random.default_rng(1).integers(max(1, size), size + 30, len(PAIRS))
    expected = [
        np.sort(one.choice(n, size, replace=False)).tolist()
        for one, n in zip(one_by_one(), below, strict=True)
    ]
    assert MANY.subsets(below, size).tolist() == expected


def test_what_would_take_more_words_is_drawn_one_by_one(monkeypatch):
    """For numbers near 2**32 half of all words are rejected at first."""
    made = []
    generator_of = module.generator_of
    monkeypatch.setattr(module, "generator_of", lambda key: made.append(key) or generator_of(key))
    MANY.integers(np.full(len(PAIRS), 2**31 + 1))
    assert len(made) > len(PAIRS) / 3
    made.clear()
    MANY.integers(np.full(len(PAIRS), 1000))
    assert not made
