"""Classifiers on one vector for each video: logistic regression, SVM, nearest neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import cosine_ranking, unit

Classifier = Callable[
    [NDArray[np.floating[Any]], NDArray[np.int64], NDArray[np.floating[Any]]],
    NDArray[np.int64],
]
"""Maps training features (N, D), their classes (N,) and features (M, D) to classes (M,), or to
(M, n) classes, the most probable first."""

FOLDS = 5
"""Of the cross-validation, or as many as the smallest class has training videos."""


def logistic(penalties: Sequence[float]) -> Classifier:
    """Return logistic regression whose C is chosen by stratified cross-validation.

    Raises:
        UsageError: scikit-learn is missing.
    """
    need_scikit_learn()
    from sklearn.linear_model import LogisticRegression

    return _searched(LogisticRegression(max_iter=500), penalties)


def svm(penalties: Sequence[float], seed: int = 0) -> Classifier:
    """Return one linear SVM for each class against the rest, C chosen by cross-validation.

    Raises:
        UsageError: scikit-learn is missing.
    """
    need_scikit_learn()
    from sklearn.svm import LinearSVC

    return _searched(LinearSVC(random_state=seed), penalties)


def linear_svm(penalty: float) -> Any:
    """Return scikit-learn's linear SVM, one class against the rest, for protocols with one C.

    It solves the primal problem, which needs no random numbers.

    Args:
        penalty: Inverse strength of the L2 penalty (C).

    Raises:
        UsageError: scikit-learn is missing.
    """
    need_scikit_learn()
    from sklearn.svm import LinearSVC

    return LinearSVC(C=penalty, dual=False)


def nearest(neighbours: int = 1, temperature: float | None = None) -> Classifier:
    """Return the vote of the nearest training features by cosine; see `ranked_by_votes`."""
    ranked = ranked_by_votes(neighbours, temperature)
    return lambda train, classes, others: ranked(train, classes, others)[:, 0]


def ranked_by_votes(neighbours: int, temperature: float | None = None) -> Classifier:
    """Return what ranks classes by the votes of the nearest training features by cosine.

    It maps features (M, D) to (M, neighbours) classes, those with most votes first, each once, and
    then -1.

    Args:
        neighbours: How many vote. Between classes with equal votes the nearest decides.
        temperature: None gives each neighbour one vote, else it has exp(cosine / temperature).
    """

    def classify(
        train: NDArray[np.floating[Any]],
        classes: NDArray[np.int64],
        others: NDArray[np.floating[Any]],
    ) -> NDArray[np.int64]:
        ranking = cosine_ranking(others, train, neighbours)
        near = classes[ranking]
        votes = np.ones(near.shape)
        if temperature is not None:
            cosines = np.einsum("qd,qkd->qk", unit(others), unit(train)[ranking])
            votes = np.exp((cosines - 1) / temperature)
        same = near[:, :, None] == near[:, None]
        # Rounded, so that equal sums tie in whatever order they were added.
        totals = np.round((same * votes[:, None]).sum(2), 9)
        again = np.tril(same, -1).any(2)  # a nearer neighbour has this class already
        order = np.where(again, np.inf, -totals).argsort(1, kind="stable")
        ranked: NDArray[np.int64] = np.take_along_axis(np.where(again, -1, near), order, 1)
        return ranked

    return classify


def _searched(model: Any, penalties: Sequence[float]) -> Classifier:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    def classify(
        train: NDArray[np.floating[Any]],
        classes: NDArray[np.int64],
        others: NDArray[np.floating[Any]],
    ) -> NDArray[np.int64]:
        smallest = np.unique(classes, return_counts=True)[1].min()
        choice = GridSearchCV(model, {"C": list(penalties)}, cv=min(FOLDS, int(smallest)))
        chosen = choice if len(penalties) > 1 else model.set_params(C=penalties[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # separable: any solution will do
            predicted: NDArray[np.int64] = chosen.fit(train, classes).predict(others)
        return predicted

    return classify


def need_scikit_learn() -> None:
    """Check that scikit-learn is there.

    Raises:
        UsageError: scikit-learn is missing.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise UsageError(
            "this protocol needs scikit-learn, which is not installed",
            hint="pip install 'vidssl[probe]'",
        ) from None
