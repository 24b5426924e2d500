"""Damaged videos among healthy ones: what the network says of the healthy ones stays the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torture._footage import DAMAGE, KINDS, write
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.data.scan import open_data
from vidssl_cli.model.card import Card
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.run_directory import read_rows
from vidssl_cli.search.build import build_index
from vidssl_cli.search.store import open_index
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.backbones.hooks import R3D

RECIPE: Mapping[str, Any] = {
    "input": {"resize": [24, 32], "crop": 16},
    "backbone": {"name": "r3d", "depth": 10, "width": 4},
    "sampler": {"name": "pace", "views": 2, "frames": 8, "paces": [1, 2]},
    "pretext": [{"name": "pace"}],
    "train": {
        "epochs": 1,
        "batch_videos": 4,
        "precision": "fp32",
        "optimizer": {"name": "sgd", "lr": 0.01},
    },
}
HEALTHY, HURT = 6, 4
"""Videos of a case."""


def prepare(shared: Path) -> None:
    """Write a video of every kind, and a network."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        write(shared / f"{name}{kind.suffix}", kind, seed)
    torch.manual_seed(0)
    backbone = R3D(name="r3d", width=4)
    size = Input(resize=(24, 32), crop=16)
    card = Card(backbone=backbone, input=size, frames=8, evaluation=Evaluation(clips=3), seed=0)
    Encoder(card, backbone.build(), torch.device("cpu")).export(shared / "model")


def run(case: Case) -> Facts:
    """Scan, index and train with damaged videos between the healthy ones, and without them.

    In every second case the damage comes after the scan, so that only reading can notice it.
    """
    late = bool(case.number % 2)
    names = [f"{name}{kind.suffix}" for name, kind in KINDS.items()]
    healthy = case.random.sample(names, HEALTHY)
    hurt = case.random.sample(names, HURT)
    mixed, alone = case.folder / "mixed", case.folder / "alone"
    for folder in (mixed, alone):
        folder.mkdir()
        for name in healthy:
            shutil.copyfile(case.shared / name, folder / f"good {name}")
    for name in hurt:
        path = mixed / f"{case.random.randrange(10)} bad {name}"  # some before, some after
        content = (case.shared / name).read_bytes()
        path.write_bytes(content if late else _damage(case, content))
    videos, broken = open_data(mixed)
    if late:
        for path in mixed.glob("* bad *"):
            path.write_bytes(_damage(case, path.read_bytes()))

    encoder = Encoder.load(case.shared / "model", "cpu")
    summary = build_index(encoder, videos, case.folder / "index", broken=broken)
    found = _features(case.folder / "index")
    build_index(encoder, open_data(alone)[0], case.folder / "index alone")
    expected = _features(case.folder / "index alone")
    for name, features in expected.items():
        if name not in found or not np.array_equal(found[name], features):
            raise Broken(f"the embedding of {name} is another beside damaged videos")
    named = {Path(row["path"]).name for row in summary.broken if row["reason"]}
    unread = {path.name for path in mixed.iterdir()} - found.keys()
    if named != unread:
        raise Broken(f"neither embedded nor named, or both: {named ^ unread}")

    recipe = PretrainRecipe.model_validate(RECIPE)
    outcome = pretrain(recipe, videos, Session(case.folder / "run", device="cpu"), broken)
    rows = read_rows(case.folder / "run" / "bad_media.jsonl")  # none if no damage was met
    skipped = {Path(row["path"]).name for row in rows}
    if outcome.skipped != len(skipped) or not {Path(e.where or "").name for e in broken} <= skipped:
        raise Broken(f"training names {skipped}, the scan {broken}")
    return {"late": late, "named": len(named), "hurt": HURT, "compared": len(expected)}


def _damage(case: Case, content: bytes) -> bytes:
    """Damage a file in one of all ways."""
    return bytes(case.random.choice(DAMAGE)(bytearray(content), case.random))


def _features(folder: Path) -> dict[str, np.ndarray]:
    """Return what an index holds, (clips, D) by file name."""
    gallery = open_index(folder).gallery
    return {
        Path(gallery.videos[item].path).name: gallery.features["clip"][gallery.part(item)]
        for item in gallery.items.tolist()
    }


def summary(facts: Sequence[Facts]) -> str:
    """Put the figures of all cases into a sentence."""
    compared, named = (sum(fact[key] for fact in facts) for key in ("compared", "named"))
    hurt = sum(fact["hurt"] for fact in facts)
    return (
        f"{compared} embeddings are bit for bit those of a run without the {hurt} damaged videos, "
        f"{named} of which are named."
    )


SUITE = Suite(
    promise="damaged videos change no bit of what the network says of the others, and are named by "
    "scan, index and training, also where the damage came after the scan",
    cases=200,
    share=(0, 1),
    run=run,
    prepare=prepare,
    summary=summary,
)
