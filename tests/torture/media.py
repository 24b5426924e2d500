"""Damaged videos: each is used for the frames that decode, its problems named, or is unreadable."""

from __future__ import annotations

import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import psutil

from torture._footage import DAMAGE, FRAMES, KINDS, behead, drop, truncate, write
from torture._memory import bytes_of, forget_peak
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video, kind_of
from vidssl_cli.media.decode import good_frames, ignore, packets, read_planes
from vidssl_cli.media.open_file import opened
from vidssl_cli.media.probe import probe

SECONDS = 10
MEMORY = 256 << 20
"""Bytes by which a process may grow while it reads a file."""
CUTTING = (truncate, drop, behead)
"""Damage that leaves bytes out: if frames go with them, containers tell; AVI tells always."""
WHOLE, USABLE, UNREADABLE = "whole", "usable", "unreadable"


def prepare(shared: Path) -> None:
    """Write a healthy video of every kind, and make sure that it is whole."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        path = shared / f"{name}{kind.suffix}"
        write(path, kind, seed)
        video = probe(str(path))
        if video.frames != FRAMES or video.problems:
            raise Broken(f"{path} is healthy, but is {video.frames} frames, {video.problems}")


def run(case: Case) -> Facts:
    """Damage one video in one way, scan it and read it."""
    name = list(KINDS)[case.number % len(KINDS)]
    damage = DAMAGE[case.number // len(KINDS) % len(DAMAGE)]
    source = case.shared / f"{name}{KINDS[name].suffix}"
    path = case.folder / f"damaged{source.suffix}"
    path.write_bytes(damage(bytearray(source.read_bytes()), case.random))

    before = psutil.Process().memory_info().rss
    forget_peak()
    began = time.monotonic()
    video: Video | None = None
    reason, unstable = "", False
    try:
        video = probe(str(path))
        unstable = _read_clips(case, video)
    except MediaError as error:
        reason = str(error)
        if error.where != str(path) or not reason:
            raise Broken(f"an error does not name {path}: {error.where}: {reason}") from error
    seconds = time.monotonic() - began
    growth = bytes_of("VmHWM") - before
    if seconds > SECONDS:
        raise Broken(f"took {seconds:.1f} s: {reason or 'used'}")
    if growth > MEMORY:
        raise Broken(f"took {growth >> 20} MB: {reason or 'used'}")
    if video and reason:
        raise Broken(f"was scanned, but a clip cannot be read: {reason}")
    facts = {"kind": name, "damage": damage.__name__, "state": UNREADABLE, "growth": growth}
    if video:
        account = _account(path, video.track)
        if account.good != video.frames:
            raise Broken(f"{account.good} frames decode, but {video.frames} are used")
        if not video.problems:
            _compare(account, video)
            if account.good < FRAMES and (damage in CUTTING or path.suffix == ".avi"):
                raise Broken(f"ends after {account.good} of {FRAMES} frames without a word")
        facts["state"] = USABLE if video.problems else WHOLE
        facts["problems"] = sorted({kind_of(problem) for problem in video.problems})
        facts |= {"frames": video.frames, "unstable": unstable}
    return facts | {"slowest": round(seconds, 2)}


def _read_clips(case: Case, video: Video) -> bool:
    """Compare clips that are reached by seeking with a decode from the start.

    Returns:
        Whether no two decodes give the same.

    Some decoders, above all that of FFV1, give a damaged picture without a mark, parts of which are
    what was in memory before.
    """
    total = video.frames or 0
    every = read_planes(replace(video, keyframes=()), range(total), 32)
    firsts = [case.random.randrange(total) for _ in range(3)]
    for first in [*firsts, *(number for number, _ in video.keyframes)]:
        last = min(first + 8, total)
        read = read_planes(video, range(first, last), 32)
        if not np.array_equal(read, every[first:last]):
            if _is_unstable(video):
                return True
            raise Broken(f"frames {first} to {last} are others when they are reached by seeking")
    return False


def _is_unstable(video: Video) -> bool:
    """Tell whether a decode from the start gives other pictures by what memory held before."""
    found = set()
    for kept in range(4):
        with opened(video.path, track=video.track) as (container, stream):
            decoded = good_frames(container, stream, packets(container, stream), ignore)
            held: deque[av.VideoFrame] = deque(maxlen=kept)  # whose memory is not used again
            pictures = []
            for frame in decoded:
                pictures.append([zlib.crc32(memoryview(plane)) for plane in frame.planes])
                held.append(frame)
            found.add(str(pictures))
    return len(found) > 1


@dataclass
class _Account:
    """What a plain decode of a file saw."""

    errors: int = 0
    good: int = 0
    """Frames that the decoder does not mark as damaged, of packets that are all there."""
    damaged: int = 0
    declared: int = 0

    def take(self, decode: Callable[[], Sequence[av.VideoFrame]]) -> None:
        """Count what a packet gives, or that it gives nothing."""
        try:
            frames = decode()
        except av.FFmpegError:
            self.errors += 1
            return
        damaged = sum(frame.is_corrupt for frame in frames)
        self.damaged += damaged
        self.good += len(frames) - damaged


def _account(path: Path, track: int | None) -> _Account:
    """Decode a file with nothing but av, and count everything that is not as it should be."""
    account = _Account()
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        stream = container.streams.best("video") if track is None else container.streams[track]
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "mjpeg":
            stream.codec_context.options = {"err_detect": "explode"}
        account.declared = stream.frames
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:  # the file ends within it
                    account.errors += 1
                else:
                    account.take(packet.decode)
        except av.FFmpegError:
            account.errors += 1
            account.take(stream.decode)
    return account


def _compare(account: _Account, video: Video) -> None:
    """Complain of a video that is called whole though something is wrong with it."""
    if account.errors or account.damaged:
        raise Broken(
            f"is called whole, but a plain decode meets {account.errors} errors and "
            f"{account.damaged} damaged frames"
        )
    # Where nothing else is wrong, `data scan` counts the files that declare more than they have,
    # and `data check` names them, by this:
    if account.declared > account.good and video.declared != account.declared:
        raise Broken(f"ends after {account.good} of {account.declared} frames without a word")


def summary(facts: Sequence[Facts]) -> str:
    """Put the figures of all cases into a table and a few sentences."""
    states = Counter((fact["damage"], fact["state"]) for fact in facts)
    rows = ["", "| damage | whole | usable | unreadable |", "| --- | --- | --- | --- |"]
    for damage in DAMAGE:
        counts = [states[damage.__name__, state] for state in (WHOLE, USABLE, UNREADABLE)]
        rows.append(f"| {damage.__name__} | {' | '.join(map(str, counts))} |")
    kinds = Counter(kind for fact in facts for kind in fact.get("problems", ()))
    named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    short = sum(fact["state"] == WHOLE and fact["frames"] < FRAMES for fact in facts)
    total = Counter(fact["state"] for fact in facts)
    unstable = sum(fact.get("unstable", False) for fact in facts)
    return (
        f"Of {len(facts)} damaged files {total[WHOLE]} are whole, {total[USABLE]} usable and "
        f"{total[UNREADABLE]} unreadable. Problems: {named or 'none'}. {short} that are called "
        "whole have fewer frames than the undamaged file, with no sign of it but perhaps the "
        f"declared number. {unstable} have pictures that no two decodes give alike. Slowest "
        f"{max(fact['slowest'] for fact in facts)} s, growth at most "
        f"{max(fact['growth'] for fact in facts) >> 20} MB.\n" + "\n".join(rows)
    )


SUITE = Suite(
    promise="a damaged video ends no process, takes at most 10 s and 256 MB, and is used for the "
    "frames that decode with its problems named, or named as unreadable",
    cases=2250,
    share=(0, 23, 45, 61, 82, 104, 126, 148, 169),
    run=run,
    prepare=prepare,
    summary=summary,
    limit=60,
)
