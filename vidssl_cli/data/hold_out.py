"""Splits data that have no splits, by holding out whole recordings of each class."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import UsageError
from vidssl_cli.base.wording import counted, share
from vidssl_cli.contract.videos import Video


def hold_out(videos: Sequence[Video], share: float) -> list[Video]:
    """Return the videos with the splits ``train`` and ``test``; counts are told on stderr.

    A recording (``group``) is in one split; a video without a group is a recording by itself. The
    choice depends on names alone: from each class the recordings with the smallest digests of their
    names, up to the share, and at least one. Every class keeps a training video, so a class with
    one recording is not tested.

    Args:
        videos: Without splits.
        share: Of the videos of each class, between 0 and 1.

    Raises:
        UsageError: A video has a split, or none can be held out.
    """
    if split := next((video for video in videos if video.split), None):
        raise UsageError(
            f"--hold-out means nothing for DATA with splits: {split.path} is in {split.split}",
            hint="leave it out",
        )
    top = os.path.commonpath([os.path.dirname(video.path) for video in videos])
    groups: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        groups[video.group or f"/{os.path.relpath(video.path, top)}"].append(video)
    classes = {name: Counter(video.label for video in group) for name, group in groups.items()}
    held = _choose(classes, share)
    if not held:
        raise UsageError(
            f"--hold-out {share:g} leaves nothing to test: no class has two recordings",
            hint="give labels or more videos",
        )
    test = {id(video) for name in held for video in groups[name]}
    split_up = [replace(video, split="test" if id(video) in test else "train") for video in videos]
    _tell(split_up, len(held), len(groups))
    return split_up


def _choose(groups: Mapping[str, Counter[str | None]], share: float) -> set[str]:
    """Return the groups to hold out, given how many videos of each class they have."""
    left = sum(groups.values(), Counter())
    total = dict(left)
    held: set[str] = set()
    order = sorted(groups, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    for label in sorted(total, key=str):
        own = [name for name in order if groups[name][label] and name not in held]
        smallest = min((groups[name][label] for name in own), default=0)
        most = max(round(share * total[label]), smallest)
        for name in own:
            fits = total[label] - left[label] + groups[name][label] <= most
            if fits and all(left[each] > count for each, count in groups[name].items()):
                held.add(name)
                left -= groups[name]
    return held


def _tell(videos: Sequence[Video], held: int, groups: int) -> None:
    test = [video for video in videos if video.split == "test"]
    named = sum(video.group is not None for video in videos)
    recordings = share(held, groups, "recording")
    say(f"held out: {share(len(test), len(videos), 'video')}, {recordings}")
    if named < len(videos):
        forms = "does not say which recording it is of", "do not say which recording they are of"
        say(
            f"{share(len(videos) - named, len(videos), 'video', *forms)}, and each is taken for "
            "one: cuts of one recording may be on both sides"
        )
    if untested := {video.label for video in videos} - {video.label for video in test}:
        names = ", ".join(sorted(map(str, untested))[:5])
        classes = counted(len(untested), "class is", "classes are")
        say(f"{classes} not tested, for want of a second recording: {names}")
