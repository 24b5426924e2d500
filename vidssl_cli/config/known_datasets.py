"""Data sets by name, recognised by their classes.

Folders of published figures say in `datasets.yaml` which there are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import read_model, tolerated
from vidssl_cli.config.problems import nearest
from vidssl_cli.config.sections import Corpus, Section
from vidssl_cli.contract.registry import registry
from vidssl_cli.contract.videos import Video

DATASETS = "datasets.yaml"
"""The file of a folder that names data sets and their classes."""
NOTHING = Corpus(name="none")
"""What random weights were trained on."""


class DataSet(Section):
    """What is known of a data set."""

    classes: tuple[str, ...] = ()
    """As its folders spell them."""


@functools.cache
def datasets() -> Mapping[str, DataSet]:
    """Return the known data sets by name.

    Raises:
        RecipeError: A file of our own cannot be understood.
    """
    known: dict[str, DataSet] = {}
    for folder, package in registry().published_folders.items():
        if (file := folder / DATASETS).is_file():
            with tolerated(package, file):
                known = read_model(dict[str, DataSet], file) | known
    return known


def recognise(videos: Iterable[Video], name: str | None = None) -> Corpus | None:
    """Say which data set the videos are of, and how many of its classes they have.

    Without a name they are those of the one data set that has all their classes.

    Args:
        videos: With labels, if it is to be recognised by them.
        name: The data set, if somebody said so.

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
    return Corpus(name=name, classes=len(labels) if classes else None, of=len(classes) or None)
