"""Tables and figures of what retrieval found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vidssl_cli.contract.reports import Curves, Neighbours, Table
from vidssl_plugins.evaluators.retrieval_ranking import Found, Search

QUERIES = 5
"""Queries to show, of right ones and of wrong ones each."""


def recall(lines: Mapping[str, Found]) -> Curves:
    """Draw the share of queries with a hit over the number of neighbours looked at."""
    return Curves(
        "recall at k",
        "k, neighbours looked at",
        "queries with a hit",
        {
            name: [(float(k), hits) for k, hits in enumerate(found.hits, 1)]
            for name, found in lines.items()
        },
    )


def hand_made(
    search: Search, rows: Mapping[str, Found], whole: Search, others: Mapping[str, Found]
) -> Table:
    """Return a table of hand-made features of whole videos below those of networks."""
    names = _names(search)
    cells: list[list[str | float | None]] = [
        [name, *_percents(search, found)]
        for name, found in {**rows, "chance": search.by_chance}.items()
    ]
    for name, found in others.items():
        metrics = whole.metrics(found)
        cells.insert(-1, [name, *(_percent(metrics.get(metric)) for metric in names)])
    return Table("compared with hand-made features, percent", ["features", *names], cells)


def warning(alike: Sequence[str], blind: bool) -> Table:
    """Return a table that says that the figures are those of chance, and why.

    Args:
        alike: Sets of weights for which nothing is nearer than anything else.
        blind: Whether the network sees differences of frames, and clips have none.
    """
    why = "the network gives all videos the same features"
    if blind:
        why = "the network sees differences of frames, of which still clips have none"
    text = f"{why}: nothing is nearer than anything else, and the figures are those of chance"
    return Table("nothing to rank", ["weights", "why"], [[", ".join(alike), text]])


def neighbours(search: Search, found: Found) -> list[Neighbours]:
    """Pick a handful of queries whose nearest neighbour is right, and of those where it is not."""
    if found.nearest is None or found.cosines is None:
        return []
    right = search.offered[found.nearest[:, 0]] == search.wanted
    titles = {True: "queries whose nearest is right", False: "queries whose nearest is wrong"}
    figures = []
    for kind, title in titles.items():
        chosen = _spread(np.flatnonzero(right == kind).tolist())
        if not chosen:
            continue
        queries, hits = [], []
        for number in chosen:
            video = search.queries.videos[search.queries.owners[number]]
            queries.append((video.path, str(video.label)))
            items = zip(found.nearest[number], found.cosines[number], strict=True)
            owned = [(search.gallery.videos[search.gallery.owners[i]], c) for i, c in items]
            hits.append([(v.path, str(v.label), round(float(c), 4)) for v, c in owned])
        figures.append(Neighbours(title, queries, hits))
    return figures


def _spread(numbers: Sequence[int]) -> list[int]:
    """Pick a few, evenly spaced."""
    places = np.linspace(0, len(numbers) - 1, min(QUERIES, len(numbers))).round().astype(int)
    return [numbers[place] for place in places]


def _names(search: Search) -> list[str]:
    return list(search.metrics(search.by_chance))


def _percents(search: Search, found: Found) -> list[float | None]:
    return [_percent(value) for value in search.metrics(found).values()]


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)
