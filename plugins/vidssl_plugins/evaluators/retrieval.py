"""Retrieval by cosine similarity (Büchler et al. 2018; the protocol of Xu et al. 2019, VCOP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import Baseline, Look, Pool, Reading
from vidssl_plugins.evaluators import retrieval_report as show
from vidssl_plugins.evaluators.protocols import PROTOCOLS
from vidssl_plugins.evaluators.ranking import Items, Search
from vidssl_plugins.evaluators.settings import reading_of, settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.study import Study
    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.evaluators.hooks_retrieval import Retrieval
    from vidssl_plugins.evaluators.ranking import Floats, Found
    from vidssl_plugins.evaluators.settings import Settings

TOPK = (1, 5, 10, 20, 50)
"""What the papers report."""

OTHERWISE = {"level": "video", "windows": "uniform", "crops": "centre", "taps": ()}
"""What holds where neither the options nor a preset nor the recipe say anything."""


class RetrievalEvaluator:
    """Looks up test videos, or their clips, among the training videos of a study."""

    def __init__(self, options: Retrieval) -> None:
        preset = PROTOCOLS[options.preset].settings if options.preset else {}
        given = {key: value for key, value in options if value is not None}
        self.options = options.model_copy(update=OTHERWISE | preset | given)

    def __call__(self, study: Study) -> Report:
        """Report ``top<k>`` and ``mAP`` for each set of weights.

        Chance is what a random ranking is expected to find, given how often each class occurs in
        the gallery; it is also what is reported where all of the gallery looks the same.

        Raises:
            UsageError: if there is nothing to ask or to answer, a single class, fewer gallery items
                than the options want neighbours, or no such tap.
        """
        if not study.train or not study.test:
            raise UsageError(
                f"retrieval found {len(study.test)} labelled test videos to ask for and "
                f"{len(study.train)} labelled training videos to answer with",
                hint="give data with labels and a train/test split",
            )
        if len({str(video.label) for video in (*study.train, *study.test)}) < 2:
            raise UsageError(
                f"retrieval found one class, {study.train[0].label!r}; whatever is found is right",
                hint="give data of two classes or more",
            )
        settings = self._settings(study)
        asked = self.options.standardise
        standard = settings.standardise if asked is None else asked
        sweep = self._sweep(study, settings)
        readings = list(dict.fromkeys([settings.reading, *sweep]))
        gallery, queries = (self._looks(study, settings, v) for v in (study.train, study.test))
        search = self._search(study.test, study.train, queries, gallery)
        found: dict[str, dict[Reading, Found]] = {}
        blind = self.options.still and study.residual
        for weights in study.weights:
            if blind:
                found[weights] = dict.fromkeys(readings, replace(search.guessed, alike=True))
                continue
            features = study.features(weights, [*gallery, *queries], readings, settings.crops)
            found[weights] = {
                reading: search.find(*self._compared(clips, len(gallery)), standard)
                for reading, clips in zip(readings, features, strict=True)
            }
        leading = {weights: found[weights][settings.reading] for weights in study.weights}
        chances = search.metrics(search.guessed)
        report = Report(
            [{"weights": name, **search.metrics(each)} for name, each in leading.items()],
            chances[f"top{search.topk[0]}"],
            chances,
            self._facts(search, settings),
            figures=[show.recall({**leading, "chance": search.guessed})],
        )
        if alike := [weights for weights, each in leading.items() if each.alike]:
            report.tables.append(show.warning(alike, blind))
        if sweep:
            by_layer = {name: [each[reading] for reading in sweep] for name, each in found.items()}
            table, curves = show.layers(search, sweep, by_layer)
            report.tables.append(table)
            report.figures.append(curves)
        if self.options.baselines:
            report.tables.append(self._beside(study, search, leading))
        report.figures.extend(show.neighbours(search, leading["run"]))
        return report

    def _settings(self, study: Study) -> Settings:
        settings = settle(self.options, study)
        if self.options.windows == "overlap":
            hop = self.options.hop or max(1, study.frames // 2)
            windows = Windows("overlap", hop=hop, stride=settings.windows.stride)
            return replace(settings, windows=windows)
        return settings

    def _sweep(self, study: Study, settings: Settings) -> list[Reading]:
        """Return the layers to compare; those without a pooling of their own take the leading."""
        readings = []
        for name in self.options.taps or ():
            tap, _, pool = name.partition(":")
            readings.append(reading_of(study, tap, cast(Pool, pool or settings.reading.pool)))
        return readings

    def _looks(self, study: Study, settings: Settings, videos: Sequence[Video]) -> list[Look]:
        looks = settings.looks(study, videos)
        if not self.options.still:
            return looks
        middles = [look.frames[:, look.frames.shape[1] // 2, None] for look in looks]
        return [
            Look(look.video, np.broadcast_to(middle, look.frames.shape))
            for look, middle in zip(looks, middles, strict=True)
        ]

    def _search(
        self,
        test: Sequence[Video],
        train: Sequence[Video],
        queries: Sequence[Look],
        gallery: Sequence[Look],
    ) -> Search:
        asked = self.options.topk
        search = Search(self._items(test, queries), self._items(train, gallery), asked or TOPK)
        if asked and max(asked) > len(search.offered):
            raise UsageError(
                f"top{max(asked)} needs as many gallery items; there are {len(search.offered)}",
                where="topk",
                hint="ask for fewer neighbours, or for none in particular",
            )
        return search

    def _items(self, videos: Sequence[Video], looks: Sequence[Look]) -> Items:
        if self.options.level == "video":
            return Items(videos, np.arange(len(videos)))
        crops = 3 if self.options.crops == "three" else 1
        counts = [crops * len(look.frames) for look in looks]
        return Items(videos, np.repeat(np.arange(len(videos)), counts))

    def _compared(self, clips: Sequence[NDArray[np.float32]], train: int) -> tuple[Floats, Floats]:
        """Return vectors of queries and of the gallery, whose clips come first."""
        video = self.options.level == "video"
        gallery, queries = (
            np.stack([each.mean(0) for each in part]) if video else np.concatenate(part)
            for part in (clips[:train], clips[train:])
        )
        return queries, gallery

    def _beside(self, study: Study, search: Search, leading: dict[str, Found]) -> Table:
        """Let features that nobody learned look for whole videos, standardised."""
        test, train = (Items(part, np.arange(len(part))) for part in (study.test, study.train))
        whole = Search(test, train, search.topk)
        found = {}
        for name in get_args(Baseline):
            queries, gallery = (study.baseline(name, part) for part in (study.test, study.train))
            found[name] = whole.find(queries, gallery, standard=True)
        return show.beside(search, leading, whole, found)

    def _facts(self, search: Search, settings: Settings) -> dict[str, Any]:
        options = self.options
        facts: dict[str, Any] = {
            "level": options.level,
            "queries": len(search.wanted),
            "gallery": len(search.offered),
            "classes": len(set(search.offered.tolist())),
            **settings.facts,
        }
        if options.windows == "overlap":
            del facts["clips"]
            facts |= {"windows": "overlap", "hop": settings.windows.hop}
        if options.crops != "centre":
            facts["crops"] = options.crops
        if options.preset:
            facts["preset"] = options.preset
        if options.still:
            facts["still"] = True
        if without := int((search.wanted < 0).sum()):
            facts["unanswerable"] = without
        if left := [f"top{k}" for k in TOPK if not options.topk and k not in search.topk]:
            facts["dropped"] = " ".join(left)
        return facts
