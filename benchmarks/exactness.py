"""Whether frame k reached by seeking is frame k of a decode from the start, for every frame.

    python benchmarks/exactness.py --data DIR [--workers N] [--json]

Reading frame k seeks to the last seek point before it and decodes forwards from there. So all
frames are compared by starting once at every seek point and decoding up to the next one. Pictures
are compared bit by bit, at the size in which they are stored. Exit status 1 if any differs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from vidssl_cli.base.console import track
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.scan import open_data
from vidssl_cli.media.decode import stream_planes


def checksums(video: Video, frames: Sequence[int]) -> Iterator[int]:
    """Yield a checksum of each frame's pixels."""
    for picture in stream_planes(video, frames, (video.height or 1, video.width or 1)):
        yield zlib.crc32(picture.tobytes())


def differing(video: Video) -> list[int]:
    """Return the frames that a seek gives another picture of than a decode from the start."""
    points = [number for number, _ in video.keyframes]
    if not points:
        return []
    expected = list(checksums(video, range(video.frames or 0)))
    wrong = []
    for start, end in pairwise([*points, len(expected)]):
        for number, found in enumerate(checksums(video, range(start, end)), start):
            if found != expected[number]:
                wrong.append(number)
    return wrong


def main() -> None:
    """Compare all frames of all videos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, nargs="+", help="any DATA of vidssl, or several")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    videos, broken = [], []
    for source in arguments.data:
        found, unreadable = open_data(source, workers=arguments.workers)
        videos += found
        broken += unreadable
    with ThreadPoolExecutor(arguments.workers) as pool:
        wrong = list(track(pool.map(differing, videos), "comparing", total=len(videos)))
    result = {
        "files": len(videos),
        "unreadable": len(broken),
        "frames": sum(video.frames or 0 for video in videos),
        "reached_by_seeking": sum(
            (video.frames or 0) - video.keyframes[0][0] for video in videos if video.keyframes
        ),
        "seek_points": sum(len(video.keyframes) for video in videos),
        "different": {
            video.path: numbers for video, numbers in zip(videos, wrong, strict=True) if numbers
        },
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for key, value in result.items():
            print(f"{key}: {value or 'none'}")
    sys.exit(1 if result["different"] else 0)


if __name__ == "__main__":
    main()
