"""The menu of evaluation protocols."""

from __future__ import annotations

from vidssl_cli.hooks import EvaluatorOptions, hookimpl
from vidssl_plugins.evaluators.hooks_retrieval import Health, Pretext, Retrieval
from vidssl_plugins.evaluators.hooks_supervised import KNN, SVM, Finetune, Linear, LowShot


@hookimpl
def vidssl_evaluators() -> list[type[EvaluatorOptions]]:
    """Offer the built-in evaluation protocols."""
    return [KNN, SVM, Finetune, Health, Linear, LowShot, Pretext, Retrieval]
