"""The menu of evaluation protocols."""

from __future__ import annotations

from pathlib import Path

from vidssl_cli.contract.hooks import EvaluatorOptions, hookimpl
from vidssl_plugins.evaluators.hooks_datasets import Scene, Similarity
from vidssl_plugins.evaluators.hooks_motion import BeforeAfter, Still, Sync
from vidssl_plugins.evaluators.hooks_retrieval import Health, Pretext, Retrieval
from vidssl_plugins.evaluators.hooks_supervised import KNN, SVM, Finetune, Linear, LowShot


@hookimpl
def vidssl_evaluators() -> list[type[EvaluatorOptions]]:
    """Offer the built-in evaluation protocols."""
    return [
        *(KNN, SVM, Finetune, Linear, LowShot),
        *(BeforeAfter, Still, Sync),
        *(Scene, Similarity),
        *(Health, Pretext, Retrieval),
    ]


@hookimpl
def vidssl_published() -> list[Path]:
    """Offer what papers report of these protocols."""
    return [Path(__file__).parents[1] / "published"]
