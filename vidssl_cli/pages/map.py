"""`vidssl map`: the videos of an index as points on a page; pointing at one shows it moving.

The page runs nothing: its style sheet shows a video, and makes the other classes fade.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.encode import encode_webp
from vidssl_cli.pages.charts import COLOURS
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.pages.moving_pictures import Picture, moving_frames
from vidssl_cli.pages.projection import Projection, lay_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_cli.search.store import Index

MOST = 20_000
"""Points on a page; of larger indexes a sample is drawn, evenly from all classes."""
HEIGHT, RATE, QUALITY = 88, 6.0, 40
"""Of a moving picture: pixels, frames per second at most, and quality from 0 to 100."""
SHAPES = 4
"""Shapes of points: with six colours they tell 24 classes apart."""
NARROWEST, WIDEST = 0.9, 2.0
"""Limits of a map's width by its height."""


@dataclass(frozen=True)
class Summary:
    """What is on the page: the JSON document of `vidssl map`."""

    page: str
    videos: int
    """In the index."""
    points: int
    """On the page."""
    moving: int
    """Points that show their video."""
    projection: Projection
    variance: float | None
    """Share of the variance that the map shows, from 0 to 1; unknown for UMAP."""
    broken: list[dict[str, str]]
    """``{"path", "reason"}`` of every video that should be shown and cannot be read."""


@dataclass(frozen=True)
class Key:
    """A class in the legend."""

    label: str
    count: int
    look: str
    """Style classes."""


@dataclass(frozen=True)
class Point:
    """A video on the map."""

    item: int
    name: str
    label: str | None
    look: str
    """Style classes."""
    left: float
    """Percent from the left."""
    top: float
    picture: Picture | None


def write_map(path: Path, index: Index, *, projection: Projection, moving: int) -> Summary:
    """Write the page.

    Args:
        path: The HTML file.
        index: Whose videos to draw.
        projection: How vectors become points.
        moving: How many videos are shown moving, at most; the others by their names.

    Raises:
        UsageError: UMAP is not installed, or there are too few videos for it.
    """
    items = index.gallery.items
    videos = {item: index.gallery.videos[item] for item in items.tolist()}
    chosen = items[sample([video.label for video in videos.values()], MOST)]
    plane = lay_out(index.level("video").vectors(chosen), projection)
    shown = {int(chosen[n]) for n in sample([videos[item].label for item in chosen], moving)}
    pictures, broken = _pictures([(item, videos[item]) for item in sorted(shown)])
    labels = (videos[item].label for item in chosen)
    counts = sorted(Counter(label for label in labels if label is not None).items())
    legend = [Key(label, count, _look(number)) for number, (label, count) in enumerate(counts)]
    looks: dict[str | None, str] = {None: "none"}
    looks |= {key.label: f"k{number} {key.look}" for number, key in enumerate(legend)}
    places, ratio = _places(plane.points)
    points = [
        Point(
            item, Path(videos[item].path).name, videos[item].label, looks[videos[item].label],
            *place, pictures.get(item),
        )
        for item, place in zip(chosen.tolist(), places, strict=True)
    ]  # fmt: skip
    subtitle = _subtitle(len(videos), len(chosen), len(shown), projection, plane.variance)
    write_page(
        path, "map.html", title="Map of the index", subtitle=subtitle, legend=legend, ratio=ratio,
        points=points,
    )  # fmt: skip
    return Summary(
        str(path), len(videos), len(chosen), len(pictures) - len(broken), projection,
        plane.variance, [error.row for error in broken],
    )  # fmt: skip


def sample(labels: Sequence[str | None], count: int) -> NDArray[np.int64]:
    """Return which of the items to take, ascending: all, or so many evenly from all classes."""
    members: dict[str | None, list[int]] = defaultdict(list)
    for item, label in enumerate(labels):
        members[label].append(item)
    taken: list[int] = []
    smallest_first = sorted(members.values(), key=len)
    for number, items in enumerate(smallest_first):
        share = (count - len(taken)) // (len(smallest_first) - number)
        share = min(len(items), share)
        taken += [items[place * len(items) // share] for place in range(share)]
    return np.array(sorted(taken), np.int64)


def _pictures(items: Sequence[tuple[int, Video]]) -> tuple[dict[int, Picture], list[MediaError]]:
    """Return the picture of each video by item, and why there is none of some."""
    broken: list[MediaError] = []

    def picture(video: Video) -> Picture:
        try:
            frames, rate = moving_frames(video, height=HEIGHT, rate=RATE)
        except MediaError as error:
            broken.append(error)
            return Picture(problem=str(error))
        return Picture(data_url(encode_webp(frames, rate, quality=QUALITY), "webp"))

    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        drawn = track(pool.map(picture, [video for _, video in items]), "pictures", len(items))
        pictures = {item: made for (item, _), made in zip(items, drawn, strict=True)}
    return pictures, sorted(broken, key=lambda error: error.where or "")


def _places(points: NDArray[np.float64]) -> tuple[list[tuple[float, float]], float]:
    """Return percent from the left and from the top, and the map's width by its height."""
    low, span = points.min(0), np.ptp(points, 0)
    share = np.where(span > 0, (points - low) / np.where(span > 0, span, 1), 0.5)
    ratio = span[0] / span[1] if span[1] > 0 else WIDEST
    places = np.stack([2 + 96 * share[:, 0], 3 + 94 * (1 - share[:, 1])], 1)
    return [(x, y) for x, y in places.tolist()], float(min(max(ratio, NARROWEST), WIDEST))


def _look(number: int) -> str:
    """Return the style classes of the colour and the shape of a class of videos."""
    return f"c{number % COLOURS} s{number // COLOURS % SHAPES}"


def _subtitle(
    videos: int, points: int, moving: int, projection: Projection, variance: float | None
) -> str:
    words = [f"{videos} videos" if points == videos else f"{points} of {videos} videos"]
    words.append({"pca": "PCA", "umap": "UMAP"}[projection])
    if variance is not None:
        words[-1] += f", which shows {100 * variance:.0f} % of the variance"
    hint = "point at one, or tap it, to see it"
    words.append(hint if moving == points else f"{hint}; {points - moving} show their names only")
    return " · ".join(words)
