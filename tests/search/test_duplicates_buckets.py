"""Buckets find the pairs that a comparison of all with all finds."""

import numpy as np
import pytest

from vidssl_cli.search import duplicates_buckets as module
from vidssl_cli.search.columns import Column
from vidssl_cli.search.duplicates_buckets import Clips, similar_clips
from vidssl_cli.search.exact import inverse_lengths


def made(count=1500, dimension=24, copies=150, seed=0, owners=None):
    """Vectors in clusters, some of them near-copies of others."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(30, dimension))
    vectors = centres[draw.integers(0, 30, count)] + draw.normal(size=(count, dimension))
    vectors[-copies:] = vectors[:copies] + 0.2 * draw.normal(size=(copies, dimension))
    return clips(vectors * draw.uniform(0.5, 2, (count, 1)), owners)


def clips(vectors, owners=None, entries=None, scaling=None):
    halves = np.array_split(vectors.astype(np.float32), 2)
    features = Column(halves)
    dimension = vectors.shape[1]
    scaling = np.stack([np.zeros(dimension), np.ones(dimension)]) if scaling is None else scaling
    entries = np.arange(len(vectors)) if entries is None else entries
    owners = np.arange(len(entries)) if owners is None else owners
    return Clips(
        features, scaling, inverse_lengths(features, scaling), entries, owners.astype(np.int32)
    )


def as_set(found):
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def brute(given, threshold):
    unit = given.vectors(np.arange(len(given)))
    first, second = np.nonzero(np.triu(unit @ unit.T >= threshold, 1))
    apart = given.owners[first] != given.owners[second]
    return set(zip(first[apart].tolist(), second[apart].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_buckets_find_nearly_all_pairs(seed, monkeypatch):
    given = made(seed=seed)
    monkeypatch.setattr(module, "_SMALL", 100)
    monkeypatch.setattr(module, "_HOMES", 37)
    monkeypatch.setattr(module, "_VISITORS", 19)
    found, everything = as_set(similar_clips(given, 0.9, 64)), brute(given, 0.9)
    assert len(everything) > 100
    assert found <= everything
    assert len(found) >= 0.99 * len(everything)


def test_few_clips_are_all_compared():
    given = made(300, copies=60)
    found = similar_clips(given, 0.8, 300)
    assert as_set(found) == brute(given, 0.8)
    unit = given.vectors(np.arange(300))
    assert found.cosine == pytest.approx((unit[found.first] * unit[found.second]).sum(1), abs=1e-6)
    assert found.crowded == 0


def test_clips_of_one_video_are_no_pair():
    owners = np.arange(300) % 60
    given = made(300, copies=60, owners=owners)
    assert as_set(similar_clips(given, 0.5, 300)) == {
        (min(pair, key=lambda c: owners[c]), max(pair, key=lambda c: owners[c]))
        for pair in brute(given, 0.5)
    }


def test_the_nearest_are_kept_and_crowds_are_counted(monkeypatch):
    draw = np.random.default_rng(0)
    given = clips(1 + 0.1 * draw.normal(size=(50, 8)))
    monkeypatch.setattr(module, "_HOMES", 7)
    found = similar_clips(given, 0.5, 3)
    assert found.crowded == 50
    unit = given.vectors(np.arange(50)).astype(float)
    cosines = unit @ unit.T - 2 * np.eye(50)
    nearest = {frozenset((n, o)) for n in range(50) for o in np.argsort(-cosines[n])[:3].tolist()}
    assert {frozenset(pair) for pair in as_set(found)} == nearest


def test_only_given_entries_are_compared_standardised():
    draw = np.random.default_rng(0)
    vectors = draw.normal(5, 2, (40, 6))
    vectors[30] = vectors[3]
    scaling = np.stack([vectors.mean(0), 1 / vectors.std(0)])
    entries = np.array([3, 8, 30, 39])
    assert as_set(similar_clips(clips(vectors, entries=entries, scaling=scaling), 0.999, 4)) == {
        (0, 2)
    }


def test_equal_vectors_and_vectors_of_zeros(monkeypatch):
    monkeypatch.setattr(module, "_SMALL", 10)
    given = clips(np.concatenate([np.ones((30, 5)), np.zeros((30, 5))]))
    found = as_set(similar_clips(given, 0.9, 40))
    assert len(found) == 30 * 29 // 2
    assert max(map(max, found)) < 30
