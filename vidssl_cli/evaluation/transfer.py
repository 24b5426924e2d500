"""Fine-tuning for evaluation: a classifier is trained once, and found when it is needed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.evaluation.trained_once import trained_once
from vidssl_cli.training.finetune import finetune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.training.session import Session


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
    folder: Path,
    recipe: FinetuneRecipe,
    data: Sequence[Video],
    source: Source,
    device: str,
    workers: int | None = None,
) -> Path:
    """Return the run of a classifier below a folder, which is trained unless it was before.

    Test videos that cannot be read are an error, since accuracy on fewer
    videos would be another figure; training videos are named, counted and left out.
    """

    def train(session: Session) -> None:
        finetune(
            recipe, data, source.run, session,
            checkpoint=source.checkpoint, scratch=source.scratch, complete=True,
        )  # fmt: skip

    prefix = folder / ("scratch" if source.scratch else "finetuned")
    start = [source.weights, source.scratch]
    return trained_once(prefix, recipe, data, start, device, workers, train)
