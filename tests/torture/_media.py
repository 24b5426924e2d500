"""What commands need to be tried: videos of moving noise, and a recipe of a second."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe

RECIPE = {
    "input": {"resize": [24, 32], "crop": 16},
    "backbone": {"name": "r3d", "depth": 10, "width": 4},
    "sampler": {"name": "pace", "frames": 4, "paces": [1, 2]},
    "pretext": [{"name": "pace"}],
    "evaluation": {"clips": 2},
    "train": {
        "epochs": 3,
        "batch_videos": 4,
        "precision": "fp32",
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "schedule": {"name": "constant"},
    },
}


def write_noise(path: Path, seed: int, *, frames: int = 40, step: int = 1) -> None:
    """Write a video of noise, 32 by 48 pixels, that moves by so many pixels from frame to frame."""
    noise = np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    moving = [np.roll(noise, step * number, axis=1) for number in range(frames)]
    write_mp4(path, np.stack(moving), 25)


def write_media(shared: Path) -> None:
    """Write ``videos/*.mp4``, their ``videos.jsonl`` (four of eight to train), ``recipe.json``."""
    videos = []
    (shared / "videos").mkdir()
    for number in range(8):
        path = shared / "videos" / f"{number}.mp4"
        write_noise(path, number, frames=16, step=1 + number % 2)
        split = "train" if number < 4 else "test"
        videos.append(replace(probe(str(path)), label=f"class {number % 2}", split=split))
    write_manifest(shared / "videos.jsonl", videos)
    (shared / "recipe.json").write_text(json.dumps(RECIPE))
