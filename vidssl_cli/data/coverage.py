"""Counts the labelled videos that a figure is based on, if some are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from vidssl_cli.contract.videos import Video


def coverage(used: Iterable[Video], left_out: Iterable[Video]) -> dict[str, dict[str, int]]:
    """Count labelled videos by split: ``used``, and ``of`` how many, where some are left out."""
    counts, missing = _labelled(used), _labelled(left_out)
    return {
        split: {"used": counts[split], "of": counts[split] + missing[split]}
        for split in ("train", "val", "test")
        if missing[split]
    }


def describe(shares: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Return counts as facts of a report: ``{"test videos": "43 of 50"}``."""
    return {
        f"{split} videos": f"{share['used']} of {share['of']}" for split, share in shares.items()
    }


def _labelled(videos: Iterable[Video]) -> Counter[str]:
    return Counter(video.split for video in videos if video.split and video.label is not None)
