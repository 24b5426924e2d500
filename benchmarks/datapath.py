"""How fast each way of reading turns videos into training clips, side by side in one run.

    python benchmarks/datapath.py --data DIR [--videos 12] [--rounds 5] [--formats …] [--json]

Every round gives the same views of the same videos to every way of reading, one after the other.
A figure is the median over the rounds of (CPU seconds of naive code) / (CPU seconds of this way),
so that it says how many times more clips per second one core gets; the spread is the range from
the lower to the upper quartile. Clips are what a network takes: 16x112x112 from pictures of
128x171, cropped, flipped, jittered in brightness, contrast, saturation and hue frame by frame, and
normalised, float32.

naive       decodes the whole video with PyAV for every clip, resizes and jitters by PIL
opencv      seeks by OpenCV, resizes by OpenCV, jitters by PIL
decord      asks decord for the frames at the small size, jitters by PIL
torchcodec  asks torchcodec for the frames, resizes by torch, jitters by PIL
direct      vidssl, from the same file
packed      vidssl, from `vidssl data pack`
raw         vidssl, from `vidssl data pack --format raw`
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from vidssl_cli.config.sections import Augment, Colour, Input
from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import augment
from vidssl_cli.data.pack import pack
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.views import decode_views
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.model.devices_cpu import keep_freed_memory

Pictures = NDArray[np.uint8]
FRAMES, SIZE, CROP = 16, (128, 171), 112
MODES = {"four_views": (1, 2, 4, 8), "stride1": (1,), "stride4": (4,)}
"""Strides of the views that are cut from a video at a time."""
INPUT = Input(resize=SIZE, crop=CROP)
JITTER = Augment(colour=Colour(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, per="frame"))


# ---- ways of reading: (video, frame numbers of every view) -> (V, T, H, W, 3), or planes ----


def read_naive(video: Video, views: Sequence[NDArray[np.int64]]) -> Pictures:
    """Decode everything for every clip."""
    clips = []
    for numbers in views:
        with av.open(video.path) as container:
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        clips.append([_pil_resize(decoded[number]) for number in numbers])
    return np.array(clips)


def _pil_resize(picture: Pictures) -> Pictures:
    height, width = SIZE
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def read_opencv(video: Video, views: Sequence[NDArray[np.int64]]) -> Pictures:
    """Seek, then grab what is skipped and retrieve what is wanted."""
    import cv2

    capture = cv2.VideoCapture(video.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    clips = []
    for numbers in views:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(numbers[0]))
        upcoming = numbers[0]
        clip = []
        for number in numbers:
            while upcoming <= number:
                capture.grab()
                upcoming += 1
            picture = capture.retrieve()[1]
            small = cv2.resize(picture, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
            clip.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        clips.append(clip)
    capture.release()
    return np.array(clips)


def read_decord(video: Video, views: Sequence[NDArray[np.int64]]) -> Pictures:
    """Let decord seek and scale."""
    import decord

    height, width = SIZE
    reader = decord.VideoReader(video.path, num_threads=1, height=height, width=width)
    return np.stack([reader.get_batch(numbers.tolist()).asnumpy() for numbers in views])


def read_torchcodec(video: Video, views: Sequence[NDArray[np.int64]]) -> Pictures:
    """Let torchcodec decode every frame once."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(video.path, num_ffmpeg_threads=1, seek_mode="approximate")
    numbers, places = np.unique(np.stack(views), return_inverse=True)
    frames = decoder.get_frames_at(numbers.tolist()).data
    small = torch.nn.functional.interpolate(frames, SIZE, mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1).numpy()[places.reshape(len(views), -1)]


def read_vidssl(video: Video, views: Sequence[NDArray[np.int64]]) -> torch.Tensor:
    """Decode every frame once, or read what was packed."""
    return decode_views(video, views, SIZE)


# ---- augmentation: uint8 pictures -> (V, 3, T, S, S) float ----


