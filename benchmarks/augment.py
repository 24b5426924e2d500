"""How fast each way of augmenting turns decoded pictures into network input, side by side.

    python benchmarks/augment.py [--data DIR] [--clips 16] [--rounds 9] [--json]

A clip is 16 frames of 128x171; it is cropped to 112x112, flipped, jittered in brightness, contrast,
saturation and hue, frame by frame, and normalised to float32: ready for the model. Drawing the
random parameters is counted. Every round gives the same clips to every way, one after the other, on
one core. A figure is the median over the rounds of (CPU seconds of PIL) / (CPU seconds of this
way); the spread is the range from the lower to the upper quartile.

pil         picture by picture, the way of most released code
torch       torchvision's arithmetic on float tensors, a clip at a time, hue by way of HSV
fast        vidssl, colour.form: fast (the default)
exact       vidssl, colour.form: exact
plain       vidssl without jitter, as in evaluation
resized     vidssl, fast, with a resized crop instead of a crop
blurred     vidssl, fast, with a Gaussian blur on every clip

What the forms do to pictures is compared with the same random parameters, in steps of 8 bits.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from vidssl_cli.config.sections import Augment, Blur, Colour, Input, ResizedCrop
from vidssl_cli.contract.clips import ClipPlan, Draw, View, Windows
from vidssl_cli.data.augment import Parameters, draw_parameters, prepare
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.synth import MOTIONS, render
from vidssl_cli.data.views import decode_views
from vidssl_cli.model.devices_cpu import keep_freed_memory

FRAMES, SIZE, SIDE = 16, (128, 171), 112
INPUT = Input(resize=SIZE, crop=SIDE)
STRENGTHS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
FAST = Augment(colour=Colour(**STRENGTHS, per="frame"))
EXACT = Augment(colour=Colour(**STRENGTHS, per="frame", form="exact"))
VIDSSL = {
    "fast": FAST,
    "exact": EXACT,
    "plain": Augment(crop="center", flip=0),
    "resized": FAST.model_copy(update={"crop": ResizedCrop()}),
    "blurred": FAST.model_copy(update={"blur": Blur(probability=1)}),
}
Way = Callable[[Sequence[Tensor]], Tensor]


def draw(clips: int, augment: Augment) -> Parameters:
    """Draw the parameters of N clips; both forms draw the same for the same strengths."""
    plan = ClipPlan(tuple(View(np.arange(FRAMES)) for _ in range(clips)))
    return draw_parameters(plan, Draw(0, 0, 0), augment, SIDE, SIZE)


def vidssl(augment: Augment) -> Way:
    """Return vidssl's way."""
    return lambda clips: prepare(clips, draw(len(clips), augment), INPUT)


def by_pil(clips: Sequence[Tensor]) -> Tensor:
    """Jitter picture by picture; pictures are taken as PIL would decode them, interleaved."""
    drawn = draw(len(clips), EXACT)
    return torch.stack(
        [
            torch.stack([_pil_frame(picture, steps, box, flip) for picture, steps in frames], 1)
            for frames, box, flip in (
                (zip(clip.permute(0, 2, 3, 1).numpy(), steps, strict=True), box, flip)
                for clip, steps, box, flip in zip(
                    clips, drawn.steps.tolist(), drawn.box.tolist(), drawn.flip, strict=True
                )
            )
        ]
    )


def _pil_frame(
    picture: NDArray[np.uint8], steps: list[float], box: list[int], flip: bool
) -> Tensor:
    brightness, contrast, saturation, hue = steps
    top, left, height, width = box
    image = Image.fromarray(picture).crop((left, top, left + width, top + height))
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = ImageEnhance.Contrast(image).enhance(contrast)
    image = ImageEnhance.Color(image).enhance(saturation)
    turned, *rest = image.convert("HSV").split()
    wrapped = np.asarray(turned) + np.uint8(round(hue * 255) % 256)
    image = Image.merge("HSV", (Image.fromarray(wrapped), *rest)).convert("RGB")
    floats = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    return (floats - torch.tensor(INPUT.mean)[:, None, None]) / torch.tensor(INPUT.std)[
        :, None, None
    ]


def by_torch(clips: Sequence[Tensor]) -> Tensor:
    """Jitter a clip at a time with a new tensor for every operation."""
    drawn = draw(len(clips), EXACT)
    out = []
    for clip, steps, (top, left, *_), flip in zip(
        clips, torch.from_numpy(drawn.steps), drawn.box.tolist(), drawn.flip, strict=True
    ):
        x = clip[..., top : top + SIDE, left : left + SIDE].float() / 255
        x = x.flip(-1) if flip else x
        brightness, contrast, saturation, hue = steps[:, :, None, None, None].unbind(1)
        x = (x * brightness).clamp(0, 1)
        x = (contrast * x + (1 - contrast) * _luma(x).mean((-2, -1), keepdim=True)).clamp(0, 1)
        x = (saturation * x + (1 - saturation) * _luma(x)).clamp(0, 1)
        x = _turn_hue(x, hue[:, 0])
        mean, std = (torch.tensor(v)[:, None, None] for v in (INPUT.mean, INPUT.std))
        out.append(((x - mean) / std).transpose(0, 1))
    return torch.stack(out)


