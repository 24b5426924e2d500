"""The gallery page: queries and what was found, as moving pictures in one self-contained file.

Pictures are animated WebP. Readers who asked their system for less motion see still ones.
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
from vidssl_cli.base.escaping import escape
from vidssl_cli.contract.videos import Video
from vidssl_cli.media.encode import encode_webp
from vidssl_cli.model.card import Moment
from vidssl_cli.pages import html
from vidssl_cli.pages.moving_pictures import moving_frames, shown_ratio

if TYPE_CHECKING:
    from vidssl_cli.search.retrieve import Answer
    from vidssl_cli.search.store import Index


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
    html.write_page(path, title, subtitle, draw(sections), style="gallery.css")


def draw(sections: Sequence[Section]) -> str:
    """Return queries with their hits as HTML, to be styled by gallery.css.

    A video that cannot be read, or is not where it was, is shown by its name alone.
    """
    cards = {card: "" for section in sections for card in (section.query, *section.hits)}
    with ThreadPoolExecutor(thread_name_prefix="pictures") as pool:
        pictures = pool.map(_picture, cards)
        for card, picture in zip(cards, track(pictures, "pictures", len(cards)), strict=True):
            cards[card] = picture
    ratio = median(shown_ratio(card.video) for card in cards) if cards else 1
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
        html.data_url(encode_webp(shown, rate), "webp")
        for shown in (frames[middle : middle + 1], frames)
    )
    return (
        f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img src="{moving}" alt="" loading="lazy"></picture>'
    )