def augment_pil(pictures: Pictures, seed: int) -> torch.Tensor:
    """Jitter picture by picture, as the usual code does."""
    random = np.random.default_rng(seed)
    clips = []
    for clip in pictures:
        top, left = (int(random.integers(side - CROP + 1)) for side in SIZE)
        flip = random.random() < 0.5
        frames = []
        for picture in clip[:, top : top + CROP, left : left + CROP]:
            image = Image.fromarray(picture)
            if flip:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            frames.append(np.asarray(_jitter(image, random)))
        x = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).float().div(255)
        clips.append((x - 0.5) / 0.5)
    return torch.stack(clips)


def _jitter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(random.uniform(0.6, 1.4))
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(random.uniform(-0.1, 0.1) * 255 % 256)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def augment_vidssl(pictures: torch.Tensor, seed: int) -> torch.Tensor:
    """Augment whole clips, whose colours are planes."""
    views = tuple(View(np.arange(FRAMES)) for _ in pictures)
    parameters = augment.draw_parameters(
        ClipPlan(views, {}), Draw(0, 0, seed), JITTER, CROP, tuple(pictures.shape[-2:])
    )
    return augment.prepare(list(pictures), parameters, INPUT)


@dataclass
class Way:
    """One way of reading."""

    read: Callable[[Video, Sequence[NDArray[np.int64]]], Any]
    augment: Callable[[Any, int], torch.Tensor]
    module: str | None = None
    storage: str = "source"


WAYS = {
    "naive": Way(read_naive, augment_pil),
    "opencv": Way(read_opencv, augment_pil, "cv2"),
    "decord": Way(read_decord, augment_pil, "decord"),
    "torchcodec": Way(read_torchcodec, augment_pil, "torchcodec.decoders"),
    "direct": Way(read_vidssl, augment_vidssl),
    "packed": Way(read_vidssl, augment_vidssl, storage="packed"),
    "raw": Way(read_vidssl, augment_vidssl, storage="raw"),
}


def find_missing() -> dict[str, str]:
    """Return the ways that cannot be measured here, with the reason."""
    reasons = {}
    for name, way in WAYS.items():
        try:
            if way.module:
                importlib.import_module(way.module)
        except (ImportError, OSError, RuntimeError) as error:
            reasons[name] = str(error).splitlines()[0]
    return reasons


