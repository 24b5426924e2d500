"""Runs that evaluation trains: once, and found when they are needed again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.data.manifest import digest
from vidssl_cli.model.run_directory import FACTS, read_facts
from vidssl_cli.training.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from vidssl_cli.contract.videos import Video


def trained_once(
    prefix: Path,
    recipe: BaseModel,
    data: Sequence[Video],
    start: Sequence[Any],
    device: str,
    workers: int | None,
    train: Callable[[Session], object],
) -> Path:
    """Return a finished run, which is trained unless it was before.

    Training that was interrupted continues. The run is named by the digest of everything that it
    depends on.

    Args:
        prefix: Folder of such runs, and what the name begins with.
        recipe: What is trained, and how.
        data: Videos to train on.
        start: Plain values that tell what training starts from.
        device: As on the command line.
        workers: Likewise.
        train: Trains it.
    """
    asked = [recipe.model_dump(mode="json"), digest(data), *start]
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
    run = prefix.with_name(f"{prefix.name}-{name}")
    if not (run / FACTS).is_file() or read_facts(run)["state"] != "finished":
        train(Session(run, resume=True, device=device, workers=workers))
    return run
