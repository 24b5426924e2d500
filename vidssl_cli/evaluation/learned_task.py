"""Tasks of evaluation that a whole network learns: once, and found when they are needed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.evaluation.trained_once import trained_once
from vidssl_cli.training.pretrain import pretrain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.encoder import Encoder


def learn_once(
    folder: Path,
    recipe: PretrainRecipe,
    data: Sequence[Video],
    start: Encoder | None,
    device: str,
    workers: int | None = None,
) -> Path:
    """Return the run below a folder that learned a task, which is trained unless it was before.

    Args:
        folder: Where such runs are.
        recipe: The task, and how it is learned.
        data: Videos to train on.
        start: Network to start from; None starts from random weights.
        device: As on the command line.
        workers: Likewise.
    """
    return trained_once(
        folder / ("learned" if start else "scratch"), recipe, data, [start and start.digest],
        device, workers, lambda session: pretrain(recipe, data, session, start=start),
    )  # fmt: skip