def draw_views(video: Video, strides: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Draw a clip of each stride; clips that do not fit begin again at the first frame."""
    random = np.random.default_rng(seed)
    frames = video.frames or 1
    starts = [random.integers(max(1, frames - (FRAMES - 1) * stride)) for stride in strides]
    clips = zip(starts, strides, strict=True)
    return [np.sort((start + np.arange(FRAMES) * stride) % frames) for start, stride in clips]


def measure(
    stores: dict[str, list[Video]], strides: Sequence[int], ways: Sequence[str], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return CPU seconds of reading, and of reading and augmentation, for each way and round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(-1, rounds):  # the first one warms caches up and does not count
        for name in ways:
            way = WAYS[name]
            reading = whole = 0.0
            for seed, video in enumerate(stores[way.storage], 1000 * (number + 1)):
                views = draw_views(video, strides, seed)
                start = time.process_time()
                pictures = way.read(video, views)
                read = time.process_time()
                way.augment(pictures, seed)
                reading += read - start
                whole += time.process_time() - start
            if number >= 0:
                seconds[name].append((reading, whole))
    return seconds


def ratios(
    seconds: dict[str, list[tuple[float, float]]], column: int
) -> tuple[dict[str, float | None], dict[str, list[float] | None]]:
    """Return the medians of naive seconds over a way's, and their quartiles."""
    naive = np.array(seconds["naive"])[:, column]
    medians: dict[str, float | None] = dict.fromkeys(WAYS)
    spreads: dict[str, list[float] | None] = dict.fromkeys(WAYS)
    for name, rows in seconds.items():
        low, middle, high = np.percentile(naive / np.array(rows)[:, column], [25, 50, 75])
        medians[name] = round(float(middle), 2)
        spreads[name] = [round(float(low), 2), round(float(high), 2)]
    return medians, spreads


def reencode(videos: Sequence[Video], folder: Path, gop: int) -> list[Video]:
    """Write the videos again as H.264."""
    folder.mkdir()
    paths = []
    for number, video in enumerate(videos):
        with av.open(video.path) as container:
            frames = np.array(
                [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            )
        paths.append(folder / f"{number}.mp4")
        write_mp4(paths[-1], frames, video.fps or 25, gop=gop)
    return [probe(str(path)) for path in paths]


def psnr(source: Video, packed: Video) -> float:
    """Return the PSNR of 8 evenly spaced pictures after compact packing, in decibels."""
    frames = np.unique(np.linspace(0, (source.frames or 1) - 1, 8).astype(int)).tolist()
    one, other = (read_frames(video, frames, SIZE).astype(float) for video in (source, packed))
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def examine(videos: list[Video], work: Path, ways: Sequence[str], rounds: int) -> dict[str, Any]:
    """Measure everything on one set of videos."""
    packed = pack(videos, work / "packed", resize=SIZE)
    raw = pack(videos, work / "raw", resize=SIZE, form="raw")
    stores = {"source": videos, "packed": packed.videos, "raw": raw.videos}
    sizes = {"source": packed.source_bytes, "packed": packed.bytes, "raw": raw.bytes}
    found: dict[str, Any] = {"decode_only": {}, "spread": {}, "clips_per_second": {}}
    for mode, strides in MODES.items():
        seconds = measure(stores, strides, ways, rounds)
        found["decode_only"][mode], _ = ratios(seconds, 0)
        found[mode], found["spread"][mode] = ratios(seconds, 1)
        clips = len(videos) * len(strides)
        found["clips_per_second"][mode] = {
            name: round(clips / float(np.median(np.array(rows)[:, 1])), 1)
            for name, rows in seconds.items()
        }
    found["packed_psnr"] = round(float(np.mean([*map(psnr, videos, packed.videos)])), 1)
    found["bytes_per_video"] = {name: size // len(videos) for name, size in sizes.items()}
    return found


def print_table(name: str, found: dict[str, Any]) -> None:
    """Print what was found on one set of videos."""
    print(f"\n{name}: clips/s of one core over naive (quartiles), and decoding alone")
    print(f"{'':12}" + "".join(f"{mode:>32}" for mode in MODES) + f"{'bytes/video':>14}")
    for way, about in WAYS.items():
        row = f"{way:12}"
        for mode in MODES:
            if found[mode][way] is None:
                row += f"{'–':>32}"
                continue
            low, high = found["spread"][mode][way]
            whole, alone = found[mode][way], found["decode_only"][mode][way]
            row += f"{f'{whole:.1f} ({low:.1f}–{high:.1f}), {alone:.1f}':>32}"
        print(f"{row}{found['bytes_per_video'][about.storage]:>14,}")
    print(f"packed pictures differ from direct ones by a PSNR of {found['packed_psnr']} dB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="any DATA of vidssl")
    parser.add_argument("--videos", type=int, default=12, help="how many, spread over DATA")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default="source,h264_gop12,h264_gop250")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # for every way
    reasons = find_missing()
    ways = [name for name in WAYS if name not in reasons]
    videos, _ = open_data(arguments.data)
    videos = videos[:: max(1, len(videos) // arguments.videos)][: arguments.videos]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats.split(","):
            work = Path(folder, name)
            work.mkdir()
            gop = name.removeprefix("h264_gop")
            part = videos if name == "source" else reencode(videos, work / "videos", int(gop))
            results[name] = examine(part, work, ways, arguments.rounds)
            if not arguments.json:
                print_table(name, results[name])
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    if arguments.json:
        others = {name: found for name, found in results.items() if name != "source"}
        print(json.dumps(results.get("source", {}) | others | {"missing": reasons}, indent=2))


if __name__ == "__main__":
    main()