def _luma(x: Tensor) -> Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def _turn_hue(x: Tensor, hue: Tensor) -> Tensor:
    red, green, blue = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    saturation = chroma / torch.where(value == 0, 1.0, value)
    safe = torch.where(chroma == 0, 1.0, chroma)
    r, g, b = (value - red) / safe, (value - green) / safe, (value - blue) / safe
    place = torch.where(value == red, b - g, torch.where(value == green, 2 + r - b, 4 + g - r))
    place = (place / 6 + hue) % 1 * 6
    sector = place.floor()
    rest = place - sector
    p, q = value * (1 - saturation), value * (1 - saturation * rest)
    t = value * (1 - saturation * (1 - rest))
    number = sector.long() % 6
    rows = [
        (value, t, p),
        (q, value, p),
        (p, value, t),
        (p, q, value),
        (t, p, value),
        (value, p, q),
    ]
    table = torch.stack([torch.stack(row, 1) for row in rows])
    return table.gather(0, number[None, :, None].expand(1, -1, 3, -1, -1))[0]


WAYS: dict[str, Way] = {
    "pil": by_pil,
    "torch": by_torch,
    **{name: vidssl(augment) for name, augment in VIDSSL.items()},
}


def load(data: str | None, clips: int) -> list[Tensor]:
    """Decode clips (16, 3, 128, 171) of some videos, or draw pictures where there are none."""
    if data is None:
        random = np.random.default_rng(0)
        made = [render(name, random) for name, _ in zip(cycle(MOTIONS), range(clips), strict=False)]
        return [_fit(torch.from_numpy(frames[:FRAMES])) for frames in made]
    videos = [video for video in open_data(data)[0] if (video.frames or 0) >= FRAMES]
    chosen = videos[:: max(1, len(videos) // clips)][:clips]
    return [
        decode_views(video, list(Windows(clips=1).of(video.frames or 0, FRAMES)), SIZE)[0]
        for video in chosen
    ]


def _fit(frames: Tensor) -> Tensor:
    planes = frames.permute(0, 3, 1, 2).float()
    return torch.nn.functional.interpolate(planes, SIZE, mode="bilinear").to(torch.uint8)


def measure(clips: Sequence[Tensor], rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds for a clip, round by round; PIL gets a few of the clips."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    few = clips[:2]
    for number in range(rounds + 1):
        for name, way in WAYS.items():
            part = few if name in ("pil", "torch") else clips
            begun = time.process_time()
            way(part)
            if number:  # the first round warms up
                seconds[name].append((time.process_time() - begun) / len(part))
    return seconds


def differences(clips: Sequence[Tensor]) -> dict[str, dict[str, float]]:
    """Return how far pictures of the ways differ, in steps of 8 bits, given the same parameters."""
    made = {name: WAYS[name](clips) for name in ("pil", "torch", "fast", "exact")}
    std = torch.tensor(INPUT.std)[:, None, None, None]
    found = {}
    for one, other in (("fast", "exact"), ("torch", "exact"), ("pil", "exact")):
        steps = ((made[one] - made[other]) * std * 255).abs().flatten()
        found[f"{one} and {other}"] = {
            "mean": round(float(steps.mean()), 3),
            "p99": round(float(np.percentile(steps.numpy(), 99)), 2),
            "largest": round(float(steps.max()), 1),
        }
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="any DATA of vidssl; without it pictures are drawn")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    clips = load(arguments.data, arguments.clips)
    seconds = measure(clips, arguments.rounds)
    result: dict[str, Any] = {"ratio": {}, "spread": {}, "clips_per_second": {}}
    for name, values in seconds.items():
        low, middle, high = np.percentile(np.array(seconds["pil"]) / np.array(values), [25, 50, 75])
        result["ratio"][name] = round(float(middle), 2)
        result["spread"][name] = [round(float(low), 2), round(float(high), 2)]
        result["clips_per_second"][name] = round(1 / float(np.median(values)), 1)
    result["difference"] = differences(clips)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'':12}{'over PIL':>10}{'quartiles':>16}{'clips/s of one core':>24}")
    for name in WAYS:
        low, high = result["spread"][name]
        rate = result["clips_per_second"][name]
        print(f"{name:12}{result['ratio'][name]:>10.1f}{f'{low:.1f}–{high:.1f}':>16}{rate:>24.0f}")
    for pair, found in result["difference"].items():
        print(
            f"{pair} differ by {found['mean']} steps of 255 in the mean, "
            f"{found['p99']} at the 99th percentile, {found['largest']} at most"
        )


if __name__ == "__main__":
    main()
