"""Tasks of evaluation that a whole network learns: once, and found when they are needed again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.data.manifest import digest
from vidssl_cli.model.run_directory import FACTS, read_facts
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session

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
) -> Path:
    """Return the run below a folder that learned a task, which is trained unless it was before.

    Training that was interrupted continues. The run is named by the digest of everything that it
    depends on.

    Args:
        folder: Where such runs are.
        recipe: The task, and how it is learned.
        data: Videos to train on.
        start: Network to start from; None starts from random weights.
        device: As on the command line.
    """
    asked = [recipe.model_dump(mode="json"), digest(data), start and start.digest]
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
    run = folder / f"{'learned' if start else 'scratch'}-{name}"
    if not (run / FACTS).is_file() or read_facts(run)["state"] != "finished":
        pretrain(recipe, data, Session(run, resume=True, device=device), start=start)
    return run
