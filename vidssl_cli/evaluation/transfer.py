"""Fine-tuned networks for evaluation: trained where they are not there yet, and asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import FinetuneRecipe
from vidssl_cli.data.manifest import digest
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.learner import FinetuneLearner
from vidssl_cli.model.run_directory import FACTS, RECIPE, intact, read_facts
from vidssl_cli.model.weights import load_weights, read_newest, read_tensors
from vidssl_cli.training.finetune import finetune
from vidssl_cli.training.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.contract.videos import Video


@dataclass(frozen=True)
class Source:
    """Where fine-tuning starts from."""

    run: Path
    """Run or exported model."""
    checkpoint: str
    """Of a run."""
    weights: str
    """Their digest."""
    scratch: bool
    """Whether random weights take the place of these."""


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned network."""

    encoder: Encoder
    learner: FinetuneLearner
    classes: Sequence[str]
    left_out: int
    """Training videos that could not be used."""

    @classmethod
    def load(cls, run: Path, device: str) -> Classifier:
        """Load the last checkpoint of a run of `vidssl finetune`."""
        recipe = load(intact(run, RECIPE))
        assert isinstance(recipe, FinetuneRecipe)
        facts = read_facts(run)
        classes = facts["classes"]
        encoder = Encoder.load(run, device)
        learner = FinetuneLearner(cast(Any, encoder.backbone), len(classes), recipe)
        last, tensors = read_newest(run, "last", read_tensors)
        load_weights(learner, tensors, last)
        learner.to(encoder.device).eval()
        return cls(encoder, learner, classes, facts["skipped"])


def finetuned(
    folder: Path, recipe: FinetuneRecipe, data: Sequence[Video], source: Source, device: str
) -> Classifier:
    """Return a classifier that is trained below a folder, unless it was before.

    Training that was interrupted goes on. Its directory is named by the digest of everything that
    the classifier depends on. Test videos that cannot be read are an error, since accuracy on fewer
    videos would be another figure; training videos are named, counted and left out.
    """
    asked = [recipe.model_dump(mode="json"), digest(data), source.weights, source.scratch]
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
    run = folder / f"{'scratch' if source.scratch else 'finetuned'}-{name}"
    if not (run / FACTS).is_file() or read_facts(run)["state"] != "finished":
        finetune(
            recipe,
            data,
            source.run,
            Session(run, resume=True, device=device),
            checkpoint=source.checkpoint,
            scratch=source.scratch,
            complete=True,
        )
    return Classifier.load(run, device)
