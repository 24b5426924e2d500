"""The galleries of a report: the hits of a few queries, right and wrong, as moving pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.contract.reports import Neighbours
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.data.packed_set import is_packed_set, read_set
from vidssl_cli.media.probe import probe
from vidssl_cli.pages.gallery import Gallery, Ranking, Thumbnail, draw

if TYPE_CHECKING:
    from vidssl_cli.evaluation.scoreboard import Board
    from vidssl_cli.evaluation.stored_reports import Evaluation


def galleries(board: Board) -> list[tuple[str, Gallery]]:
    """Return what the first run of every recipe found, with titles.

    Videos that cannot be read are shown by their names.
    """
    found = []
    seen: set[str] = set()
    for group, _, evaluation in board.found:
        figures = [figure for figure in evaluation.figures if isinstance(figure, Neighbours)]
        if not figures or group.name in seen:
            continue
        seen.add(group.name)
        videos = _videos(_source(evaluation))
        for figure in figures:
            title = " · ".join((board.title, group.name, figure.title))
            found.append((title, _gallery(figure, videos)))
    return found


def _gallery(figure: Neighbours, videos: dict[str, Video]) -> Gallery:
    return draw(
        [
            Ranking(
                Thumbnail(_video(query, wanted, videos)),
                [
                    Thumbnail(
                        _video(path, label, videos), rank=rank, score=score, right=label == wanted
                    )
                    for rank, (path, label, score) in enumerate(hits, 1)
                ],
            )
            for (query, wanted), hits in zip(figure.queries, figure.hits, strict=False)
        ]
    )


def _video(path: str, label: str, videos: dict[str, Video]) -> Video:
    """Return a video with what its pictures need; one that cannot be read has its name alone."""
    if known := videos.get(path):
        return known
    try:
        return replace(probe(path), label=label)
    except MediaError:
        return Video(path, label=label)


def _source(evaluation: Evaluation) -> str | None:
    """Return the DATA of a command line."""
    words = [part for word in evaluation.argv for part in word.split("=", 1)]
    return words[words.index("--data") + 1] if "--data" in words[:-1] else None


@cache
def _videos(source: str | None) -> dict[str, Video]:
    """Return the videos of a packed set or a manifest, which are read without opening a video."""
    if source is None:
        return {}
    path = Path(source)
    try:
        if is_packed_set(path):
            found = read_set(path)
        elif path.suffix == ".jsonl" and path.is_file():
            found = read_manifest(path)
        else:
            return {}
    except VidsslError:  # the files themselves may be there
        return {}
    return {video.path: video for video in found}
