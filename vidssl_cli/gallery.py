"""The gallery page: queries and what was found, as moving pictures in one self-contained file.

Pictures are animated WebP. Readers who asked their system for less motion see still ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from vidssl_cli import pages
from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.base.escaping import escape
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import frame_rate
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import encode_webp
from vidssl_cli.model.card import Moment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidssl_cli.search.retrieve import Answer
    from vidssl_cli.search.store import Index

HEIGHT = 132
"""Pixels of a moving picture."""
WIDEST = 2.4
"""Largest ratio of the sides that is shown as it is; more is squeezed to it."""
RATE = 12.5
"""Pictures per second, at most."""
SHORTEST, LONGEST = 1.6, 3.2
"""Seconds that a moving picture shows; shorter moments are shown with what is around them."""


@dataclass(frozen=True)
class Card:
    """One video on the page."""

    video: Video
    moment: Moment | None = None
    """The part that is meant, in seconds; None stands for the whole video."""
    note: str = ""
    """What else is written below it."""
    rank: int | None = None
    score: float | None = None
    """From -1 to 1."""
    right: bool | None = None
    """Whether it is what was looked for; None if nobody knows."""


@dataclass(frozen=True)
class Section:
    """A query and its hits."""

    query: Card
    hits: Sequence[Card]
    title: str = "Query"


def write_answers(path: Path, answers: Sequence[Answer], index: Index) -> None:
    """Write the page of `vidssl retrieve`."""
    sections = []
    for answer in answers:
        wanted = answer.query.video.label
        hits = [
            Card(
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
        sections.append(Section(Card(query.video, query.moment), hits, title))
    subtitle = f"most alike by cosine similarity, among {len(index.gallery.videos)} videos"
    write_page(path, "Nearest neighbours", subtitle, sections)


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Write a page of queries with their hits; see `draw`.

    Args:
        path: The HTML file.
        title: Its heading.
        subtitle: One line below.
        sections: From top to bottom.
    """
    pages.write_page(path, title, subtitle, draw(sections), style="gallery.css")


def draw(sections: Sequence[Section]) -> str:
    """Return queries with their hits as HTML, to be styled by gallery.css.

    A video that cannot be read, or is not where it was, is shown by its name alone.
    """
    cards = {card: "" for section in sections for card in (section.query, *section.hits)}
    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        pictures = pool.map(_picture, cards)
        for card, picture in zip(cards, track(pictures, "pictures", len(cards)), strict=True):
            cards[card] = picture
    ratio = median(_ratio(card.video) for card in cards) if cards else 1
    content = "\n".join(_section(section, cards) for section in sections)
    return f'<div style="--ratio:{ratio:.3f}">\n{content}\n</div>'


def _section(section: Section, pictures: Mapping[Card, str]) -> str:
    hits = "\n".join(f"<li>{_hit(card, pictures[card])}</li>" for card in section.hits)
    query = section.query
    judged = [card.right for card in section.hits if card.right is not None]
    tally = f'<div class="faint">{sum(judged)} of {len(judged)} right</div>' if judged else ""
    return (
        f'<section>\n<figure class="query"><div class="picture">{pictures[query]}</div>'
        f'<figcaption><div class="kicker">{escape(section.title)}</div>'
        f"{_lines(query)}{tally}</figcaption></figure>\n"
        f'<ol class="hits">\n{hits}\n</ol>\n</section>'
    )


def _hit(card: Card, picture: str) -> str:
    state, mark = "", ""
    if card.right is not None:
        state, sign = ("right", "✓") if card.right else ("wrong", "✗")
        mark = f'<span class="mark" title="{state} class">{sign}</span>'
    score = card.score or 0
    return (
        f'<figure class="{state}"><div class="picture">{picture}'
        f'<span class="rank">{card.rank}</span>{mark}</div>'
        f'<div class="bar"><i style="width:{100 * max(0, score):.1f}%"></i></div>'
        f"<figcaption>{_lines(card)}</figcaption></figure>"
    )


def _lines(card: Card) -> str:
    """Say what it is, how alike, which moment, and of which file."""
    facts = [card.note] if card.note else []
    if card.moment:
        facts.insert(0, f"{card.moment[0]:.1f}–{card.moment[1]:.1f} s")
    lines = [f'<span class="faint">{escape(" · ".join(facts))}</span>'] if facts else []
    if card.video.label:
        lines.insert(0, f'<span class="label">{escape(card.video.label)}</span>')
    if card.score is not None:
        score = f'<span class="score">{card.score:.3f}</span>'
        lines[:1] = [f'<div class="line">{"".join(lines[:1])}{score}</div>']
    name = escape(Path(card.video.path).name)
    path = f'<div class="path" title="{escape(card.video.path)}">{name}</div>'
    return "".join(f"<div>{line}</div>" for line in lines) + path


def _picture(card: Card) -> str:
    """Return the moving picture of a video as HTML, with a still for those who want no motion."""
    try:
        frames, rate = moving_frames(card.video, card.moment)
    except MediaError as error:
        return f'<div class="missing">{escape(str(error))}</div>'
    middle = len(frames) // 2
    still, moving = (
        pages.data_url(encode_webp(shown, rate), "webp")
        for shown in (frames[middle : middle + 1], frames)
    )
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img src="{moving}" alt="" loading="lazy"></picture>'
    )


def moving_frames(
    video: Video, moment: Moment | None = None, *, height: int = HEIGHT, rate: float = RATE
) -> tuple[NDArray[np.uint8], float]:
    """Return what shows a video, or a moment of it, in a few seconds around its middle.

    Args:
        video: With its facts.
        moment: In seconds; None stands for all of it.
        height: Of the pictures, in pixels, unless the video has fewer.
        rate: Pictures per second, at most.

    Returns:
        (T, H, W, 3) frames, and how many of them are a second.

    Raises:
        MediaError: The video cannot be read.
    """
    own = frame_rate(video)
    total = video.frames or 1
    start, end = moment or (0, total / own)
    count = min(total, round(own * min(max(end - start, SHORTEST), LONGEST)))
    first = round(own * (start + end) / 2 - count / 2)
    first = min(max(0, first), total - count)
    step = max(1, ceil(own / rate))
    height = max(2, min(height, video.height or height))
    width = max(2, round(height * _ratio(video)))
    if video.packed:  # there is no more to show than was packed
        shrink = min(1, video.packed.height / height, video.packed.width / width)
        height, width = max(2, int(height * shrink)), max(2, int(width * shrink))
    return read_frames(video, range(first, first + count, step), (height, width)), own / step


def _ratio(video: Video) -> float:
    """Return width by height, within what is shown."""
    ratio = video.width / video.height if video.width and video.height else 4 / 3
    return min(max(ratio, 1 / WIDEST), WIDEST)
