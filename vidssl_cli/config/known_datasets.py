"""Known data sets, by name or identified by their classes.

Folders of published figures list them in `datasets.yaml`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import read_model, tolerated
from vidssl_cli.config.problems import nearest
from vidssl_cli.config.sections import DataSet, Section
from vidssl_cli.contract.registry import registry
from vidssl_cli.contract.videos import Video

DATASETS = "datasets.yaml"
"""The file that lists data sets and their classes."""
NOTHING = DataSet(name="none")
"""The pre-training set of random weights."""


class KnownDataSet(Section):
    """A data set in `datasets.yaml`."""

    classes: tuple[str, ...] = ()
    """Names of its folders."""


@functools.cache
def datasets() -> Mapping[str, KnownDataSet]:
    """Return the known data sets by name.

    Raises:
        RecipeError: A file of our own cannot be understood.
    """
    known: dict[str, KnownDataSet] = {}
    for folder, package in registry().published_folders.items():
        if (file := folder / DATASETS).is_file():
            with tolerated(package, file):
                known = read_model(dict[str, KnownDataSet], file) | known
    return known


def identify_dataset(videos: Iterable[Video], name: str | None = None) -> DataSet | None:
    """Return the data set that videos are of, with how many of its classes they have.

    Args:
        videos: With labels, if there is no name.
        name: The data set; if None, it is the only one that has all labels, or unknown.

    Raises:
        UsageError: No data set has this name.
    """
    labels = {video.label for video in videos if video.label is not None}
    known = datasets()
    if name is None:
        fitting = [each for each in known if len(labels) > 1 and labels <= {*known[each].classes}]
        if len(fitting) != 1:
            return None
        (name,) = fitting
    names = {each.casefold(): each for each in known}
    if name.casefold() not in names:
        raise UsageError(
            f"no data set is called {name!r}{nearest(name, known)}",
            where="--dataset",
            hint=f"known are {', '.join(known)}",
        )
    name = names[name.casefold()]
    classes = known[name].classes
    return DataSet(name=name, classes=len(labels) if classes else None, of=len(classes) or None)
