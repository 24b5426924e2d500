"""Small videos whose pictures carry their frame number, made where a test needs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import hypothesis
import numpy as np
import pytest

from vidssl_cli.base.signals import WATCHED
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe

# No test is timed, and every run draws the same examples.
hypothesis.settings.register_profile(
    "vidssl",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("vidssl")


@pytest.fixture(autouse=True)
def _handlers_as_before():
    """Undo what a stopped run does to signals: it ignores them, for its process is about to end."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
    before = {number: signal.getsignal(number) for number in WATCHED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_processes(tmp_path: Path) -> Callable[[str, int], str]:
    """Return a function that runs a script in several processes and returns what the first prints.

    The script gets its rank, the number of processes, and a file for them to meet through.
    """

    def run(script: str, size: int) -> str:
        meeting = str(tmp_path / f"meeting-{size}")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(rank), str(size), meeting],
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
            )
            for rank in range(size)
        ]
        outputs = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * size
        return outputs[0]

    return run


BITS = 8
"""Stripes in the upper half of a picture: the frame number in binary, lowest bit on the left."""


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Draw the number above a red half and a blue half: (H, W, 3) uint8."""
    pixels = np.zeros((height, width, 3), np.uint8)
    bits = [255 if number >> bit & 1 else 0 for bit in range(BITS)]
    pixels[: height // 2] = np.repeat(bits, width // BITS)[:, None]
    pixels[height // 2 :, : width // 2, 0] = 255
    pixels[height // 2 :, width // 2 :, 2] = 255
    return pixels


def numbers(pictures: np.ndarray) -> list[int]:
    """Read the frame numbers off pictures (T, H, W, 3) of any size."""
    _, height, width, _ = pictures.shape
    columns = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    bits = pictures[:, height // 4, columns].mean(-1) > 127
    return [int(sum(1 << bit for bit in range(BITS) if row[bit])) for row in bits]


@pytest.fixture(scope="session")
def read_numbers() -> Callable[[np.ndarray], list[int]]:
    """Return the function that reads frame numbers off pictures of `make_video`."""
    return numbers


MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """Return a function that writes a video and returns its path.

    make_video(path=None, frames=24, fps=25, codec="libx264", size=(48, 64), times=None, …)
    """
    cache: dict[object, Path] = {}
    folder = tmp_path_factory.mktemp("videos")

    def make(
        path: Path | None = None,
        *,
        frames: int = 24,
        fps: int = 25,
        codec: str = "libx264",
        suffix: str = ".mp4",
        size: tuple[int, int] = (48, 64),
        options: Mapping[str, str] | None = None,
        times: Sequence[int] | None = None,
        matrix: Sequence[int] | None = None,
    ) -> Path:
        """Encode it once for all tests of the session; copy it to ``path`` if one is given.

        Args:
            path: where to put it; its suffix chooses the container.
            frames: how many.
            fps: frames per second, and ticks per second for ``times``.
            codec: encoder.
            suffix: container, where no path is given.
            size: (height, width), both multiples of 16.
            options: of the encoder.
            times: timestamp of each frame in ticks of 1/fps, where they are not 0, 1, 2, …
            matrix: (a, b, c, d) of the display matrix, for mp4.
        """
        suffix = path.suffix if path else suffix
        key = (frames, fps, codec, suffix, size, str(options), str(times), str(matrix))
        if key not in cache:
            cache[key] = folder / f"{len(cache)}{suffix}"
            if matrix:  # of the same stream: encoding twice need not give the same bits
                upright = make(
                    frames=frames, fps=fps, codec=codec, size=size, options=options, times=times
                )
                shutil.copyfile(upright, cache[key])
                _set_display_matrix(cache[key], matrix)
            else:
                encode(cache[key], frames, fps, codec, size, options or {}, times)
        if path is None:
            return cache[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cache[key], path)
        return path

    return make


def encode(
    path: Path,
    frames: int,
    fps: int,
    codec: str,
    size: tuple[int, int],
    options: Mapping[str, str],
    times: Sequence[int] | None,
) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame.time_base = Fraction(1, fps)
            frame.pts = times[number] if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _set_display_matrix(path: Path, matrix: Sequence[int]) -> None:
    """Write (a, b, c, d) into the track header of an mp4, as phones do."""
    a, b, c, d = (value << 16 for value in matrix)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real videos that is not part of the project, or skip the test."""
    if not DATA.is_dir():
        pytest.skip(f"needs the real videos in {DATA}")
    return DATA


@pytest.fixture(scope="session")
def toy_videos(tmp_path_factory):
    """Twelve short videos of moving noise with all their facts: three classes, eight to train."""
    folder = tmp_path_factory.mktemp("toy")
    videos = []
    for number in range(12):
        random = np.random.default_rng(number)
        texture = random.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        frames = [np.roll(texture, step * (1 + number % 3), axis=1) for step in range(40)]
        path = folder / f"{number}.mp4"
        write_mp4(path, np.stack(frames), 25)
        split = "train" if number < 8 else "test"
        videos.append(replace(probe(str(path)), label=f"class {number % 3}", split=split))
    return tuple(videos)


