"""`vidssl map`: the videos of an index as points on a page; pointing at one shows it moving.

The page runs nothing: what appears, and which class stands out, is told by its style sheet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.base.escaping import escape
from vidssl_cli.media.encode import encode_webp
from vidssl_cli.pages import charts, html, moving_pictures
from vidssl_cli.pages.projection import Projection, lay_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_cli.search.store import Index

MOST = 20_000
"""Points on a page; of larger indexes a sample is drawn, evenly from all classes."""
HEIGHT, RATE, QUALITY = 88, 6.0, 40
"""Of a moving picture: pixels, pictures per second at most, and quality from 0 to 100."""
SHAPES = 4
"""Of points: with six colours they tell 24 classes apart."""
NARROWEST, WIDEST = 0.9, 2.0
"""Ratios of width by height that a map may have."""


@dataclass(frozen=True)
class Summary:
    """What is on the page: the JSON document of `vidssl map`."""

    page: str
    videos: int
    """In the index."""
    points: int
    """On the page."""
    moving: int
    """Of those, how many show their video."""
    projection: Projection
    variance: float | None
    """Share of the variance that the map shows, from 0 to 1; unknown for UMAP."""
    broken: list[dict[str, str]]
    """``{"path", "reason"}`` of every video that should be shown and cannot be read."""


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
    videos = index.gallery.videos
    chosen = sample([video.label for video in videos], MOST)
    plane = lay_out(index.level("video").vectors(chosen), projection)
    shown = {int(chosen[n]) for n in sample([videos[item].label for item in chosen], moving)}
    pictures, broken = _pictures([(item, videos[item]) for item in sorted(shown)])
    labels = (videos[item].label for item in chosen)
    counts = dict(sorted(Counter(label for label in labels if label is not None).items()))
    classes = {label: number for number, label in enumerate(counts)}
    places, ratio = _places(plane.points)
    points = [
        _point(item, videos[item], classes, place, pictures.get(item))
        for item, place in zip(chosen.tolist(), places, strict=True)
    ]
    content = (
        f"{_style(len(classes))}\n{_legend(counts)}\n"
        f'<div class="map" style="--ratio:{ratio:.3f}">\n' + "\n".join(points) + "\n</div>"
    )
    subtitle = _subtitle(len(videos), len(chosen), len(shown), projection, plane.variance)
    html.write_page(path, "Map of the index", subtitle, content, style="map.css")
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


def _pictures(items: Sequence[tuple[int, Video]]) -> tuple[dict[int, str], list[MediaError]]:
    """Return a moving picture of each video as HTML, or why there is none, by item."""
    broken: list[MediaError] = []

    def picture(video: Video) -> str:
        try:
            frames, rate = moving_pictures.moving_frames(video, height=HEIGHT, rate=RATE)
        except MediaError as error:
            broken.append(error)
            return f'<span class="missing">{escape(str(error))}</span>'
        url = html.data_url(encode_webp(frames, rate, quality=QUALITY), "webp")
        return f'<img src="{url}" alt="" loading="lazy">'

    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        drawn = track(pool.map(picture, [v for _, v in items]), "pictures", len(items))
        pictures = {item: text for (item, _), text in zip(items, drawn, strict=True)}
    return pictures, sorted(broken, key=lambda error: error.where or "")


def _places(points: NDArray[np.float64]) -> tuple[list[tuple[float, float]], float]:
    """Return percent from the left and from the top, and the map's width by its height."""
    low, span = points.min(0), np.ptp(points, 0)
    share = np.where(span > 0, (points - low) / np.where(span > 0, span, 1), 0.5)
    ratio = span[0] / span[1] if span[1] > 0 else WIDEST
    places = np.stack([2 + 96 * share[:, 0], 3 + 94 * (1 - share[:, 1])], 1)
    return [(x, y) for x, y in places.tolist()], float(min(max(ratio, NARROWEST), WIDEST))


def _point(
    item: int,
    video: Video,
    classes: Mapping[str, int],
    place: tuple[float, float],
    picture: str | None,
) -> str:
    name = Path(video.path).name
    number = classes.get(str(video.label)) if video.label is not None else None
    kind = "none" if number is None else f"k{number} {_look(number)}"
    style = f'style="left:{place[0]:.2f}%;top:{place[1]:.2f}%"'
    if picture is None:
        said = escape(" · ".join([name, *([video.label] if video.label else [])]))
        return f'<span class="dot {kind}" {style} title="{said}"><i></i></span>'
    side = ("left" if place[0] > 50 else "right") + (" up" if place[1] > 50 else "")
    label = f"<b>{escape(video.label)}</b>" if video.label else ""
    return (
        f'<span class="dot {kind}" {style} tabindex="0"><i></i><span class="card {side}">'
        f'{picture}<span class="line">{label}<span class="faint">#{item}</span></span>'
        f'<span class="path">{escape(name)}</span></span></span>'
    )


def _look(number: int) -> str:
    """Return the style classes of a class of videos."""
    shape = number // charts.COLOURS % SHAPES
    return f"c{number % charts.COLOURS} s{shape}"


def _style(classes: int) -> str:
    """Let the class that is chosen in the legend, or pointed at, stand out."""
    colours = "".join(f".c{n}{{--own:var(--c{n})}}" for n in range(charts.COLOURS))
    apart = "".join(
        f"main:has(#k{n}:checked) .dot:not(.k{n}),main:has([for=k{n}]:hover) .dot:not(.k{n})"
        "{opacity:.07}"
        for n in range(classes)
    )
    return f"<style>{charts.colour_style(':root')}{colours}{apart}</style>"


def _legend(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    keys = [
        f'<input type="radio" name="k" id="k{number}"><label for="k{number}" '
        f'class="{_look(number)}"><i></i>{escape(label)} <small>{count}</small></label>'
        for number, (label, count) in enumerate(counts.items())
    ]
    every = '<input type="radio" name="k" id="all" checked><label for="all">all</label>'
    return f'<div class="legend">{"".join(chain([every], keys))}</div>'


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
