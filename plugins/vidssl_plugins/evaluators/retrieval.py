"""Retrieval by cosine similarity (Büchler et al. 2018; the protocol of Xu et al. 2019, VCOP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.errors import UsageError
from vidssl_cli.hooks import Report
from vidssl_cli.metrics import cosine_ranking, standardise, topk_chance, topk_hits
from vidssl_plugins.evaluators.settings import Settings, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.hooks import Study
    from vidssl_cli.videos import Video
    from vidssl_plugins.evaluators.hooks import Retrieval


class RetrievalEvaluator:
    """Looks up test videos, or their clips, among the training videos of a study."""

    def __init__(self, options: Retrieval) -> None:
        self.options = options
        self.topk = sorted(set(options.topk))

    def __call__(self, study: Study) -> Report:
        """Report ``top<k>`` for each set of weights.

        Chance is the share of hits to expect of a random ranking at the smallest k, given how
        often each class occurs in the gallery.

        Raises:
            UsageError: if there is nothing to ask or to answer, or no such tap.
        """
        if not study.train or not study.test:
            raise UsageError(
                f"retrieval found {len(study.test)} labelled test videos to ask for and "
                f"{len(study.train)} labelled training videos to answer with",
                hint="give data with labels and a train/test split",
            )
        settings = settle(self.options, study)
        gallery, queries = self._classes(study, settings)
        rows: list[dict[str, Any]] = []
        for weights in study.weights:
            ranking = self._rank(study, weights, settings)
            rows.append({"weights": weights} | topk_hits(ranking, queries, gallery, self.topk))
        chances = topk_chance(queries, gallery, self.topk)
        facts = {
            "level": self.options.level,
            "queries": len(queries),
            "gallery": len(gallery),
            "classes": len(set(gallery.tolist())),
        }
        chance = chances[f"top{self.topk[0]}"]
        return Report(rows, chance, chances, facts | settings.facts)

    def _classes(
        self, study: Study, settings: Settings
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number the classes; return that of every gallery item and of every query."""
        numbers = {name: i for i, name in enumerate(sorted({str(v.label) for v in study.train}))}

        def classes(videos: Sequence[Video]) -> NDArray[np.int64]:
            # -1 is a class without training videos; it is never hit.
            found = np.array([numbers.get(str(v.label), -1) for v in videos], dtype=np.int64)
            if self.options.level == "video":
                return found
            return np.repeat(found, [len(look.frames) for look in settings.looks(study, videos)])

        return classes(study.train), classes(study.test)

    def _rank(self, study: Study, weights: str, settings: Settings) -> NDArray[np.int64]:
        """Return the gallery items nearest to each query, best first."""
        items = settings.means if self.options.level == "video" else _all_clips(settings)
        gallery, queries = (items(study, weights, part) for part in (study.train, study.test))
        if settings.standardise:
            queries, gallery = standardise(queries, gallery), standardise(gallery, gallery)
        return cosine_ranking(queries, gallery, self.topk[-1])


def _all_clips(settings: Settings) -> Callable[..., NDArray[np.float32]]:
    return lambda *part: np.concatenate(settings.clips(*part))
