"""Share of moments that are found in a long video, made of the videos of DATA.

    python benchmarks/moments.py RUN DATA

The videos of the part ``test`` are decoded, made smaller, and written one after another as
one H.264 file, of which an index with ``--every 1`` is made. Queries are random moments of 2 to 4
seconds of the original files. A moment is found if the first hit is where it lies in the long file:
its start within one second of the true one (`start`), or its middle (`middle`).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import seconds_at
from vidssl_cli.data.scan import open_data
from vidssl_cli.media.probe import probe
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index

SIDE = 240
"""Rows of the long video."""
SHORTEST, LONGEST = 2.0, 4.0
NEAR = 1.0
"""Seconds."""


def write_joined(path: Path, videos: Sequence[Video]) -> list[float]:
    """Write videos of one frame rate one after another; return where each begins, in seconds."""
    rates = {round(video.fps or 0) for video in videos}
    if len(rates) > 1:
        raise SystemExit(f"the videos have several frame rates: {sorted(rates)}")
    (rate,) = rates
    width = round(SIDE * (videos[0].width or 16) / (videos[0].height or 9) / 2) * 2
    counts = []
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate)
        stream.width, stream.height, stream.pix_fmt = width, SIDE, "yuv420p"
        stream.options = {"crf": "26", "preset": "veryfast"}
        for video in videos:
            counts.append(0)
            for frame in _frames(video):
                small = frame.reformat(width, SIDE, "yuv420p")
                small.pts, small.time_base = sum(counts), Fraction(1, rate)
                container.mux(stream.encode(small))
                counts[-1] += 1
        container.mux(stream.encode(None))
    return [begin / rate for begin in accumulate(counts[:-1], initial=0)]


def _frames(video: Video) -> Iterator[Any]:
    with av.open(video.path) as container:
        yield from container.decode(video=0)


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="folder in which the long video stays")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        _measure(chosen, chosen.keep or Path(temporary))


def _measure(chosen: argparse.Namespace, folder: Path) -> None:
    videos, _ = open_data(chosen.data)
    videos = [video for video in videos if (video.duration or 0) > LONGEST]
    videos = [video for video in videos if video.split == "test"] or videos
    begins = write_joined(folder / "long.mp4", videos)
    long = probe(str(folder / "long.mp4"))
    summary = build_index(
        Encoder.load(chosen.run, "cpu"), [long], folder / "index",
        every=chosen.every, overwrite=True,
    )  # fmt: skip
    print(f"{len(videos)} videos, {long.duration:.0f} s, {summary.clips} clips")
    draw, texts, truth = random.Random(0), [], []
    for _ in range(chosen.queries):
        number = draw.randrange(len(videos))
        video, length = videos[number], draw.uniform(SHORTEST, LONGEST)
        end = float(seconds_at(video, np.array(video.frames)))
        start = draw.uniform(0, end - length)
        texts.append(f"{video.path}@{start:.3f}-{start + length:.3f}")
        truth.append((begins[number] + start, length))
    answers, _ = retrieve(open_index(folder / "index"), texts, top=5)
    places = [[(hit.start, hit.end) for hit in answer.hits] for answer in answers]
    for top in (1, 5):
        print(f"rank {top}:", end="")
        for name, part in (("start", 0.0), ("middle", 0.5)):
            found = [
                any(
                    abs((1 - part) * a + part * b - start - part * length) <= NEAR
                    for a, b in hits[:top]
                )
                for hits, (start, length) in zip(places, truth, strict=True)
            ]
            print(f"  {name} {np.mean(found):.2f}", end="")
        print()


if __name__ == "__main__":
    main()
