"""Damaged videos: each is read without a complaint, or named with what is wrong with it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import psutil

from torture._footage import DAMAGE, FRAMES, KINDS, behead, drop, truncate, write
from torture._memory import bytes_of, forget_peak
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.media.decode import read_planes
from vidssl_cli.media.probe import probe

SECONDS = 10
MEMORY = 256 << 20
"""Bytes by which a process may grow while it reads a file."""
CUTTING = (truncate, drop, behead)
"""Damage that leaves bytes out: if frames go with them, containers tell; AVI tells always."""


def prepare(shared: Path) -> None:
    """Write a healthy video of every kind, and make sure that it is taken."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        path = shared / f"{name}{kind.suffix}"
        write(path, kind, seed)
        if probe(str(path)).frames != FRAMES:
            raise Broken(f"{path} is healthy, but does not decode to {FRAMES} frames")


def run(case: Case) -> Facts:
    """Damage one video in one way, scan it and read clips of it."""
    name = list(KINDS)[case.number % len(KINDS)]
    damage = DAMAGE[case.number // len(KINDS) % len(DAMAGE)]
    source = case.shared / f"{name}{KINDS[name].suffix}"
    path = case.folder / f"damaged{source.suffix}"
    path.write_bytes(damage(bytearray(source.read_bytes()), case.random))

    before = psutil.Process().memory_info().rss
    forget_peak()
    began = time.monotonic()
    video: Video | None = None
    reason = ""
    try:
        video = probe(str(path))
        _read_clips(case, video)
    except MediaError as error:
        reason = str(error)
        if error.where != str(path) or not reason:
            raise Broken(f"an error does not name {path}: {error.where}: {reason}") from error
    seconds = time.monotonic() - began
    growth = bytes_of("VmHWM") - before
    if seconds > SECONDS:
        raise Broken(f"took {seconds:.1f} s: {reason or 'taken'}")
    if growth > MEMORY:
        raise Broken(f"took {growth >> 20} MB: {reason or 'taken'}")
    if video and reason:
        raise Broken(f"was taken by the scan, but a clip cannot be read: {reason}")
    facts = {"kind": name, "damage": damage.__name__, "named": bool(reason), "growth": growth}
    if video:
        account = _account(path)
        _compare(account, video)
        if account.frames < FRAMES and (damage in CUTTING or path.suffix == ".avi"):
            raise Broken(f"ends after {account.frames} of {FRAMES} frames without a word")
        facts["short"] = account.frames < FRAMES
    return facts | {"slowest": round(seconds, 2)}


def _read_clips(case: Case, video: Video) -> None:
    frames = video.frames or 0
    for _ in range(3):
        first = case.random.randrange(frames)
        read_planes(video, range(first, min(first + 8, frames)), 32)


@dataclass
class _Account:
    """What a plain decode of a file saw."""

    errors: int = 0
    frames: int = 0
    damaged: int = 0
    hidden: int = 0
    declared: int = 0


def _account(path: Path) -> _Account:
    """Decode a file with nothing but av, and count everything that is not as it should be."""
    account = _Account()
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        stream = container.streams.best("video")
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "NONE"
        account.declared = stream.frames
        for packet in container.demux(stream):
            account.hidden += packet.is_discard
            account.errors += packet.is_corrupt
            try:
                for frame in packet.decode():
                    account.frames += 1
                    account.damaged += frame.is_corrupt
            except av.FFmpegError:
                account.errors += 1
    return account


def _compare(account: _Account, video: Video) -> None:
    """Complain of a video that was taken though something is wrong with it."""
    if account.errors or account.damaged:
        raise Broken(
            f"was taken, but a plain decode meets {account.errors} errors and "
            f"{account.damaged} damaged frames"
        )
    if account.frames != video.frames:
        raise Broken(f"has {account.frames} frames, but was taken for {video.frames}")
    # Where nothing else is wrong, `data scan` counts the files that declare more than they have,
    # and `data check` names them, by this:
    if account.declared > account.frames and video.declared != account.declared:
        raise Broken(f"ends after {account.frames} of {account.declared} frames without a word")


def summary(facts: Sequence[Facts]) -> str:
    """Put the figures of all cases into a sentence or two."""
    named = sum(fact["named"] for fact in facts)
    short = Counter(fact["damage"] for fact in facts if fact.get("short"))
    ways = ", ".join(f"{way} {count}" for way, count in short.most_common()) or "none"
    return (
        f"{named} of {len(facts)} damaged files are named with the reason, the others decode "
        f"without an error; slowest {max(fact['slowest'] for fact in facts)} s, growth at most "
        f"{max(fact['growth'] for fact in facts) >> 20} MB. Fewer frames than the undamaged file, "
        f"with no sign of it but perhaps the declared number: {ways}."
    )


SUITE = Suite(
    promise="a damaged video ends no process, takes at most 10 s and 256 MB, and is named with the "
    "reason if anything in it raises, ends short or decodes damaged",
    cases=2000,
    share=(0, 23, 45, 61, 82, 104, 126, 148, 169),
    run=run,
    prepare=prepare,
    summary=summary,
    limit=60,
)
