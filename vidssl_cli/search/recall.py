"""Recall of an index that is not exact, on a sample of its own entries.

Letters: N entries, K neighbours, Q sampled entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vidssl_cli.base.console import say, warn
from vidssl_cli.config.sections import Section
from vidssl_cli.search.engines import require_faiss
from vidssl_cli.search.levels import Level, LevelName

_NEIGHBOURS, _QUERIES = 10, 200
_AIM = 0.95
"""Recall for which more lists of an inverted file are searched."""
_POOR = 0.9
"""Recall below which another kind is recommended."""
_MOST = 2048
"""Lists that are searched, at most; FAISS on a GPU searches no more."""
_ROUNDING = 1e-6


class Recall(Section):
    """Share of the true neighbours of some entries, themselves left out, that a search finds."""

    recall: float
    neighbours: int
    """K"""
    queries: int
    """Q"""


def tune(index: Any, level: Level, name: LevelName) -> Recall:
    """Search more and more lists of a FAISS index until enough is found, and say how much is.

    Args:
        index: If it is an inverted file, it keeps how many of its lists are searched.
        level: Entries whose candidates the index proposes.
        name: What they are.
    """
    present = level.present
    count = min(_QUERIES, len(present))
    sample = present[np.arange(count) * len(present) // count]
    queries, k = level.features[sample], min(_NEIGHBOURS, len(level) - 1)
    least = [
        scores[ids != own][:k].min(initial=1)
        for own, (ids, scores) in zip(sample, level.exact.nearest(queries, k + 1), strict=True)
    ]
    inverted = require_faiss("").try_extract_index_ivf(index)
    while True:
        found = [
            (scores[ids != own][:k] >= low - _ROUNDING).sum()
            for own, low, (ids, scores) in zip(
                sample, least, level.nearest(queries, k + 1), strict=True
            )
        ]
        share = float(np.sum(found)) / (len(sample) * k) if k else 1.0
        if share >= _AIM or inverted is None or inverted.nprobe >= min(inverted.nlist, _MOST):
            break
        inverted.nprobe = min(2 * inverted.nprobe, inverted.nlist, _MOST)
    lists = f", {inverted.nprobe} of {inverted.nlist} lists searched" if inverted else ""
    say(f"{name}s: {share:.1%} of the {k} nearest of {len(sample)} entries are found{lists}")
    if share < _POOR:
        warn(
            "the index misses many neighbours: --factory RaBitQ4 or Flat16 finds nearly all, "
            "and Flat all"
        )
    return Recall(recall=round(share, 4), neighbours=k, queries=len(sample))
