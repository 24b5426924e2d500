"""Retrieval by cosine similarity (Büchler et al. 2018; the protocol of Xu et al. 2019, VCOP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import Baseline, ClipSet, Layer, Study
from vidssl_cli.contract.videos import Video
from vidssl_plugins.evaluators import retrieval_report as show
from vidssl_plugins.evaluators.options.retrieval_protocols import Protocol
from vidssl_plugins.evaluators.retrieval_ranking import Floats, Found, Items, Search
from vidssl_plugins.evaluators.shared.layers import by_layer
from vidssl_plugins.evaluators.shared.settings import Settings, readings_of, settle

TOPK = (1, 5, 10, 20, 50)
"""What the papers report."""


class RetrievalEvaluator:
    """Looks up test videos, or their clips, among the training videos of a study.

    Args:
        protocol: What is looked up, and how.
        preset: Name of the paper's protocol that it began with.
        topk: The k to report; None for those of `TOPK` that the gallery has items for.
        baselines: Show what hand-made features find.
        still: Repeat the middle frame of every clip.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        preset: str | None,
        topk: Sequence[int] | None,
        baselines: bool,
        still: bool,
    ) -> None:
        self.protocol, self.preset, self.topk = protocol, preset, topk
        self.baselines, self.still = baselines, still

    def __call__(self, study: Study) -> Report:
        """Report ``top<k>`` and ``mAP`` for each set of weights.

        Chance is what a random ranking is expected to find, given how often each class occurs in
        the gallery; it is also what is reported where all of the gallery looks the same.

        Raises:
            UsageError: there are no queries or no gallery, a single class, fewer gallery items
                than neighbours to report, or no such tap.
        """
        if not study.train or not study.test:
            raise UsageError(
                f"retrieval found {len(study.test)} labelled test videos as queries and "
                f"{len(study.train)} labelled training videos as gallery",
                hint="give data with labels and a train/test split",
            )
        if len({str(video.label) for video in (*study.train, *study.test)}) < 2:
            raise UsageError(
                f"retrieval found one class, {study.train[0].label!r}; every neighbour is a hit",
                hint="give data of two classes or more",
            )
        settings = self._settings(study)
        sweep = readings_of(study, self.protocol.taps, settings.reading.pool)
        readings = list(dict.fromkeys([settings.reading, *sweep]))
        gallery, queries = (self._looks(study, settings, v) for v in (study.train, study.test))
        search = self._search(study.test, study.train, queries, gallery)
        found: dict[str, dict[Layer, Found]] = {}
        blind = self.still and study.residual
        for weights in study.weights:
            if blind:
                found[weights] = dict.fromkeys(readings, replace(search.by_chance, alike=True))
                continue
            features = study.features(weights, [*gallery, *queries], readings, settings.crops)
            found[weights] = {
                reading: search.find(*self._compared(clips, len(gallery)), settings.standardise)
                for reading, clips in zip(readings, features, strict=True)
            }
        leading = {weights: found[weights][settings.reading] for weights in study.weights}
        chances = search.metrics(search.by_chance)
        report = Report(
            [{"weights": name, **search.metrics(each)} for name, each in leading.items()],
            chances[f"top{search.topk[0]}"],
            chances,
            self._facts(search, settings),
            figures=[show.recall({**leading, "chance": search.by_chance})],
        )
        if alike := [weights for weights, each in leading.items() if each.alike]:
            report.tables.append(show.warning(alike, blind))
        if sweep:
            layers = {
                name: [search.metrics(each[reading]) for reading in sweep]
                for name, each in found.items()
            }
            table, curves = by_layer("retrieval", sweep, layers)
            report.tables.append(table)
            report.figures.append(curves)
        if self.baselines:
            report.tables.append(self._hand_made(study, search, leading))
        report.figures.extend(show.neighbours(search, leading["run"]))
        return report

    def _settings(self, study: Study) -> Settings:
        protocol = self.protocol
        settings = settle(
            study,
            clips=protocol.clips,
            tap=protocol.tap,
            pool=protocol.pool,
            crops=protocol.crops,
            stride=protocol.stride,
            standardise=protocol.standardise,
        )
        if protocol.windows == "overlap":
            hop = protocol.hop or max(1, study.frames // 2)
            windows = Windows("overlap", hop=hop, stride=settings.windows.stride)
            return replace(settings, windows=windows)
        return settings

    def _looks(self, study: Study, settings: Settings, videos: Sequence[Video]) -> list[ClipSet]:
        looks = settings.looks(study, videos)
        if not self.still:
            return looks
        middles = [look.frames[..., look.frames.shape[-1] // 2, None] for look in looks]
        return [
            ClipSet(look.video, np.broadcast_to(middle, look.frames.shape))
            for look, middle in zip(looks, middles, strict=True)
        ]

    def _search(
        self,
        test: Sequence[Video],
        train: Sequence[Video],
        queries: Sequence[ClipSet],
        gallery: Sequence[ClipSet],
    ) -> Search:
        wanted = self.topk
        search = Search(self._items(test, queries), self._items(train, gallery), wanted or TOPK)
        if wanted and max(wanted) > len(search.offered):
            raise UsageError(
                f"top{max(wanted)} needs as many gallery items; there are {len(search.offered)}",
                where="topk",
                hint="set a smaller topk, or leave it out",
            )
        return search

    def _items(self, videos: Sequence[Video], looks: Sequence[ClipSet]) -> Items:
        if self.protocol.level == "video":
            return Items(videos, np.arange(len(videos)))
        crops = 3 if self.protocol.crops == "three" else 1
        counts = [crops * len(look.frames) for look in looks]
        return Items(videos, np.repeat(np.arange(len(videos)), counts))

    def _compared(self, clips: Sequence[NDArray[np.float32]], train: int) -> tuple[Floats, Floats]:
        """Return vectors of queries and of the gallery, whose clips come first."""
        video = self.protocol.level == "video"
        gallery, queries = (
            np.stack([each.mean(0) for each in part]) if video else np.concatenate(part)
            for part in (clips[:train], clips[train:])
        )
        return queries, gallery

    def _hand_made(self, study: Study, search: Search, leading: dict[str, Found]) -> Table:
        """Look up whole videos by hand-made features, standardised."""
        test, train = (Items(part, np.arange(len(part))) for part in (study.test, study.train))
        whole = Search(test, train, search.topk)
        found = {}
        for name in get_args(Baseline):
            queries, gallery = (study.baseline(name, part) for part in (study.test, study.train))
            found[name] = whole.find(queries, gallery, standard=True)
        return show.hand_made(search, leading, whole, found)

    def _facts(self, search: Search, settings: Settings) -> dict[str, Any]:
        protocol = self.protocol
        facts: dict[str, Any] = {
            "level": protocol.level,
            "queries": len(search.wanted),
            "gallery": len(search.offered),
            "classes": len(set(search.offered.tolist())),
            **settings.facts,
        }
        if protocol.windows == "overlap":
            del facts["clips"]
            facts |= {"windows": "overlap", "hop": settings.windows.hop}
        if protocol.crops != "centre":
            facts["crops"] = protocol.crops
        if self.preset:
            facts["preset"] = self.preset
        if self.still:
            facts["still"] = True
        if without := int((search.wanted < 0).sum()):
            facts["unanswerable"] = without
        if left := [f"top{k}" for k in TOPK if not self.topk and k not in search.topk]:
            facts["dropped"] = " ".join(left)
        return facts
