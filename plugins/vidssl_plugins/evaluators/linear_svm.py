"""The linear SVM of protocols that name no more than that."""

from __future__ import annotations

from typing import Any

from vidssl_plugins.evaluators.classifiers import need_scikit_learn


def linear_svm(penalty: float) -> Any:
    """Return scikit-learn's linear SVM, one class against the rest.

    It solves the primal problem, which needs no random numbers.

    Args:
        penalty: Inverse strength of the L2 penalty (C).

    Raises:
        UsageError: scikit-learn is not installed.
    """
    need_scikit_learn()
    from sklearn.svm import LinearSVC

    return LinearSVC(C=penalty, dual=False)
