"""Runs the demo: makes videos, pretrains, evaluates, indexes and searches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - imported when the demo runs

from vidssl_cli.base.console import emit_table, stdout
from vidssl_cli.cli.next_command import announce, setting
from vidssl_cli.contract.metrics import cosine_ranking, standardise, topk_hits
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.synth import SIDE, VIDEOS, synthesise
from vidssl_cli.evaluation.baselines import describe
from vidssl_cli.evaluation.evaluate import evaluate
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.pages.gallery import write_answers
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session

if TYPE_CHECKING:
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.hooks import EvaluatorOptions
    from vidssl_cli.contract.study import Baseline
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.search.retrieve import Answer

TOPK = (1, 5, 10)
HAND_MADE: Sequence[Baseline] = ("colour", "motion_energy")
"""Hand-made features that the pretrained network is compared with."""
HITS = 8
"""Hits of each query: two rows of the gallery page."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured, and where its files are."""

    seconds: float
    chances: Mapping[str, float]
    """Chance level of each metric."""
    retrieval: Mapping[str, Mapping[str, float]]
    """By name of the features: share of test videos with a hit at k."""
    answers: Sequence[Answer]
    """To one test video of each class."""
    out: Path

    def paths(self) -> dict[str, str]:
        """Return the path of each thing that was made."""
        names = {
            "run": "run",
            "index": "index",
            "gallery": "gallery.html",
            "videos": "videos/videos.jsonl",
        }
        return {key: str(self.out / name) for key, name in names.items()}


def demo(
    recipe: PretrainRecipe,
    evaluator: EvaluatorOptions,
    out: Path,
    *,
    seed: int = 0,
    per_class: tuple[int, int] = (40, 25),
    settings: Sequence[str] = (),
    overwrite: bool = False,
    device: str = "auto",
) -> DemoResult:
    """Make videos, pretrain a network on them without labels, evaluate it and search by it.

    Args:
        recipe: For the pre-training.
        evaluator: The retrieval protocol, with `TOPK`.
        out: Folder for everything: ``videos``, ``run``, ``index`` and ``gallery.html``.
        seed: Of the videos.
        per_class: Videos of a class for training and for test.
        settings: What ``--set`` gave for the recipe; only printed here, as part of the commands
            that do the same.
        overwrite: Replace an earlier demo.
        device: Where to train and to embed.

    Raises:
        UsageError: ``out`` holds something else.
    """
    began = time.monotonic()
    made = out / "videos" / VIDEOS
    sizes = ("--per-class-train", per_class[0], "--per-class-test", per_class[1])
    announce(
        1, 5, "making videos whose classes differ only in motion",
        "data", "synth", "--out", made.parent, "--seed", seed, *sizes,
    )  # fmt: skip
    videos = synthesise(out / "videos", seed=seed, per_class=per_class, overwrite=overwrite)
    train = [video for video in videos if video.split == "train"]
    test = [video for video in videos if video.split == "test"]

    announce(
        2, 5, f"pre-training on {len(train)} videos without labels",
        "pretrain", "demo", "--data", made, "--out", out / "run", *setting(settings),
    )  # fmt: skip
    pretrain(recipe, train, Session(out / "run", overwrite=overwrite, device=device))
    encoder = Encoder.load(out / "run", device)

    announce(
        3, 5, f"retrieval with {len(test)} other videos as queries",
        "evaluate", out / "run", "--data", made, *setting([f"topk={list(TOPK)}"]),
    )  # fmt: skip
    report = evaluate(encoder, videos, evaluator, None)
    names = {"run": "pretrained", "random": "random"}
    rows = {names[row["weights"]]: row for row in report.rows}
    rows |= hand_made(train, test)
    retrieval = {name: {f"top{k}": row[f"top{k}"] for k in TOPK} for name, row in rows.items()}

    announce(
        4, 5, "making an index",
        "index", out / "run", "--data", made, "--part", "train", "--out", out / "index",
    )  # fmt: skip
    build_index(encoder, train, out / "index", overwrite=overwrite)
    answers = _search(test, out, device)
    return DemoResult(time.monotonic() - began, report.chances, retrieval, answers, out)


def hand_made(train: Sequence[Video], test: Sequence[Video]) -> dict[str, dict[str, float]]:
    """Return the hits of hand-made features, by the same protocol as those of a network."""
    numbers = {label: n for n, label in enumerate(sorted({str(video.label) for video in train}))}
    gallery, queries = (
        np.array([numbers[str(video.label)] for video in part]) for part in (train, test)
    )
    hits: dict[str, dict[str, float]] = {}
    described = describe([*train, *test], SIDE)
    for name in HAND_MADE:
        known, asked = np.split(described[name], [len(train)])
        ranking = cosine_ranking(standardise(asked, known), standardise(known, known), max(TOPK))
        hits[name] = topk_hits(ranking, queries, gallery, TOPK)
    return hits


def _search(test: Sequence[Video], out: Path, device: str) -> list[Answer]:
    """Search with one test video of each class, and write the gallery page."""
    first: dict[str | None, Video] = {}
    for video in test:
        first.setdefault(video.label, video)
    queries, page = out / "queries.jsonl", out / "gallery.html"
    write_manifest(queries, list(first.values()))
    announce(
        5, 5, "searching with a video of each class",
        "retrieve", out / "index", queries, "--top", HITS, "--gallery", page,
    )  # fmt: skip
    index = open_index(out / "index")
    answers, _ = retrieve(index, [str(queries)], top=HITS, device=device)
    write_answers(page, answers, index)
    return answers


def as_json(result: DemoResult) -> dict[str, Any]:
    """Return the machine-readable form; docs/json.md."""
    return {
        "seconds": round(result.seconds, 1),
        "chance": result.chances["top1"],
        "retrieval": result.retrieval,
        **result.paths(),
    }


def show(result: DemoResult, mode: str) -> None:
    """Print the figures, the answers, and where everything is.

    Args:
        result: Of `demo`.
        mode: The recipe's ``input.mode``.
    """
    clips = {"rgb": "clips", "residual": "differences of frames"}[mode]
    seen = {
        "pretrained": ("pretrained without labels", clips),
        "random": ("random weights", clips),
        "motion_energy": ("motion energy, hand-made", "how much frames differ"),
        "colour": ("colour histogram", "one frame"),
        "chance": ("chance", None),
    }
    figures = {**result.retrieval, "chance": result.chances}
    metrics = [f"top{k}" for k in TOPK]
    rows = [
        [*seen[name], *(round(100 * figures[name][metric], 1) for metric in metrics)]
        for name in seen
    ]
    emit_table("retrieval: percent of queries with a hit", ["features", "input", *metrics], rows)
    asked = [_line(answer) for answer in result.answers]
    emit_table("a few queries", ["query", f"right of {HITS}", "nearest first"], asked)
    paths = result.paths()
    where = ", ".join(f"{name} in {paths[name]}" for name in ("videos", "run", "index"))
    stdout.print(
        f"done in {result.seconds:.0f} s; look at {paths['gallery']}; {where}",
        markup=False,
        soft_wrap=True,
    )


def _line(answer: Answer) -> tuple[str | None, int, str]:
    """Return the class of a query, how many hits have it, and the classes of the first hits."""
    wanted, found = answer.query.video.label, [str(hit.label) for hit in answer.hits]
    return wanted, found.count(str(wanted)), ", ".join(found[:4]) + " …"
