"""Several at a time: builders and readers of an index, and two that want the same place."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from torture._commands import forks
from torture._media import write_media
from torture.harness import Broken, Case, Facts, Suite

SECONDS, SHORT = 60, 2
"""How long builders and readers are at it in the first case, and in the others of their kind."""
BUILDERS, READERS = 2, 4
VIDEOS, CLIPS, DIMENSION = 40, 3, 16
TRAIN = "pretrain SHARED/recipe.json --data SHARED/videos.jsonl --out OUT/run"
PACK = "data pack SHARED/videos.jsonl --out OUT/set --short-side 24"
SWEEP = "sweep SHARED/recipe.json --data SHARED/videos.jsonl --out OUT/sweep"
INDEX = "index SHARED/base --data SHARED/videos.jsonl --device cpu --standardise"
EVALUATE = "evaluate SHARED/base --data SHARED/videos.jsonl --out OUT/report"


Role = Callable[[Path, float, random.Random], dict[str, int]]
"""What a process does to an index until a moment, and what it counts."""


def prepare(shared: Path) -> None:
    """Make videos, a recipe and a run."""
    write_media(shared)
    (process,) = _start(shared, shared, [TRAIN.replace("OUT/run", "SHARED/base")])
    if (told := process.communicate()[1]) and process.returncode:
        raise RuntimeError(told)


def _start(shared: Path, out: Path, commands: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Start commands at once."""
    words = [c.replace("SHARED", str(shared)).replace("OUT", str(out)).split() for c in commands]
    program = [sys.executable, "-m", "vidssl_cli"]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen([*program, *each], stdout=subprocess.DEVNULL, stderr=pipe, text=True)
        for each in words
    ]


def _index(case: Case) -> Facts:
    """Two build generations without end while four read; whatever is read belongs together."""
    seconds = SECONDS if case.number == 0 else SHORT
    results = forks.SimpleQueue()
    roles = [_build] * BUILDERS + [_read] * READERS
    workers = [
        forks.Process(
            target=_work,
            args=(role, case.folder / "index", seconds, case.random.getrandbits(32), results),
            daemon=True,
        )
        for role in roles
    ]
    for worker in workers:
        worker.start()
    counts: Counter[str] = Counter()
    for _ in workers:
        found, trouble = results.get()
        if trouble:
            raise Broken(trouble)
        counts.update(found)
    if not counts["built"] or not counts["read"]:
        raise Broken(f"nothing happened: {counts}")
    return dict(counts)


def _work(role: Role, folder: Path, seconds: float, seed: int, results: Any) -> None:
    """Do what a role does for so long; tell what came of it."""
    try:
        results.put((role(folder, time.time() + seconds, random.Random(seed)), ""))
    except BaseException:
        results.put(({}, traceback.format_exc()))