@pytest.fixture(scope="session")
def toy_recipe():
    """A function that returns a recipe as a fresh dict, small enough for a second of training."""

    def make(**train):
        return {
            "input": {"resize": [24, 32], "crop": 16, "mode": "residual"},
            "backbone": {"name": "r3d", "depth": 10, "width": 4},
            "sampler": {"name": "pace", "views": 2, "frames": 8, "paces": [1, 2, 3]},
            "pretext": [{"name": "pace"}, {"name": "same_context", "weight": 0.1}],
            "augment": {"grey": 0.2, "colour": {"brightness": 0.2, "per": "frame"}},
            "evaluation": {"clips": 3},
            "train": {
                "epochs": 8,
                "batch_videos": 4,
                "precision": "fp32",  # not the one that happens to be faster
                "optimizer": {"name": "adamw", "lr": 1e-3},
                "schedule": {"name": "cosine", "warmup": 0.1},
                "clip_gradient": 5,
            }
            | train,
        }

    return make


@pytest.fixture(scope="session")
def toy_encoder():
    """A function that returns a small network with random weights as an encoder on the CPU."""
    import torch

    from vidssl_cli.config.sections import Evaluation, Input
    from vidssl_cli.model.card import Card
    from vidssl_cli.model.encoder import Encoder
    from vidssl_plugins.backbones.hooks import R3D

    def make(seed=0, **evaluation):
        torch.manual_seed(seed)
        backbone = R3D(name="r3d", width=4)
        card = Card(
            backbone=backbone,
            input=Input(resize=(24, 32), crop=16, mode="residual"),
            frames=8,
            evaluation=Evaluation(**{"clips": 3, **evaluation}),
            seed=seed,
        )
        return Encoder(card, backbone.build(), torch.device("cpu"))

    return make


@pytest.fixture
def scored(toy_videos, tmp_path):
    """Return a function that writes a file of scores of the first toy videos, one list for each."""
    from vidssl_cli.contract.scores import identify, write_scores

    def write(*scores, settings=None):
        rows = [
            replace(identify(video), scores=tuple(of_video))
            for video, of_video in zip(toy_videos, scores, strict=False)
        ]
        write_scores(tmp_path / "scores.jsonl", settings or {"frames": 16}, rows)
        return tmp_path / "scores.jsonl"

    return write


HAND_MADE = """
summary: Pace <b>prediction</b>
train: {epochs: 4, seed: SEED, batch_videos: 8}
sampler: {name: pace}
pretext: [{name: pace}, {name: same_context, weight: 0.1}]
"""


@pytest.fixture(scope="session")
def make_run():
    """A function that makes a run directory by hand, with reports of evaluations."""

    def make(folder, *reports, seed=0, state="finished", recipe=HAND_MADE, epochs=4, **facts):
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(recipe.replace("SEED", str(seed)))
        digests = {"recipe.yaml": sha256(folder / "recipe.yaml")}
        known = {"task": "pretrain", "seed": seed, "state": state, "argv": ["vidssl", "pretrain"]}
        known |= {"updated": "2026-01-02T03:04:05+00:00", "versions": {"torch": "2.13.0"}}
        known |= {"files": digests}
        (folder / "run.json").write_bytes(sealed_json.render(known | facts))
        rows = []
        for epoch in range(epochs):
            rows += [{"step": 2 * epoch + step, "epoch": epoch, "loss": 4.0 - epoch / 2 + seed,
                      "pace.loss": 1.0, "pace.accuracy": 0.25 * epoch, "lr": 0.1}
                     for step in (1, 2)]  # fmt: skip
            rows.append(
                {"step": 2 * epoch + 2, "epoch": epoch, "epoch.loss": 4.0 - epoch / 2 + seed}
            )
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for number, report in enumerate(reports):
            place = folder / "evaluations" / f"{report['evaluator']}-{number}"
            place.mkdir(parents=True)
            (place / "report.json").write_bytes(sealed_json.render(report))
        return folder

    return make


@pytest.fixture(scope="session")
def made_up_report():
    """A function that returns what `vidssl evaluate --evaluator retrieval` writes."""

    def make(top1, tap="pool5", random=0.1, **more):
        rows = [{"weights": "run", "top1": top1}, {"weights": "random", "top1": random}]
        return {
            "evaluator": "retrieval",
            "options": {"name": "retrieval", "tap": tap},
            "chance": 0.05,
            "chances": {"top1": 0.05},
            "rows": rows,
            "facts": {"queries": 20},
            "tables": [],
            "figures": [],
            "data": "d" * 64,
            "argv": ["/bin/vidssl", "evaluate", "RUN", "--data", "DATA"],
            **more,
        }

    return make
