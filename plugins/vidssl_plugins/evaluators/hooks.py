"""The built-in evaluators: protocols, and the figures that papers report of them."""

from __future__ import annotations

from pathlib import Path

from vidssl_cli.contract.hooks import EvaluatorOptions, hookimpl
from vidssl_plugins.evaluators.options.attentive import Attentive
from vidssl_plugins.evaluators.options.before_after import BeforeAfter
from vidssl_plugins.evaluators.options.few_labels import FewLabels
from vidssl_plugins.evaluators.options.finetune import Finetune
from vidssl_plugins.evaluators.options.health import Health
from vidssl_plugins.evaluators.options.invariance import Invariance
from vidssl_plugins.evaluators.options.knn import KNN
from vidssl_plugins.evaluators.options.linear import Linear
from vidssl_plugins.evaluators.options.low_shot import LowShot
from vidssl_plugins.evaluators.options.pretext import Pretext
from vidssl_plugins.evaluators.options.retrieval import Retrieval
from vidssl_plugins.evaluators.options.scene import Scene
from vidssl_plugins.evaluators.options.similarity import Similarity
from vidssl_plugins.evaluators.options.still import Still
from vidssl_plugins.evaluators.options.svm import SVM
from vidssl_plugins.evaluators.options.sync import Sync


@hookimpl
def vidssl_evaluators() -> list[type[EvaluatorOptions]]:
    """Offer the built-in evaluation protocols."""
    return [
        KNN,
        SVM,
        Finetune,
        Linear,
        Attentive,
        LowShot,
        FewLabels,
        BeforeAfter,
        Still,
        Sync,
        Scene,
        Similarity,
        Health,
        Invariance,
        Pretext,
        Retrieval,
    ]


@hookimpl
def vidssl_published() -> list[Path]:
    """Offer what papers report of these protocols."""
    return [Path(__file__).parents[1] / "published"]