def _build(folder: Path, until: float, draws: random.Random) -> dict[str, int]:
    """Publish generations whose vectors tell which video they are of, in ever another order."""
    import torch

    from vidssl_cli.base.errors import VidsslError
    from vidssl_cli.config.sections import Evaluation, Input
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.files.locks import locked
    from vidssl_cli.model.card import Card
    from vidssl_cli.model.embedding import Embedded
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.entries import batches
    from vidssl_cli.search.gallery import Gallery
    from vidssl_cli.search.generations import next_segment
    from vidssl_cli.search.layout import IndexSettings
    from vidssl_cli.search.publish import publish_generation
    from vidssl_cli.search.segments import write_segment
    from vidssl_plugins.backbones.hooks import R3D

    evaluation = Evaluation(clips=CLIPS)
    backbone = R3D(name="r3d", depth=10, width=4)
    shown = Input(resize=(24, 32), crop=16)
    card = Card(backbone=backbone, input=shown, frames=8, evaluation=evaluation, seed=0)
    encoder = Encoder(card, backbone.build(), torch.device("cpu"))
    settings = IndexSettings(encoder=encoder.digest, evaluation=evaluation)
    counts = {"built": 0, "refused": 0}
    while time.time() < until:
        numbers = draws.sample(range(VIDEOS), draws.randint(VIDEOS // 2, VIDEOS))
        found = (
            (
                Embedded(
                    Video(f"/{number}.mp4", frames=16, fps=25.0),
                    np.repeat(vector(number)[None], CLIPS, 0),
                    np.tile(np.float32([[0, 1]]), (CLIPS, 1)),
                ),
                (0, 0),
            )
            for number in numbers
        )
        try:
            with locked(folder, "vidssl index"):
                path = next_segment(folder)
                segment = write_segment(path, batches(found, path))
                gallery = Gallery([segment], np.empty(0, np.int64), {})
                publish_generation(folder, settings, gallery, encoder, None)
                counts["built"] += 1
        except VidsslError as error:
            if f" on {socket.gethostname()} since " not in str(error):
                raise
            counts["refused"] += 1
            time.sleep(draws.random() / 10)
    return counts


def vector(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the features (D,) that tell a video by its number."""
    return np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)


def _read(folder: Path, until: float, draws: random.Random) -> dict[str, int]:
    """Open the index again and again, and search it as `vidssl retrieve` does, at leisure."""
    from vidssl_cli.search.generations import is_index
    from vidssl_cli.search.retrieve import retrieve
    from vidssl_cli.search.store import open_index

    generations = set()
    read = 0
    while time.time() < until:
        if not is_index(folder):  # not yet
            time.sleep(0.01)
            continue
        index = open_index(folder)
        time.sleep(draws.random() / 5)  # in which builders go on
        item = draws.randrange(len(index.gallery.videos))
        (answer,), _ = retrieve(index, [f"#{item}"], exclude_self=False, device="cpu")
        for hit in answer.hits:
            number = int(Path(hit.path).stem)
            if not (
                index.gallery.features["clip"][index.gallery.part(hit.item)] == vector(number)
            ).all():
                raise Broken(f"{hit.path} has the vector of another video in {index.folder}")
        if answer.hits[0].item != item or answer.hits[0].score < 0.999:
            raise Broken(f"{answer.query.text} is not what is most like itself: {answer.hits[0]}")
        if not (index.encoder / "model.json").is_file():
            raise Broken(f"the network of {index.folder} is gone while it is read")
        generations.add(index.folder.name)
        read += 1
    return {"read": read, "generations": len(generations)}


def _twice(command: str, *, again: bool = False) -> Callable[[Case], Facts]:
    """Return a case in which one command is given twice at once.

    Args:
        command: It.
        again: Whether the second succeeds where the first is done before it begins.
    """

    def run(case: Case) -> Facts:
        processes = _start(case.shared, case.folder, [command, command])
        told = [process.communicate(timeout=250)[1] for process in processes]
        statuses = [process.returncode for process in processes]
        if again and statuses == [0, 0]:
            return {"named": False}
        if sorted(statuses) != [0, 1]:
            raise Broken(f"exit statuses {statuses}: {told}")
        winner = statuses.index(0)
        refusal = next(line for line in told[1 - winner].splitlines() if line.startswith("error:"))
        whose = f"process {processes[winner].pid} on {socket.gethostname()} since "
        if "is writing here" in refusal and whose not in refusal:
            raise Broken(f"does not name process {processes[winner].pid}: {refusal}")
        if "is writing here" not in refusal and "is not empty" not in refusal:
            raise Broken(refusal)  # that is what is said when the other is done already
        return {"named": "is writing here" in refusal}

    return run


def _shelf(case: Case) -> Facts:
    """Two evaluations of one run fill one shelf and write one report."""
    processes = _start(case.shared, case.folder, [EVALUATE, EVALUATE])
    told = [process.communicate(timeout=250)[1] for process in processes]
    if any(process.returncode for process in processes):
        raise Broken(str(told))
    json.loads((case.folder / "report" / "report.json").read_bytes())
    return {}


def _watched(case: Case) -> Facts:
    """A run whose checkpoints are replaced several times a second is read by other commands."""
    (training,) = _start(case.shared, case.folder, [f"{TRAIN} --set train.epochs=5000"])
    last = case.folder / "run" / "checkpoints" / "last"
    while training.poll() is None and not last.exists():
        time.sleep(0.05)
    readers = ("runs OUT/run", EVALUATE.replace("SHARED/base", "OUT/run"))
    processes = _start(case.shared, case.folder, readers)
    told = [process.communicate(timeout=250)[1] for process in processes]
    ended = training.poll() is not None
    if any(process.returncode for process in processes):
        raise Broken(str(told))
    training.send_signal(signal.SIGTERM)
    training.communicate(timeout=100)
    if ended:
        raise Broken("the training ended before it was read")
    return {}


def _killed(case: Case) -> Facts:
    """Whoever is killed while it holds a lock blocks nobody."""
    (first,) = _start(case.shared, case.folder, [f"{TRAIN} --set train.epochs=40"])
    while first.poll() is None and not (case.folder / "run" / "run.json").exists():
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    again = f"{TRAIN} --set train.epochs=1 --overwrite"
    (second,) = _start(case.shared, case.folder, [again])
    if (told := second.communicate(timeout=250)[1]) and second.returncode:
        raise Broken(told)
    return {}


def _shards(case: Case) -> Facts:
    """Of two shards that are made at once one is killed and made again; merged they are one."""
    whole, first, second = (
        f"{INDEX} --out OUT/one",
        f"{INDEX} --out OUT/many --shard 1/2",
        f"{INDEX} --out OUT/many --shard 2/2",
    )
    others = _start(case.shared, case.folder, [whole, first])
    killed = _start(case.shared, case.folder, [second])[0]
    with suppress(subprocess.TimeoutExpired):
        killed.wait(case.random.random() * 10)
    killed.kill()
    killed.communicate()
    for process in (*others, *_start(case.shared, case.folder, [second])):
        told = process.communicate(timeout=250)[1]
        if process.returncode:
            raise Broken(told)
    (merge,) = _start(case.shared, case.folder, ["merge OUT/many"])
    told = merge.communicate(timeout=250)[1]
    if merge.returncode:
        raise Broken(told)
    if _content(case.folder / "many") != _content(case.folder / "one"):
        raise Broken("the merged shards are not the index of one process")
    return {}


def _content(folder: Path) -> tuple[Any, ...]:
    """Return the vectors of an index, its videos, and what it answers."""
    from vidssl_cli.search.retrieve import retrieve
    from vidssl_cli.search.store import open_index

    index = open_index(folder)
    answers, _ = retrieve(index, ["#0", "#5"], device="cpu")
    hits = [(hit.item, hit.path, hit.score, hit.start) for each in answers for hit in each.hits]
    vectors = np.asarray(index.gallery.features["clip"]).tobytes()
    return vectors, [*index.gallery.videos], hits


KINDS: tuple[tuple[str, Callable[[Case], Facts]], ...] = (
    ("index", _index),
    ("run", _twice(TRAIN)),
    ("pack", _twice(PACK, again=True)),
    ("sweep", _twice(SWEEP)),
    ("shelf", _shelf),
    ("reading", _watched),
    ("killed holder", _killed),
    ("shards", _shards),
)


def run(case: Case) -> Facts:
    """Carry out a case."""
    kind, attempt = KINDS[case.number % len(KINDS)]
    return {"kind": kind, **attempt(case)}


def summary(facts: Sequence[Facts]) -> str:
    """Say what builders and readers did, and what else was tried."""
    totals: Counter[str] = Counter()
    for fact in facts:
        totals.update({key: value for key, value in fact.items() if type(value) is int})
    kinds = Counter(fact["kind"] for fact in facts)
    tried = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    return (
        f"{totals['built']} generations published, {totals['refused']} builders told who writes, "
        f"{totals['read']} readings of {totals['generations']}, none torn. Tried: {tried}."
    )


SUITE = Suite(
    "readers never meet an error or a mismatched pair while builders write; of two that want the "
    "same place one gets it and the other says who has it",
    len(KINDS) * 2,
    (len(KINDS),),
    run,
    prepare,
    summary,
    jobs=1,
)
