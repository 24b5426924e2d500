"""What `vidssl duplicates` finds: planted pairs of vectors, and copies of real videos.

    python benchmarks/duplicates.py vectors --clips 1000000 [--brute]
    python benchmarks/duplicates.py videos RUN FILE… [--every 1]

`vectors` makes vectors in clusters, of which one percent are copies with cosines from the threshold
to 1, and says how many of these pairs are found, in which time and memory; ``--brute`` compares all
clips with all, too. `videos` writes copies of videos into a temporary folder (encoded anew, small,
trimmed, mirrored, at half the frame rate, and ``all``: trimmed, mirrored, small and encoded anew;
two seconds of a third in front of two others), makes an index of all, and compares what is found
with what is known.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.data.frame_rate import frame_rate, seconds_at, stored_frames
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search import duplicates_buckets
from vidssl_cli.search.build import build_index
from vidssl_cli.search.columns import Column
from vidssl_cli.search.duplicates import find_duplicates
from vidssl_cli.search.duplicates_buckets import Clips, similar_clips
from vidssl_cli.search.duplicates_overlap import SHORTEST, Overlap
from vidssl_cli.search.exact import inverse_lengths
from vidssl_cli.search.store import open_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS, CLUSTERS, NOISE = 512, 3000, 0.9
THRESHOLD, NEIGHBOURS = 0.9, 32
KINDS = ("encoded", "small", "trimmed", "mirrored", "slower", "all")
INTRO = 2.0
"""Seconds of a third video that two others get in front of them."""


@dataclass(frozen=True)
class Piece:
    """Seconds of an original that a file has."""

    source: str
    begin: float
    """In the original."""
    at: float
    """In the file."""
    length: float


@dataclass(frozen=True)
class File:
    """A file on the disk, and what it consists of."""

    path: str
    kind: str
    pieces: tuple[Piece, ...]


def make_files(videos: Sequence[Video], out: Path, seed: int) -> Iterator[File]:
    """Yield the originals, two copies of each, and for every fourth two with one intro."""
    draw = random.Random(seed)
    for number, video in enumerate(videos):
        yield File(video.path, "original", (Piece(video.path, 0, 0, _seconds(video)),))
        for kind in draw.sample(KINDS, 2):
            yield _copy(video, kind, out / f"{number:03d}-{kind}.mp4", draw)
    for number in range(0, len(videos) - 4, 4):
        intro, *others = videos[number : number + 5 : 2]  # of UCF101, neighbours are one recording
        yield from _with_intro(intro, others, out / f"{number:03d}-intro")


def _seconds(video: Video) -> float:
    return float(seconds_at(video, np.array(video.frames)))


def _copy(video: Video, kind: str, path: Path, draw: random.Random) -> File:
    total = video.frames or 1
    first, last = 0, total
    if kind in ("trimmed", "all"):
        length = round(total * draw.uniform(0.4, 0.8))
        first = draw.randint(0, total - length)
        last = first + length
    step = 2 if kind == "slower" else 1
    frames = read_frames(video, range(first, last, step), 96 if kind in ("small", "all") else 240)
    if kind in ("mirrored", "all"):
        frames = frames[:, :, ::-1]
    crf = 34 if kind in ("encoded", "all") else 26
    write_mp4(path, frames, frame_rate(video) / step, crf=crf)
    begin, end = seconds_at(video, np.array([first, last])).tolist()
    return File(str(path), kind, (Piece(video.path, begin, 0, end - begin),))


def _with_intro(intro: Video, others: Sequence[Video], stem: Path) -> Iterator[File]:
    size = (240, 320)
    rate = frame_rate(intro)
    front = read_frames(intro, range(min(round(INTRO * rate), intro.frames or 1)), size)
    for name, other in zip("ab", others, strict=True):
        path = stem.with_name(f"{stem.name}-{name}.mp4")
        numbers = stored_frames(other, rate, np.arange(round(_seconds(other) * rate)))
        used, places = np.unique(numbers, return_inverse=True)
        own: NDArray[np.uint8] = read_frames(other, used.tolist(), size)[places]
        write_mp4(path, np.concatenate([front, own]), rate, crf=28)
        length = len(front) / rate
        pieces = [Piece(intro.path, 0, 0, length), Piece(other.path, 0, length, len(own) / rate)]
        yield File(str(path), "intro", tuple(pieces))


def common(one: File, other: File) -> list[tuple[Moment, Moment]]:
    """Return what two files share, long enough to be found."""
    found = []
    for a in one.pieces:
        for b in other.pieces:
            begin, end = max(a.begin, b.begin), min(a.begin + a.length, b.begin + b.length)
            if a.source == b.source and end - begin >= SHORTEST:
                spans = [(p.at + begin - p.begin, p.at + end - p.begin) for p in (a, b)]
                found.append((spans[0], spans[1]))
    return found


def measure_videos(run: Path, paths: Sequence[str], every: str, seed: int) -> None:
    """Print which pairs are found, how exactly, and which are wrong."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        files = list(make_files([probe(path) for path in paths], out, seed))
        windows = every if every in ("clip", "recipe") else float(every)
        build_index(
            Encoder.load(run, "cpu", "last"), [probe(file.path) for file in files], out / "index",
            every=windows,  # type: ignore[arg-type]
        )  # fmt: skip
        index = open_index(out / "index")
        start = time.monotonic()
        found = find_duplicates(index)
        seconds = time.monotonic() - start
        videos = index.gallery.videos
        pairs: dict[tuple[str, str], Overlap | None] = {}
        for group in found.groups:
            members = [videos[each.second].path for each in group.copies]
            pairs |= dict.fromkeys(combinations(sorted(members), 2))
        for each in [*found.shared, *(c for group in found.groups for c in group.copies)]:
            for one in (each, each.reversed):
                pairs[videos[one.first].path, videos[one.second].path] = one
        print(f"{len(files)} files, {found.compared} pairs compared in {seconds:.1f} s")
        print(f"{len(found.groups)} groups, {sum(len(g.copies) for g in found.groups)} copies")
        _report(files, pairs)


