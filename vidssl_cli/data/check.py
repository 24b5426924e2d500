"""What would hurt a recipe on given data, before hours go into it: `vidssl data check`."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.config.sections import Input
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.manifest import training_part
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.media.packed import verify_packed

IMBALANCE = 5
"""Largest class over smallest class of the training videos from which it is worth a word."""


@dataclass(frozen=True)
class Finding:
    """One kind of trouble, and where it was found."""

    kind: str
    """A short name that scripts may rely on."""
    message: str
    """What it means for training or evaluation."""
    items: tuple[tuple[str, str], ...]
    """(path or class, what was found there)."""


def check(
    recipe: PretrainRecipe | FinetuneRecipe, videos: Sequence[Video], broken: Sequence[MediaError]
) -> tuple[int, list[Finding]]:
    """Look for everything that would hurt.

    Args:
        recipe: What is to be trained.
        videos: With facts, as `scan.open_data` returns them.
        broken: What could not be read.

    Returns:
        How many videos the recipe can train on, and the findings.

    Raises:
        DamagedFileError: A packed set is damaged, whatever part of it the recipe reads.
    """
    for video in track([video for video in videos if video.packed], "checking"):
        verify_packed(video)
    settings, learned = Input(), training_part(videos)
    if isinstance(recipe, PretrainRecipe):  # fine-tuning takes the input of the weights
        settings, learned = recipe.input, recipe.taken(learned)
    sampler = build_sampler(recipe.sampler, settings)
    reasons = [(video.path, sampler.rejects(video)) for video in videos]
    rejected = [(path, reason) for path, reason in reasons if reason is not None]
    useless = {path for path, _ in rejected}
    usable = [video for video in learned if video.path not in useless]
    findings = [
        Finding(
            "unreadable",
            "left out everywhere",
            tuple((str(error.where), str(error)) for error in broken),
        ),
        Finding("rejected", f"the sampler {recipe.sampler.name} leaves them out", tuple(rejected)),
        *_facts(videos),
        *_labels(recipe, usable, videos),
        *_leaks(videos),
    ]
    visits = sum(map(sampler.visits, usable)) * recipe.train.repeats
    if visits < recipe.train.batch_videos:
        message = f"{visits} visits to {len(usable)} training videos do not fill one batch of"
        findings.append(Finding("batch", f"{message} {recipe.train.batch_videos} videos", ()))
    return len(usable), [found for found in findings if found.items or found.kind == "batch"]


def _facts(videos: Sequence[Video]) -> Iterator[Finding]:
    """Look at what a scan found out about each file."""
    yield Finding(
        "frame count",
        "the header declares another number of frames than decode; vidssl goes by the latter",
        tuple(
            (video.path, f"declares {video.declared}, decodes {video.frames}")
            for video in videos
            if video.declared not in (None, video.frames)
        ),
    )
    yield Finding(
        "timestamps",
        "out of order or missing: harmless here, but other readers may return other frames",
        tuple(
            (video.path, f"timestamps are {video.timing}")
            for video in videos
            if video.timing in ("out of order", "missing")
        ),
    )
    yield Finding(
        "variable frame rate",
        "frames are not evenly spaced in time, so that speed and pace are not what they seem",
        tuple(
            (video.path, f"{video.fps:.2f} frames per second on average")
            for video in videos
            if video.timing == "variable"
        ),
    )


def _labels(
    recipe: PretrainRecipe | FinetuneRecipe, usable: Sequence[Video], videos: Sequence[Video]
) -> Iterator[Finding]:
    """Look at how classes are spread; pre-training ignores them, evaluation does not."""
    sizes = Counter(video.label for video in usable if video.label is not None)
    if sizes and max(sizes.values()) >= IMBALANCE * min(sizes.values()):
        yield Finding(
            "imbalance",
            f"the largest class has at least {IMBALANCE} times the videos of the smallest",
            tuple((label, f"{count} training videos") for label, count in sizes.most_common()),
        )
    yield Finding(
        "unknown class",
        "test videos of classes that have no training video can never be right",
        tuple(
            (video.path, f"class {video.label}")
            for video in videos
            if sizes and video.split == "test" and video.label not in {None, *sizes}
        ),
    )
    if isinstance(recipe, FinetuneRecipe):
        yield Finding(
            "unlabelled",
            "a classifier cannot be trained on them",
            tuple((video.path, "has no label") for video in usable if video.label is None),
        )


def _leaks(videos: Sequence[Video]) -> Iterator[Finding]:
    """Look for training material among the test videos."""
    recordings: dict[str, set[str | None]] = defaultdict(set)
    for video in videos:
        if video.group is not None:
            recordings[video.group].add(video.split)
    leaking = {group for group, splits in recordings.items() if {"train", "test"} <= splits}
    yield Finding(
        "group on both sides",
        "cuts of one recording are in train and test; figures will be too good",
        tuple(
            (video.path, f"{video.split}, group {video.group}")
            for video in videos
            if video.group in leaking
        ),
    )
    yield Finding(
        "duplicate",
        "the same file is in train and test; figures will be too good",
        tuple(_duplicates(videos)),
    )


def _duplicates(videos: Sequence[Video]) -> Iterator[tuple[str, str]]:
    """Yield test videos whose bytes are those of a training video."""
    sizes: dict[int, list[Video]] = defaultdict(list)
    for video in videos:
        if video.split and os.path.isfile(video.path):  # a manifest's facts outlive its files
            sizes[os.path.getsize(video.path)].append(video)
    alike = [group for group in sizes.values() if len({video.split for video in group}) > 1]
    originals: dict[str, str] = {}
    for video in sorted(itertools.chain(*alike), key=lambda video: video.split == "test"):
        content = sha256(Path(video.path))
        if video.split == "train":
            originals[content] = video.path
        elif content in originals:
            yield video.path, f"is {originals[content]}"
