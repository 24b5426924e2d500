"""The gallery page: queries with their hits, as moving pictures in one self-contained file.

Pictures are animated WebP. Readers who asked their system for less motion see still ones. Names are
links that play the files, where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.pages.html import write_page
from vidssl_cli.pages.moving_pictures import Picture, moving_frames, moving_picture, shown_ratio

if TYPE_CHECKING:
    from vidssl_cli.search.retrieve import Answer
    from vidssl_cli.search.store import Index


@dataclass(frozen=True)
class Thumbnail:
    """A video on the page, with what is written below it."""

    video: Video
    moment: Moment | None = None
    """The part that is shown, in seconds; None stands for the whole video."""
    note: str = ""
    rank: int | None = None
    score: float | None = None
    """From -1 to 1."""
    right: bool | None = None
    """Whether it has the class of the query; None if that is unknown."""

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.video.path).name

    @property
    def address(self) -> str:
        """The file, with the moment, for a browser on the machine that has it."""
        moment = f"#t={self.moment[0]:.2f},{self.moment[1]:.2f}" if self.moment else ""
        return Path(self.video.path).absolute().as_uri() + moment

    @property
    def facts(self) -> str:
        """The moment and the note."""
        moment = f"{self.moment[0]:.1f}–{self.moment[1]:.1f} s" if self.moment else ""
        return " · ".join(filter(None, [moment, self.note]))


@dataclass(frozen=True)
class Ranking:
    """A query and its hits, best first."""

    query: Thumbnail
    hits: Sequence[Thumbnail]
    title: str = "Query"

    @property
    def tally(self) -> str:
        """How many hits are right, of those for which that is known."""
        judged = [hit.right for hit in self.hits if hit.right is not None]
        return f"{sum(judged)} of {len(judged)} right" if judged else ""


@dataclass(frozen=True)
class Gallery:
    """Rankings with all their pictures, for the template ``rankings.html``."""

    rankings: Sequence[Ranking]
    pictures: Mapping[Thumbnail, Picture]
    ratio: float
    """Width by height of the pictures."""


def write_answers(path: Path, answers: Sequence[Answer], index: Index) -> None:
    """Write the page of `vidssl retrieve`."""
    rankings = []
    for answer in answers:
        wanted = answer.query.video.label
        hits = [
            Thumbnail(
                index.gallery.videos[hit.item],
                (hit.start, hit.end),
                f"#{hit.item}",
                hit.rank,
                hit.score,
                hit.label == wanted if hit.label and wanted else None,
            )
            for hit in answer.hits
        ]
        query = answer.query
        title = "Query" if query.item is None else f"Query #{query.item}"
        rankings.append(Ranking(Thumbnail(query.video, query.moment), hits, title))
    subtitle = f"most alike by cosine similarity, among {len(index.gallery)} videos"
    write_gallery(path, "Nearest neighbours", subtitle, rankings)


def write_gallery(path: Path, title: str, subtitle: str, rankings: Sequence[Ranking]) -> None:
    """Write a page of rankings, from top to bottom; see `draw`."""
    write_page(path, "gallery.html", title=title, subtitle=subtitle, gallery=draw(rankings))


def draw(rankings: Sequence[Ranking]) -> Gallery:
    """Make the pictures of rankings.

    A video that cannot be read, or is not where it was, is shown by its name and the reason.
    """
    shown = list(dict.fromkeys(each for one in rankings for each in (one.query, *one.hits)))
    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        made = track(pool.map(_picture, shown), "pictures", len(shown))
        pictures = dict(zip(shown, made, strict=True))
    ratio = median(shown_ratio(each.video) for each in shown) if shown else 1
    return Gallery(rankings, pictures, ratio)


def _picture(shown: Thumbnail) -> Picture:
    try:
        return moving_picture(*moving_frames(shown.video, shown.moment))
    except MediaError as error:
        return Picture(problem=str(error))