def _report(files: Sequence[File], pairs: dict[tuple[str, str], Overlap | None]) -> None:
    """Print counts and errors of pairs; one without an overlap is of two copies in one group."""
    errors: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, list[bool]] = defaultdict(list)
    wrong = []
    for one, other in combinations(sorted(files, key=lambda file: file.path), 2):
        truth, each = common(one, other), pairs.get((one.path, other.path))
        found = (one.path, other.path) in pairs
        kind = " ".join(sorted({one.kind, other.kind} - {"original"})) or "original"
        kind = kind if "original" in (one.kind, other.kind) or kind == "intro" else "two copies"
        if truth:
            counts[kind].append(found)
        elif found:
            shared = {p.source for p in one.pieces} & {p.source for p in other.pieces}
            wrong.append((one.path, other.path, each and each.parts, bool(shared)))
        if truth and each:
            for spans in truth:
                part = min(each.parts, key=lambda p, s=spans: _error(p, s)[0])  # type: ignore[misc]
                errors[kind].append(_error(part, spans)[1])
    for kind, hits in sorted(counts.items()):
        e = np.array(errors[kind] or [np.nan])
        print(
            f"{kind:10s} found {sum(hits)} of {len(hits)}; largest error of a start or an end: "
            f"median {np.median(e):.2f} s, 95th percentile {np.percentile(e, 95):.2f} s"
        )
    everything = np.concatenate([np.array(e) for e in errors.values()])
    hits = sum(map(sum, counts.values()))
    print(
        f"all        found {hits} of {sum(map(len, counts.values()))}; median "
        f"{np.median(everything):.2f} s, 95th percentile {np.percentile(everything, 95):.2f} s"
    )
    unrelated = [row for row in wrong if not row[3]]
    print(f"pairs without common footage: {len(unrelated)} of {hits + len(unrelated)} found")
    for first, second, parts, _ in unrelated:
        print(f"  {Path(first).name} {Path(second).name} {parts}")


def _error(part: object, spans: tuple[Moment, Moment]) -> tuple[float, float]:
    """Return the error of the first start, and the largest of starts and ends."""
    found = np.array([part.first, part.second])  # type: ignore[attr-defined]
    errors = np.abs(found - np.array(spans))
    return float(errors.sum()), float(errors.max())


def measure_vectors(count: int, brute: bool) -> None:
    """Print how many planted pairs are found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.npy"
        copied = _write_vectors(path, count)
        features = Column([np.load(path, "r")])
        scaling = np.stack([np.zeros(DIMENSIONS), np.ones(DIMENSIONS)])
        numbers = np.arange(count)
        inverse = inverse_lengths(features, scaling)
        clips = Clips(features, scaling, inverse, numbers, numbers.astype(np.int32))
        start, worked = time.monotonic(), time.process_time()
        pairs = _as_set(clips)
        print(
            f"{count} clips: {len(pairs)} pairs in {time.monotonic() - start:.0f} s "
            f"({time.process_time() - worked:.0f} s of processor), "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"
        )
        first = count - len(copied)
        hits = [(int(one), first + number) in pairs for number, one in enumerate(copied)]
        print(f"planted pairs found: {np.mean(hits):.4f} of {len(hits)}")
        if brute:
            duplicates_buckets._SMALL = count
            everything = _as_set(clips)
            print(f"pairs of brute force found: {len(pairs & everything) / len(everything):.4f}")


def _as_set(clips: Clips) -> set[tuple[int, int]]:
    found = similar_clips(clips, THRESHOLD, NEIGHBOURS)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def _write_vectors(path: Path, count: int) -> NDArray[np.int64]:
    """Write vectors; the last percent are copies of those whose numbers are returned."""
    draw = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (count, DIMENSIONS))
    centres = draw.standard_normal((CLUSTERS, DIMENSIONS), np.float32)
    for first in range(0, count, 20_000):
        size = min(20_000, count - first)
        rows = NOISE * draw.standard_normal((size, DIMENSIONS), np.float32)
        vectors[first : first + size] = rows + centres[draw.integers(0, CLUSTERS, size)]
    copies = count // 100
    copied = np.sort(draw.choice(count - copies, copies, replace=False))
    ones = vectors[copied] / np.linalg.norm(vectors[copied], axis=1, keepdims=True)
    aside = draw.standard_normal((copies, DIMENSIONS), np.float32)
    aside -= (aside * ones).sum(1, keepdims=True) * ones
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    cosines = draw.uniform(THRESHOLD + 0.001, 1, (copies, 1))
    vectors[count - copies :] = cosines * ones + np.sqrt(1 - cosines**2) * aside
    return copied


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    vectors = commands.add_parser("vectors")
    vectors.add_argument("--clips", type=int, default=1_000_000)
    vectors.add_argument("--brute", action="store_true")
    videos = commands.add_parser("videos")
    videos.add_argument("run", type=Path)
    videos.add_argument("files", nargs="+")
    videos.add_argument("--every", default="1")
    videos.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.command == "vectors":
        measure_vectors(given.clips, given.brute)
    else:
        measure_videos(given.run, given.files, given.every, given.seed)


if __name__ == "__main__":
    main()
