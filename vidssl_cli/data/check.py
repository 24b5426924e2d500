"""`vidssl data check`: finds problems of data for a recipe, before it is trained."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.base.wording import counted
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.config.sections import Input
from vidssl_cli.contract.clips import Draw, Sampler, known_frames
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.copies import Thumbnails, pairs, same_bytes
from vidssl_cli.data.frame_rate import at_rate, build_sampler, frame_rate
from vidssl_cli.data.manifest import training_part
from vidssl_cli.media.packed import verify_packed

IMBALANCE = 5
"""Largest class over smallest class of the training videos from which it is reported."""
LONG = 1 << 16
"""Frames of a video that is longer than any clip."""
VISITS = 4
"""Plans of each video that are checked for repeated frames."""


@dataclass(frozen=True)
class Finding:
    """One kind of problem, and where it was found."""

    kind: str
    """A short name that scripts may rely on."""
    message: str
    """What it means for training or evaluation."""
    items: tuple[tuple[str, str], ...]
    """(path or class, what was found there)."""


def check(
    recipe: PretrainRecipe | FinetuneRecipe,
    videos: Sequence[Video],
    broken: Sequence[MediaError],
    *,
    pictures: bool = True,
    workers: int | None = None,
) -> tuple[int, list[Finding]]:
    """Return the problems of data for a recipe.

    Args:
        recipe: What is to be trained.
        videos: With facts, as `scan.open_data` returns them.
        broken: What could not be read.
        pictures: Decode three frames of each video, to find those of one colour and copies.
        workers: Files decoded at a time; one per core if None.

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
    drawn = Thumbnails(videos, workers) if pictures else None
    findings = [
        Finding(
            "unreadable",
            "left out everywhere",
            tuple(
                (str(error.where), str(error))
                for error in (*broken, *(drawn.broken if drawn else ()))
            ),
        ),
        Finding("rejected", f"the sampler {recipe.sampler.name} leaves them out", tuple(rejected)),
        *_clips(recipe.sampler.build(), settings.fps, usable),
        *_facts(videos),
        *(_pictures(drawn) if drawn else ()),
        *_labels(recipe, usable, videos),
        *_leaks(videos, drawn),
    ]
    visits = sum(map(sampler.visits, usable)) * recipe.train.repeats
    if visits < recipe.train.batch_videos:
        found = f"{counted(visits, 'visit')} to {counted(len(usable), 'training video')}"
        batch = counted(recipe.train.batch_videos, "video")
        message = f"too few for one batch of {batch}: {found}"
        findings.append(Finding("batch", message, ()))
    return len(usable), [found for found in findings if found.items or found.kind == "batch"]


def _clips(sampler: Sampler, fps: float | None, usable: Sequence[Video]) -> Iterator[Finding]:
    """Find training videos with too few frames, or too few per second."""
    short: dict[int, bool] = {}
    for video in usable:
        seen = at_rate(video, fps)
        if (frames := known_frames(seen)) not in short:
            short[frames] = _repeats_frames(sampler, seen)
    yield Finding(
        "too short",
        "shorter than clips, so that the sampler repeats frames",
        tuple(
            (video.path, counted(video.frames or 0, "frame"))
            for video in usable
            if short[known_frames(at_rate(video, fps))]
        ),
    )
    rates = {video.path: frame_rate(video) for video in usable}
    if fps:
        least, message = fps, f"fewer frames per second than input.fps = {fps:g}: some are repeated"
    else:
        usual = statistics.median(rates.values()) if rates else 0
        least, message = usual / 2, f"less than half of the usual {usual:g}: motion looks faster"
    low = {path: rate for path, rate in rates.items() if rate < 0.99 * least}  # 29.97 is 30
    yield Finding(
        "low rate",
        message,
        tuple((path, f"{rate:.2f} frames per second") for path, rate in low.items()),
    )


def _repeats_frames(sampler: Sampler, video: Video) -> bool:
    """Tell whether clips of a video repeat frames that clips of a long video do not."""

    def repeats(frames: int, visit: int) -> bool:
        copies = [replace(video, frames=frames)] * sampler.together
        draws = [Draw(0, visit, number) for number in range(sampler.together)]
        views = sampler.plan_batch(copies, draws)[0].views
        return any(len(np.unique(view.frames)) < len(view.frames) for view in views)

    frames = known_frames(video)
    return any(repeats(frames, visit) and not repeats(LONG, visit) for visit in range(VISITS))


def _facts(videos: Sequence[Video]) -> Iterator[Finding]:
    """Find problems in the facts of a scan."""
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
        "problems",
        "used for the frames that decode",
        tuple((video.path, "; ".join(video.problems)) for video in videos if video.problems),
    )
    yield Finding(
        "timestamps",
        "out of order or missing: no problem here, but other readers may return other frames",
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
    yield Finding(
        "time jumps",
        "as in joined recordings: a clip across a jump shows two moments",
        tuple(
            (video.path, f"timestamps jump within {video.duration:.0f} s")
            for video in videos
            if video.timing == "jumps"
        ),
    )
    yield Finding(
        "orientation",
        "upright videos are among wide ones, or wide among upright; a square is cut from each",
        tuple((video.path, f"{video.width}x{video.height}") for video in _turned(videos)),
    )


def _turned(videos: Sequence[Video]) -> Sequence[Video]:
    """Return the upright videos or the wide ones, of which there are fewer."""
    known = [(video, (video.height or 0) - (video.width or 0)) for video in videos]
    upright = [video for video, excess in known if excess > 0]
    wide = [video for video, excess in known if excess < 0]
    return min(upright, wide, key=len)


def _pictures(drawn: Thumbnails) -> Iterator[Finding]:
    """Find videos of a single colour."""
    yield Finding(
        "single colour",
        "nothing can be learned from them",
        tuple((video.path, "three frames show one colour each") for video in drawn.of_one_colour()),
    )


def _labels(
    recipe: PretrainRecipe | FinetuneRecipe, usable: Sequence[Video], videos: Sequence[Video]
) -> Iterator[Finding]:
    """Find problems of classes; they matter for evaluation, even if training ignores labels."""
    sizes = Counter(video.label for video in usable if video.label is not None)
    if sizes and max(sizes.values()) >= IMBALANCE * min(sizes.values()):
        yield Finding(
            "imbalance",
            f"the largest class has at least {IMBALANCE} times the videos of the smallest",
            tuple(
                (label, counted(count, "training video")) for label, count in sizes.most_common()
            ),
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


def _leaks(videos: Sequence[Video], drawn: Thumbnails | None) -> Iterator[Finding]:
    """Find videos that are in several splits, and copies."""
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
    copies = [(video, same) for group in same_bytes(videos) for video, same in pairs(group)]
    yield Finding(
        "duplicate",
        "the same file is in train and test; figures will be too good",
        tuple(
            (video.path, f"is {same.path}") for video, same in copies if video.split != same.split
        ),
    )
    yield Finding(
        "repeated file",
        "the same file is in one split more than once, and weighs more",
        tuple(
            (video.path, f"is {same.path}") for video, same in copies if video.split == same.split
        ),
    )
    known = {id(video) for video, _ in copies}
    yield Finding(
        "near duplicate",
        "pictures look like those of a video in another split; figures may be too good",
        tuple(
            (video.path, f"looks like {other.path}")
            for video, other in (drawn.near_copies() if drawn else ())
            if id(video) not in known
        ),
    )
