"""Accuracies (T-EV3, T-EV9), nearest neighbours and hits (T-EV4), chance."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    recall_score,
)

from vidssl_cli.contract.metrics import (
    Predictions,
    average_precision,
    average_precision_chance,
    class_accuracy,
    clip_accuracy,
    clip_classes,
    confusion,
    cosine_ranking,
    mean_class_accuracy,
    standardise,
    topk_chance,
    topk_hits,
    video_accuracy,
    video_classes,
)

GALLERY = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.2, 0.8], [-1, 0]])
GALLERY_CLASSES = np.array([0, 1, 1, 2, 0])
QUERIES = np.array([[1, 0.05], [0.1, 1], [-1, 0.2]])
QUERY_CLASSES = np.array([1, 2, 2])


def test_clip_and_video_accuracy():
    probabilities = np.array(
        [
            [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]],
            [[0.1, 0.5, 0.4], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]],
        ]
    )
    labels = np.array([0, 2])
    assert clip_accuracy(probabilities, labels) == 0.5
    assert video_accuracy(probabilities, labels) == 1
    assert clip_classes(probabilities).tolist() == [0, 1, 0, 1, 1, 2]
    assert video_classes(probabilities).tolist() == [0, 2]


def test_videos_may_have_different_numbers_of_clips():
    probabilities = [np.array([[0.9, 0.1]]), np.array([[0.6, 0.4], [0.1, 0.9], [0.6, 0.4]])]
    labels = np.array([0, 0])
    assert clip_accuracy(probabilities, labels) == 3 / 4
    assert video_accuracy(probabilities, labels) == 1 / 2


def test_predictions_count_videos_or_clips():
    probabilities = [np.array([[0.9, 0.1]]), np.array([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7]])]
    predictions = Predictions(probabilities, np.array([0, 0]), 2)
    assert predictions.accuracies() == {"clip_accuracy": 0.5, "video_accuracy": 0.5}
    assert predictions.confusion().tolist() == [[1, 1], [0, 0]]
    assert predictions.confusion("clip").tolist() == [[2, 2], [0, 0]]


def test_accuracy_of_each_class():
    counts = confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), 2)
    assert counts.tolist() == [[1, 1], [1, 2]]
    assert class_accuracy(counts).tolist() == pytest.approx([0.5, 2 / 3])
    assert mean_class_accuracy(counts) == pytest.approx(0.5833, abs=1e-4)
    assert counts.trace() / counts.sum() == 0.6


def test_a_class_without_examples_does_not_count():
    counts = confusion(np.array([0, 0]), np.array([0, 2]), 3)
    np.testing.assert_equal(class_accuracy(counts), [0.5, np.nan, np.nan])
    assert mean_class_accuracy(counts) == 0.5


def test_classes_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    truth = np.concatenate([np.arange(7), random.integers(0, 7, 193)])
    probabilities = random.dirichlet(np.ones(7), (200, 3))
    probabilities[np.arange(200), 0, truth] += 1
    predicted = video_classes(probabilities)
    counts = confusion(truth, predicted, 7)
    assert (counts == confusion_matrix(truth, predicted)).all()
    np.testing.assert_allclose(class_accuracy(counts), recall_score(truth, predicted, average=None))
    assert mean_class_accuracy(counts) == pytest.approx(balanced_accuracy_score(truth, predicted))
    accuracy = accuracy_score(truth, predicted)
    assert video_accuracy(probabilities, truth) == pytest.approx(accuracy)
    assert 1 / 7 < accuracy < 1


def test_hits_among_the_nearest():
    ranking = cosine_ranking(QUERIES, GALLERY, 5)
    assert ranking.tolist() == [[0, 1, 3, 2, 4], [2, 3, 1, 0, 4], [4, 2, 3, 1, 0]]
    hits = topk_hits(ranking, QUERY_CLASSES, GALLERY_CLASSES, (1, 2, 3, 5))
    assert hits == pytest.approx({"top1": 0, "top2": 2 / 3, "top3": 1, "top5": 1})


def test_hits_after_standardising():
    np.testing.assert_allclose(GALLERY.mean(0), [0.22, 0.38])
    np.testing.assert_allclose(GALLERY.std(0), [0.722219, 0.430813], atol=1e-6)
    ranking = cosine_ranking(standardise(QUERIES, GALLERY), standardise(GALLERY, GALLERY), 3)
    hits = topk_hits(ranking, QUERY_CLASSES, GALLERY_CLASSES, (1, 2, 3))
    assert hits == pytest.approx({"top1": 2 / 3, "top2": 2 / 3, "top3": 1})


def test_a_dimension_that_does_not_vary_says_nothing():
    gallery = np.array([[1.0, 0.1, 0], [3, 0.1, 0]])
    queries = np.array([[2.0, 7, 5]])
    assert standardise(gallery, gallery).tolist() == [[-1, 0, 0], [1, 0, 0]]
    assert standardise(queries, gallery).tolist() == [[0, 0, 0]]


def test_equal_items_stay_in_gallery_order():
    item = np.random.default_rng(0).normal(size=257).astype(np.float32)
    gallery = np.stack([item * scale for scale in (1, 2, 0.5, 1, 4, 3, 1, 0.3)] * 50)
    queries = np.stack([item, -item])
    expected = np.tile(np.arange(30), (2, 1))
    assert (cosine_ranking(queries, gallery, 30) == expected).all()


@given(
    seed=st.integers(0, 1000),
    size=st.integers(1, 40),
    top=st.integers(1, 50),
    levels=st.integers(1, 3),
)
def test_agrees_with_brute_force(seed, size, top, levels):
    generator = np.random.default_rng(seed)
    # Few distinct directions, so that there are many ties.
    gallery = generator.integers(1, 1 + levels, (size, 2)).astype(np.float32)
    queries = generator.integers(1, 1 + levels, (7, 2)).astype(np.float32)
    ranking = cosine_ranking(queries, gallery, top)
    assert ranking.shape == (7, min(top, size))
    for query, found in zip(queries, ranking, strict=True):
        cosines = [
            round(float(item @ query / np.linalg.norm(item) / np.linalg.norm(query)), 5)
            for item in gallery
        ]
        brute = sorted(range(size), key=lambda i: -cosines[i])[:top]
        assert found.tolist() == brute


def test_more_queries_than_are_held_at_a_time():
    generator = np.random.default_rng(0)
    gallery, queries = generator.normal(size=(50, 8)), generator.normal(size=(600, 8))
    whole = cosine_ranking(queries, gallery, 5)
    alone = np.concatenate([cosine_ranking(query[None], gallery, 5) for query in queries])
    assert (whole == alone).all()


def test_a_vector_of_zeros_is_as_far_from_everything():
    gallery = np.array([[1.0, 0], [0, 0], [-1, 0]])
    assert cosine_ranking(np.array([[1.0, 0]]), gallery, 3).tolist() == [[0, 1, 2]]


def test_more_neighbours_than_items():
    ranking = cosine_ranking(QUERIES, GALLERY, 50)
    assert topk_hits(ranking, QUERY_CLASSES, GALLERY_CLASSES, (50,)) == {"top50": 1}


def test_chance_by_enumeration():
    subsets = list(combinations(range(5), 2))
    expected = np.mean(
        [
            np.mean([any(GALLERY_CLASSES[i] == label for i in subset) for subset in subsets])
            for label in QUERY_CLASSES
        ]
    )
    chance = topk_chance(QUERY_CLASSES, GALLERY_CLASSES, (1, 2, 50))
    assert chance["top1"] == pytest.approx(np.mean([2, 1, 1]) / 5)
    assert chance["top2"] == pytest.approx(expected)
    assert chance["top50"] == 1


def test_a_class_that_is_not_in_the_gallery_has_no_chance():
    assert topk_chance(np.array([7]), GALLERY_CLASSES, (1, 5)) == {"top1": 0, "top5": 0}


def test_average_precision_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    gallery, queries = generator.normal(size=(60, 5)), generator.normal(size=(20, 5))
    classes, asked = generator.integers(0, 4, 60), generator.integers(0, 4, 20)
    ranking = cosine_ranking(queries, gallery, 60)
    found = average_precision(classes[ranking] == asked[:, None])
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    cosines = queries @ gallery.T / lengths
    expected = [
        average_precision_score(classes == label, scores)
        for label, scores in zip(asked, cosines, strict=True)
    ]
    assert found == pytest.approx(np.array(expected))


def test_average_precision_by_hand():
    right = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    assert average_precision(right).tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4, 0])


def test_average_precision_of_ties_is_that_of_the_gallery_order():
    ranking = cosine_ranking(np.array([[1.0, 0]]), np.array([[2.0, 0], [1, 0], [3, 0]]), 3)
    found = [
        average_precision(np.array(classes)[ranking] == 1).item()
        for classes in ([1, 0, 0], [0, 1, 0], [0, 0, 1])
    ]
    assert found == pytest.approx([1, 1 / 2, 1 / 3])


@pytest.mark.parametrize("gallery", [(0, 0, 1, 1, 2), (0, 1), (0,), (0, 0, 0), (1,)])
def test_chance_of_average_precision_by_enumeration(gallery):
    classes = np.array(gallery)
    right = np.array([classes[list(order)] == 0 for order in permutations(range(len(classes)))])
    expected = average_precision(right).mean()
    assert average_precision_chance(np.array([0]), classes) == pytest.approx(expected)
