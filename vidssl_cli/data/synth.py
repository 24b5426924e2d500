"""Made-up videos whose classes differ only in how they move, never in what they show.

A camera looks at a random texture that repeats without a seam. Its position and angle are uniform,
and its zoom is drawn for every class as the pulse class draws it, so that one frame says nothing
about the class; only the course of the camera does. Nothing else moves and nothing stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vidssl_cli.base.console import track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest, write_manifest
from vidssl_cli.files.sealed_folder import MANIFEST, note_of, publish
from vidssl_cli.media.encode import write_mp4

SIDE = 64
"""Pixels of a frame, both ways."""
FRAMES = 96
FPS = 24
TEXTURE = 128
"""Pixels after which the texture repeats, both ways."""
SPEED = (0.8, 2.0)
"""Pixels a frame, as the mean over time (and, where the camera zooms or turns, over the frame)."""
PERIOD = (18.0, 36.0)
"""Frames until a motion repeats."""
UNSTEADY = 0.3
"""Deviation of the logarithm of a camera's speed over time; an even pace would betray the class to
the mere amount of change between frames."""
RADIUS = 0.3826 * SIDE
"""Mean distance of a frame's pixels from its centre."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """Where the camera is, relative to its start, in each of T frames; 0 where it does not move."""

    along: Array | float = 0.0
    """(T,) pixels in the direction of travel."""
    across: Array | float = 0.0
    """(T,) pixels at right angles to it."""
    turn: Array | float = 0.0
    """(T,) radians."""
    zoom: Array | float = 0.0
    """(T,) natural logarithm of the magnification."""


def _triangle(phase: Array) -> Array:
    """Return a wave of period 1 that rises from 0 to 1 and falls back at the same speed."""
    return 1 - np.abs(1 - 2 * (phase % 1))


def _linear(phase: Array, speed: float, period: float) -> Course:
    return Course(along=speed * period * phase)


def _zigzag(phase: Array, speed: float, period: float) -> Course:
    straight = speed * period / np.sqrt(2)
    return Course(along=straight * phase, across=straight / 2 * _triangle(phase))


def _circle(phase: Array, speed: float, period: float) -> Course:
    radius = speed * period / (2 * np.pi)
    return Course(
        along=radius * np.cos(2 * np.pi * phase), across=radius * np.sin(2 * np.pi * phase)
    )


def _oscillate(phase: Array, speed: float, period: float) -> Course:
    return Course(along=speed * period / 4 * np.sin(2 * np.pi * phase))


def _pulse(phase: Array, speed: float, period: float) -> Course:
    return Course(zoom=speed * period / (4 * RADIUS) * np.sin(2 * np.pi * phase))


def _spin(phase: Array, speed: float, period: float) -> Course:
    return Course(turn=speed * period / RADIUS * phase)


def _stop_and_go(phase: Array, speed: float, period: float) -> Course:
    whole = np.floor(phase)
    return Course(along=speed * period * (whole + np.minimum(2 * (phase - whole), 1)))


def _snap(phase: Array, speed: float, period: float) -> Course:
    within = phase % 1
    return Course(along=speed * period / 2 * np.minimum(within / 0.8, (1 - within) / 0.2))


MOTIONS: dict[str, Callable[[Array, float, float], Course]] = {
    "linear": _linear,
    "zigzag": _zigzag,
    "circle": _circle,
    "oscillate": _oscillate,
    "pulse": _pulse,
    "spin": _spin,
    "stop-and-go": _stop_and_go,
    "snap": _snap,
}
"""The classes: (T,) phase in periods, speed in pixels a frame, period in frames -> course."""


VIDEOS = "videos.jsonl"
"""The manifest, beside the class-per-folder trees ``train`` and ``test``."""


def synthesise(
    folder: Path,
    *,
    seed: int = 0,
    per_class: tuple[int, int] = (40, 25),
    motions: Sequence[str] = tuple(MOTIONS),
    overwrite: bool = False,
) -> list[Video]:
    """Make videos of every class, and a manifest with all their facts.

    A video depends on the seed, its split, its class and its number, not on how many others are
    made.

    Args:
        folder: Where to; it appears whole or not at all.
        seed: Another seed makes other videos.
        per_class: Videos of a class for training and for test.
        motions: Classes to make.
        overwrite: Replace a folder that this function made.

    Returns:
        The videos, training before test, class by class.

    Raises:
        UsageError: The folder holds something, or there is no such class.
    """
    if unknown := set(motions) - MOTIONS.keys():
        raise UsageError(
            f"there is no motion {', '.join(sorted(unknown))}",
            hint=f"choose of {', '.join(MOTIONS)}",
        )
    if folder.exists() and any(folder.iterdir()):
        made = {VIDEOS, note_of(folder / VIDEOS).name, MANIFEST, "train", "test"}
        found = {path.name for path in folder.iterdir()}
        if not {VIDEOS, MANIFEST} <= found <= made:  # what is not ours is not to be lost
            raise UsageError(f"{folder} is not empty", where=str(folder), hint="choose another")
        if not overwrite:
            raise UsageError(
                f"{folder} holds made-up videos already",
                where=str(folder),
                hint="replace them by --overwrite",
            )
    counts = zip(("train", "test"), per_class, strict=True)
    keys = [
        (split, motion, n) for split, count in counts for motion in motions for n in range(count)
    ]

    def write(draft: Path) -> None:
        def make(key: tuple[str, str, int]) -> Video:
            return _make(draft, seed, *key)

        pool = ThreadPoolExecutor(usable_cores())
        try:
            made = track(pool.map(make, keys), "making videos", total=len(keys))
            write_manifest(draft / VIDEOS, list(made))
        finally:
            pool.shutdown(cancel_futures=True)

    publish(folder, write)
    return read_manifest(folder / VIDEOS)


