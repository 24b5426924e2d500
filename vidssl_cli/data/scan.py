"""DATA becomes videos with facts: the way in for every command that takes DATA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vidssl_cli.base.console import leave_out, say, track, warn
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.engine import Engine, Threads
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.base.wording import share
from vidssl_cli.contract.videos import Damaged, Video, kind_of
from vidssl_cli.data.layouts import LeftOut, find_videos
from vidssl_cli.data.lists import Lists
from vidssl_cli.data.packed_set import is_changed
from vidssl_cli.files.confine import Root
from vidssl_cli.media.probe import probe


def open_data(
    source: str | Path,
    *,
    split: int = 1,
    lists: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    classes: Path | None = None,
    root: Path | None = None,
    known: Mapping[str, Video] | None = None,
    keep: Callable[[Video], None] = lambda video: None,
    take: Callable[[Sequence[Video]], Sequence[Video]] | None = None,
    damaged: Damaged = "use",
    workers: int | None = None,
    engine: Engine | None = None,
    hold_out: float | None = None,
    left_out: list[Video] | None = None,
    passed_over: Counter[str] | None = None,
) -> tuple[list[Video], list[MediaError]]:
    """Find the videos of DATA, and their facts where no manifest holds them.

    Args:
        source: A folder, a manifest, a list or one video: docs/data.md.
        split: Which official split of UCF101 or HMDB51, 1 to 3; of Diving48 and FineGym, 1 or 2.
        lists: Folder of their official lists.
        train_list: List of training videos, paths relative to the folder.
        test_list: List of test videos.
        classes: Class names for lists that number their classes.
        root: Folder that all files must lie in; see `find_videos`.
        known: Facts by path, from an earlier scan of files that have not changed since.
        keep: Is given the row of every file that was decoded, as soon as it is known.
        take: Chooses some of the videos before any is decoded; it may leave none.
        damaged: What to do with videos that have problems.
        workers: Files decoded at a time; one per core if None.
        engine: Decodes them instead of that many threads.
        hold_out: Share of every class to test with, where DATA has no splits; see `hold_out`.
        left_out: Receives the rows that DATA has of videos that are not returned: those that cannot
            be used, and those that lists name and that are not there.
        passed_over: Counts the files in a folder that do not have the ending of a video, by ending.

    Returns:
        The videos that are used, in an order that depends on names only, and one error for each
        other one. Both these and the problems of those that are used are told on stderr.

    Raises:
        UsageError: DATA cannot be used, or nothing in it can.
        DamagedFileError: A manifest or list cannot be understood, or leads out of bounds.
    """
    given = Lists(split, lists, train_list, test_list, classes, hold_out)
    gone = LeftOut(others=Counter() if passed_over is None else passed_over)
    found = find_videos(source, given, Root(root) if root else None, gone)
    found = found if take is None else [*take(found)]
    broken, unusable = gone.folders, gone.absent
    known = {} if known is None else known
    recalled = [video if _has_facts(video) else _recalled(video, known) for video in found]
    videos: list[Video] = []
    results = _probed(recalled, engine or Threads(workers or usable_cores()))
    for before, earlier, result in zip(found, recalled, results, strict=True):
        if isinstance(result, Video) and not _has_facts(earlier):
            keep(result)
        if isinstance(result, Video) and result.problems:
            if damaged == "leave-out":
                problems = "; ".join(result.problems)
                result = MediaError(f"has problems: {problems}", where=result.path)
            elif not _has_facts(before):
                warn_of_problems(result)
        if isinstance(result, MediaError):
            leave_out(result, broken)
            unusable.append(before)
        else:
            videos.append(result)
    if left_out is not None:
        left_out.extend(unusable)
    if not videos and take is None:
        raise UsageError(
            f"none of the {len(found)} videos of {source} can be read",
            hint="the warnings above say why",
        )
    _tell_problems(videos)
    _tell_tracks(videos)
    _tell_short(videos)
    return videos, broken


def warn_of_problems(video: Video) -> None:
    """Say what is missing or odd in a video, if anything is."""
    if video.problems:
        problems = "; ".join(video.problems)
        warn(f"{video.path}: {problems}; the {video.frames} frames that decode are used")


def _tell_problems(videos: Sequence[Video]) -> None:
    """Say how many videos have which problems."""
    troubled = [video for video in videos if video.problems]
    if troubled:
        kinds = Counter(kind_of(problem) for video in troubled for problem in video.problems)
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        say(
            f"{share(len(troubled), len(videos), 'video', 'has', 'have')} problems ({counts}); "
            "the frames that decode are used, and --damaged leave-out leaves such videos out"
        )


def _tell_tracks(videos: Sequence[Video]) -> None:
    """Say in how many files one of several video streams was chosen."""
    if several := [video for video in videos if video.track is not None]:
        first = several[0]
        say(
            f"{share(len(several), len(videos), 'file', 'has', 'have')} several video streams; the "
            f"one with most frames is used, such as number {first.track} of {first.path}"
        )


def _tell_short(videos: Sequence[Video]) -> None:
    """Say how many videos have fewer frames than they declare, though nothing else is wrong.

    Edit lists make such files, and encoders that drop frames do.
    """
    whole = [video for video in videos if not video.problems]
    short = [video for video in whole if (video.declared or 0) > (video.frames or 0)]
    if short:
        first = short[0]
        found = share(len(short), len(videos), "video", "declares", "declare")
        say(
            f"{found} more frames than decode, the first "
            f"{first.path}: {first.frames} of {first.declared}; `vidssl data check` names them"
        )


def _probed(videos: Sequence[Video], engine: Engine) -> Iterator[Video | MediaError]:
    """Yield every video with its facts, or what is wrong with it, in order."""
    unknown = [video for video in videos if not _is_settled(video)]
    results = iter(track(engine.map(_probe, unknown), "scanning", total=len(unknown)))
    for video in videos:
        yield video if _is_settled(video) else next(results)


def _recalled(video: Video, known: Mapping[str, Video]) -> Video:
    """Return the video with facts from an earlier scan, if there are any."""
    if (facts := known.get(video.path)) is None:
        return video
    return replace(facts, label=video.label, split=video.split, group=video.group)


def _has_facts(video: Video) -> bool:
    return None not in (video.frames, video.fps, video.width, video.height, video.duration)


def _is_settled(video: Video) -> bool:
    return _has_facts(video) and not video.packed


def _probe(video: Video) -> Video | MediaError:
    if video.packed and is_changed(video):
        reason = "is not the file that was packed; `vidssl data pack` again takes it anew"
        return MediaError(reason, where=video.path)
    if _has_facts(video):
        return video
    try:
        facts = probe(video.path)
    except MediaError as error:
        return error
    return replace(facts, label=video.label, split=video.split, group=video.group)
