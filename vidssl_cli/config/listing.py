"""Lists the recipes that can be named, with their methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidssl_cli.config import yaml_source
from vidssl_cli.config.load import names, shipped
from vidssl_cli.contract.entry_points import OURS
from vidssl_cli.contract.registry import registry


@dataclass(frozen=True)
class Outline:
    """The main parts of a recipe, as its file has them, unchecked."""

    name: str
    path: Path
    package: str
    """The distribution that ships it."""
    folder: str
    """First part of its name: ``small`` for ``small/pace``, empty for ``demo``."""
    summary: str
    """One line, or why the file cannot be read."""
    task: str | None
    backbone: Mapping[str, Any] | None
    """As written; None for fine-tuning, whose network is that of the run."""
    sampler: str | None
    pretexts: tuple[tuple[str, str | None, float], ...]
    """Name, label (if it has that option) and weight of each."""

    def method(self) -> str:
        """Return backbone, sampler and pretexts on one line."""
        backbone = dict(self.backbone or {"name": "the network of a run"})
        network = str(backbone.pop("name", None))
        network += "".join(f" {key} {value}" for key, value in backbone.items())
        parts = [
            " ".join(filter(None, ["" if weight == 1 else f"{weight:g}", name, label]))
            for name, label, weight in self.pretexts
        ]
        return " · ".join(filter(None, [network, self.sampler, " + ".join(parts)]))


def outlines() -> list[Outline]:
    """Return all recipes: those without folder, small ones, other folders, other packages."""
    found = [outline(name, path) for name, path in names().items()]
    return sorted(
        found, key=lambda o: (o.package != OURS, o.package, o.folder not in ("", "small"))
    )


def outline(name: str, path: Path) -> Outline:
    """Read the main parts of a recipe."""
    read = yaml_source.read(path)
    data, summary = read.data, ""
    if read.problems or not isinstance(data, dict):
        data, summary = {}, f"cannot be read: {(read.problems or ['no mapping of keys'])[0]}"
    pretexts = data.get("pretext")
    items = pretexts if isinstance(pretexts, list) else [pretexts] if pretexts else []
    backbone = data.get("backbone")
    return Outline(
        name=name,
        path=path,
        package=_package(path),
        folder=name.rpartition("/")[0],
        summary=summary or str(data.get("summary", "")),
        task=str(data.get("task", "pretrain")) if data else None,
        backbone=backbone if isinstance(backbone, dict) else None,
        sampler=_name(data.get("sampler")),
        pretexts=tuple((_name(item) or "?", _label(item), _weight(item)) for item in items),
    )


def _package(path: Path) -> str:
    if path.is_relative_to(shipped()):
        return OURS
    folders = registry().recipe_folders
    return next((folders[folder] for folder in folders if path.is_relative_to(folder)), "")


def _name(value: Any) -> str | None:
    return str(value["name"]) if isinstance(value, dict) and "name" in value else None


def _label(value: Any) -> str | None:
    return str(value["label"]) if isinstance(value, dict) and "label" in value else None


def _weight(value: Any) -> float:
    weight = value.get("weight", 1) if isinstance(value, dict) else 1
    return float(weight) if isinstance(weight, int | float) else 1.0
