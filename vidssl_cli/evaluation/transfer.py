"""Fine-tuning for evaluation: a classifier is trained once, and found when it is needed again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.data.manifest import digest
from vidssl_cli.model.run_directory import FACTS, read_facts
from vidssl_cli.training.finetune import finetune
from vidssl_cli.training.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.config.recipe import FinetuneRecipe
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


def finetune_once(
    folder: Path, recipe: FinetuneRecipe, data: Sequence[Video], source: Source, device: str
) -> Path:
    """Return the run of a classifier below a folder, which is trained unless it was before.

    Training that was interrupted continues. The run is named by the digest of everything that the
    classifier depends on. Test videos that cannot be read are an error, since accuracy on fewer
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
    return run
