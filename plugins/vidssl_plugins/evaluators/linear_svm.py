"""The linear SVM of protocols that name no more than that."""

from __future__ import annotations

from typing import Any

from vidssl_cli.errors import UsageError


def linear_svm(evaluator: str, penalty: float) -> Any:
    """Return scikit-learn's linear SVM, one class against the rest.

    It solves the primal problem, which needs no random numbers.

    Args:
        evaluator: Who asks for it.
        penalty: Inverse strength of the L2 penalty (C).

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import LinearSVC
    except ImportError:
        raise UsageError(
            f"{evaluator} needs scikit-learn, which is not installed",
            hint="pip install 'vidssl[probe]'",
        ) from None
    return LinearSVC(C=penalty, dual=False)