def _make(folder: Path, seed: int, split: str, motion: str, number: int) -> Video:
    # The class is counted by its name's bytes, not by its place among those that were asked for.
    address = (seed, split == "test", int.from_bytes(motion.encode()), number)
    frames = render(motion, np.random.default_rng(address))
    path = folder / split / motion / f"{number:03}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, frames, FPS, gop=FRAMES)
    return Video(
        str(path),
        label=motion,
        split=split,
        frames=FRAMES,
        fps=FPS,
        width=SIDE,
        height=SIDE,
        duration=FRAMES / FPS,
        declared=FRAMES,
        bytes=path.stat().st_size,
        timing="steady",
    )


def texture(random: np.random.Generator) -> NDArray[np.float32]:
    """Draw a seamless coloured texture.

    Returns:
        (3, TEXTURE, TEXTURE) red, green and blue from 0 to 1.
    """
    frequency = np.hypot(np.fft.fftfreq(TEXTURE)[:, None], np.fft.rfftfreq(TEXTURE)[None])
    frequency[0, 0] = np.inf  # no mean: brightness is drawn with the colours
    # 1/f looks natural; the cut-off leaves nothing that would flicker when the camera zooms out.
    spectrum = np.exp(-((frequency / 0.12) ** 2)) / frequency
    noise = np.fft.rfft2(random.standard_normal((3, TEXTURE, TEXTURE))) * spectrum
    layers = np.fft.irfft2(noise, s=(TEXTURE, TEXTURE))
    layers /= layers.std(axis=(1, 2), keepdims=True)
    # The first layer is light and shade, the others are two colours.
    colours = np.stack([np.full(3, 0.14), *random.normal(scale=0.1, size=(2, 3))], axis=1)
    ground = random.uniform(0.35, 0.65, size=(3, 1, 1))
    picture = ground + np.einsum("cl,lhw->chw", colours, layers)
    clipped: NDArray[np.float32] = np.clip(picture, 0, 1).astype(np.float32)
    return clipped


def render(motion: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """Render one video of a class.

    Args:
        motion: A class of `MOTIONS`.
        random: Draws texture, place, angle, zoom, direction, speed, period and phase.

    Returns:
        (FRAMES, SIDE, SIDE, 3) RGB.
    """
    picture = texture(random)
    place = complex(*random.uniform(0, TEXTURE, size=2))
    angle, heading, still = random.uniform(0, 2 * np.pi, size=3)
    hand = random.choice([-1.0, 1.0])
    speed = float(np.exp(random.uniform(*np.log(SPEED))))
    period = float(random.uniform(*PERIOD))
    phase = random.uniform() + np.cumsum(_pace(random)) / period
    course = MOTIONS[motion](phase, speed, period)
    zoom = course.zoom
    if motion != "pulse":  # stays at a zoom that a pulse would pass through
        zoom = _pulse(np.array([still / (2 * np.pi)]), speed, period).zoom
    shift = (course.along + 1j * hand * course.across) * np.exp(1j * heading)
    turn = np.exp(1j * (angle + hand * course.turn) - zoom)
    return _look(picture, place, np.broadcast_to(shift, FRAMES), np.broadcast_to(turn, FRAMES))


def _pace(random: np.random.Generator) -> Array:
    """Draw (FRAMES,) factors around 1 that vary smoothly, over about half a second."""
    reach = np.arange(-18, 19)
    kernel = np.exp(-((reach / 6) ** 2) / 2)
    noise = random.standard_normal(FRAMES + len(kernel) - 1)
    smooth = np.convolve(noise, kernel / np.linalg.norm(kernel), mode="valid")
    factors: Array = np.exp(UNSTEADY * smooth)
    return factors


def _look(
    picture: NDArray[np.float32],
    place: complex,
    shift: NDArray[np.complex128],
    turn: NDArray[np.complex128],
) -> NDArray[np.uint8]:
    """Return what the camera sees; points of the plane are complex numbers, in pixels."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    screen = axis + 1j * axis[:, None]
    plane = place + turn[:, None, None] * (screen + shift[:, None, None])
    points = np.stack([plane.real, plane.imag], axis=-1) % TEXTURE
    # One more row and column close the seam; grid_sample counts from -1 to 1.
    closed = torch.from_numpy(np.pad(picture, ((0, 0), (0, 1), (0, 1)), mode="wrap"))
    grid = torch.from_numpy((points * (2 / TEXTURE) - 1).astype(np.float32))
    frames = functional.grid_sample(
        closed[None], grid.reshape(1, FRAMES * SIDE, SIDE, 2), align_corners=True
    )
    pixels = frames.mul_(255).round_().to(torch.uint8).reshape(3, FRAMES, SIDE, SIDE)
    return pixels.permute(1, 2, 3, 0).contiguous().numpy()
