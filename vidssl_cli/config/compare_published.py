"""Compares a measurement with published figures.

A published row says in which settings it differs from the measurement, as far as both are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from vidssl_cli.base.console import emit, emit_table
from vidssl_cli.config.known_datasets import NOTHING
from vidssl_cli.config.published import rows, trained_on, under
from vidssl_cli.config.sections import DataSet
from vidssl_cli.contract.hooks import BackboneOptions
from vidssl_cli.contract.reports import PublishedRow

if TYPE_CHECKING:
    from vidssl_cli.config.sections import Input

FEW = 5
"""Published rows that are shown."""

NETWORK, PRETRAINING, SETTING = 8, 4, 1
"""Weights of differences: another network says more than several settings."""


@dataclass(frozen=True)
class Measured:
    """How a measurement was made."""

    evaluator: str
    dataset: DataSet | None
    metrics: Sequence[str]
    backbone: BackboneOptions
    pretraining: DataSet | None
    settings: Mapping[str, Any]
    """Of those that `Setting` names; what is not there is not compared. ``trained_stride`` is that
    of the clips that a classifier is trained on."""
    own: Sequence[str] = ()
    """Keys of the rows that the recipe reproduces: they come first among equals."""
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """As in `vidssl_cli.contract.reports.Report`."""


class Difference(NamedTuple):
    """A setting in which a published row differs from the measurement."""

    text: str
    weight: int
    """`NETWORK`, `PRETRAINING` or `SETTING`."""


def closest_published(measured: Measured) -> list[PublishedRow]:
    """Return the published rows of the same protocol and data set, the closest first.

    Each says what differs. One experiment that several papers report is one row, that of the paper
    which states most settings; the others are its ``also``.
    """
    if measured.dataset is None:
        return []
    found = [
        row
        for row in rows()
        if row.dataset == measured.dataset.name
        and row.evaluator == measured.evaluator
        and row.figures.keys() & set(measured.metrics)
    ]
    found.sort(key=lambda row: (not under(row, measured.own), -_stated(row)))
    experiments: list[list[PublishedRow]] = []
    for row in found:
        same = (group for group in experiments if _same_experiment(group[0], row))
        group = next(same, None)
        experiments.append([row]) if group is None else group.append(row)
    differing = [(group, differences(group[0], measured)) for group in experiments]
    differing.sort(key=lambda each: sum(difference.weight for difference in each[1]))
    return [
        replace(
            row,
            differs=[difference.text for difference in differs],
            also=sorted({other.source for other in others} - {row.source}),
        )
        for (row, *others), differs in differing
    ]


def differences(row: PublishedRow, measured: Measured) -> list[Difference]:
    """Return the settings in which a published row differs, network first."""
    return [*_of_network(row, measured), *_of_data(row, measured), *_of_settings(row, measured)]


def show(found: Sequence[PublishedRow], evaluator: str, metrics: Sequence[str]) -> None:
    """Print the closest published rows, and below them their sources and what differs."""
    if not found:
        return
    dataset, closest = found[0].dataset, list(enumerate(found[:FEW], start=1))
    metrics = [name for name in metrics if any(name in row.figures for _, row in closest)]
    cells: list[list[object]] = []
    for number, row in closest:
        figures = (row.figures.get(metric) for metric in metrics)
        percent = (None if figure is None else round(100 * figure, 2) for figure in figures)
        cells.append([f"{number} {row.name}", *percent])
    emit_table(f"published on {dataset}, percent", ["method", *metrics], cells)
    for number, row in closest:
        source = row.source + (f" and {len(row.also)} more" if row.also else "")
        differs = "; ".join(row.differs) or "nothing that is stated"
        for line in _fill(f"{number} {source}; differs: {differs}"):
            emit(line)
    if len(found) > FEW:
        name = f'"{dataset}"' if " " in dataset else dataset
        emit(f"all {len(found)}: vidssl published --evaluator {evaluator} --dataset {name}")


def splits(numbers: Sequence[int]) -> str:
    """Return official splits as published rows write them: ``1``, or ``1-3`` for a mean."""
    first, last = min(numbers), max(numbers)
    if len(numbers) == 1 or sorted(numbers) != [*range(first, last + 1)]:
        return ", ".join(map(str, sorted(numbers)))
    return f"{first}-{last}"


def seen(sight: Input, frames: int) -> dict[str, Any]:
    """Return what a network sees, as published rows say it of theirs."""
    modality = "RGB" if sight.mode == "rgb" else f"{sight.mode} frames"
    return {"input": sight.crop, "frames": frames, "modality": modality}


def _fill(text: str) -> list[str]:
    return wrap(text, 80, subsequent_indent="  ", break_on_hyphens=False)


def _stated(row: PublishedRow) -> int:
    """Return how many settings a row states."""
    return len(row.setting)


def _same_experiment(one: PublishedRow, other: PublishedRow) -> bool:
    shared = one.figures.keys() & other.figures.keys()
    return (
        one.setting.get("method") == other.setting.get("method")
        and (one.backbone == other.backbone or None in (one.backbone, other.backbone))
        and bool(shared)
        and all(one.figures[metric] == other.figures[metric] for metric in shared)
    )


def _of_network(row: PublishedRow, measured: Measured) -> Iterator[Difference]:
    backbone = measured.backbone
    network = row.setting.get("network")
    if network is None:
        yield Difference("network not stated", NETWORK)
    elif row.backbone is None or row.backbone["name"] != backbone.name:
        depth = f"-{backbone.depth}" if hasattr(backbone, "depth") else ""
        yield Difference(f"network {network}, not {backbone.name}{depth}", NETWORK)
    else:
        theirs = _outline(type(backbone).model_validate(dict(row.backbone)))
        ours = _outline(backbone)
        for name in ours:
            if theirs[name] != ours[name]:
                text = f"{name} {_plain(theirs[name])}, not {_plain(ours[name])}"
                yield Difference(text, SETTING)


def _outline(backbone: BackboneOptions) -> dict[str, Any]:
    """Return the options of a backbone, and of its norm what says which one it is."""
    options = backbone.model_dump()
    if norm := options.get("norm"):
        options["norm"] = " ".join(str(norm[key]) for key in ("name", "frames") if key in norm)
    return options


def _of_data(row: PublishedRow, measured: Measured) -> Iterator[Difference]:
    theirs, ours = trained_on(row), measured.pretraining
    if theirs is None:
        yield Difference("pre-training not stated", PRETRAINING)
    elif ours is not None and ours.name == theirs and not ours.whole:
        part = f"{ours.classes} of its {ours.of} classes"
        yield Difference(f"pre-trained on {theirs}, not on {part}", SETTING)
    elif ours is None or theirs != ours.name:
        if theirs == NOTHING.name:
            text = "random weights, not pre-trained"
        elif ours == NOTHING:
            text = f"pre-trained on {theirs}, not random weights"
        else:
            text = f"pre-trained on {theirs}, not on {ours.name if ours else 'an unknown set'}"
        yield Difference(text, PRETRAINING)
    dataset = measured.dataset
    if dataset is not None and not dataset.whole:
        yield Difference(f"all classes, not {dataset.classes} of {dataset.of}", SETTING)
    for split, share in measured.left_out.items():
        yield Difference(f"all {split} videos, not {share['used']} of {share['of']}", SETTING)


_TEMPLATES = {
    "splits": "split {}",
    "input": "input {0} x {0}",
    "frames": "{} frames",
    "stride": "stride {}",
    "modality": "{}",
    "level": "by {}",
    "clips": "{} clips",
    "tap": "{}",
    "pool": "{}",
    "standardise": "standardised: {}",
    "head": "head {}",
}
"""How the value of a setting is written."""


def _of_settings(row: PublishedRow, measured: Measured) -> Iterator[Difference]:
    theirs = {"modality": "RGB", **row.setting}
    for name, text in _TEMPLATES.items():
        ours = measured.settings.get(name)
        if name in theirs and ours is not None and theirs[name] != ours:
            told = f"{text.format(_plain(theirs[name]))}, not {_plain(ours)}"
            yield Difference(told, SETTING)
    trained, tested = (measured.settings.get(name) for name in ("trained_stride", "stride"))
    if trained is not None and trained != tested:
        yield Difference(f"one stride, not {trained} in training and {tested} in test", SETTING)


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
