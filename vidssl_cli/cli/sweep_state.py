"""What of a sweep is done: runs that are finished, protocols that were measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import digest
from vidssl_cli.evaluation.stored_reports import evaluation_files, read_evaluation
from vidssl_cli.model import run_directory


def is_finished(run: Path, recipe: PretrainRecipe) -> bool:
    """Tell whether a run of this recipe is finished.

    Raises:
        UsageError: The folder holds a run of another recipe.
    """
    if not (run / run_directory.FACTS).is_file():
        return False
    if load(run_directory.verify_file(run, run_directory.RECIPE)) != recipe.without_loggers():
        raise UsageError(
            f"{run} was made by another recipe, or with other settings",
            where=str(run / run_directory.RECIPE),
            hint="choose another --out, or give the settings that the runs there have",
        )
    return run_directory.state_of(run, run_directory.read_facts(run)) == "finished"


def is_measured(
    run: Path,
    evaluator: str,
    options: Mapping[str, Any],
    data: str,
    videos: Callable[[str], Sequence[Video]],
) -> bool:
    """Tell whether a run has a report of its last checkpoint by a protocol on these data."""
    last = run_directory.checkpoint_name(run, "last")
    for path in evaluation_files(run):
        with suppress(DamagedFileError):  # it is made again
            found = read_evaluation(path)
            asked = (evaluator, options, "last", last)
            if (found.evaluator, found.options, found.checkpoint, found.trained) == asked and (
                found.data == digest(videos(data))
            ):
                return True
    return False
