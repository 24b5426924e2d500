"""Damage everything that vidssl writes and reads back, in the ways that disks and people do."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from torture._media import write_noise
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import MANIFEST, note_of
from vidssl_cli.media import packed

RECIPE = """
input: {resize: [24, 32], crop: 16, mode: residual}
backbone: {name: r3d, depth: 10, width: 4}
sampler: {name: pace, views: 2, frames: 8, paces: [1, 2, 3]}
pretext: {name: pace}
evaluation: {clips: 2}
train:
  {epochs: 1, batch_videos: 4, seed: SEED, precision: fp32, optimizer: {name: adamw, lr: 0.001}}
"""
TUNING = """
task: finetune
sampler: {name: uniform, frames: 8}
evaluation: {clips: 2}
train:
  {epochs: 1, batch_videos: 4, seed: SEED, precision: fp32, optimizer: {name: adamw, lr: 0.001}}
"""


@dataclass(frozen=True)
class Kind:
    """Something that vidssl writes, and a command that reads it back."""

    artefact: str
    """File or folder of a world."""
    files: Sequence[str]
    """Patterns of the files in it that are damaged; none if it is a file itself."""
    command: str
    """What must refuse it: ``{it}`` is the damaged artefact, ``{world}`` has all others."""
    lonely: bool = False
    """Whether nothing else says that the file should be there, so that it may as well be gone."""


_RESUME = "pretrain {world}/recipe.yaml --data {world}/m.jsonl --out {it} --resume"
_EVALUATE = "evaluate {it} --data {world}/m.jsonl --evaluator retrieval"
_INDEX = "index {it} --data {world}/m.jsonl --out {it}-index"
KINDS = {
    "checkpoint": Kind("run", ["checkpoints/epoch-*/*"], _RESUME),
    "best checkpoint": Kind("tuned", ["checkpoints/epoch-*/*"], f"{_INDEX} --checkpoint best"),
    "run": Kind("run", ["run.json", "recipe.yaml", "model.json"], _RESUME),
    "card": Kind("run", ["run.json", "model.json"], _INDEX),
    "recipe": Kind("run", ["run.json", "recipe.yaml"], "report {it}"),
    "model": Kind("model", ["*"], _INDEX),
    "packed set": Kind(
        "packed",
        ["pack.json", "videos.jsonl", "part-*"],
        "data check {world}/recipe.yaml --data {it}",
    ),
    "raw set": Kind(
        "raw", ["pack.json", "videos.jsonl", "part-*"],
        "index {world}/model --data {it} --out {it}-index",
    ),
    "index": Kind(
        "index", ["CURRENT", "generation-*/*", "segment-*/*", "encoder-*/*"],
        "retrieve {it} {world}/../videos/0.mp4 --top 2",
    ),
    "manifest": Kind("m.jsonl", [], "data scan {it} --out {it}.jsonl", lonely=True),
    "scores": Kind(
        "scores.jsonl", [], "data scores {world}/m.jsonl --out {it} --size 24x32 --crop 16",
        lonely=True,
    ),
    "features": Kind("run", ["features/*/*/*"], _EVALUATE),
    "report": Kind("run", ["evaluations/*/report.json"], "report {it}", lonely=True),
    "report of a classifier": Kind("tuned", ["report.json"], "report {it}", lonely=True),
}  # fmt: skip


def prepare(shared: Path) -> None:
    """Make two worlds that are alike but for the seed, and see that every command takes one."""
    videos = shared / "videos"
    videos.mkdir()
    for number in range(6):
        write_noise(videos / f"{number}.mp4", number, frames=24, step=1 + number % 2)
    for seed in (0, 1):
        _make(shared / f"world-{seed}", videos, seed)
    for name, kind in KINDS.items():
        trial = shared / "trial"
        status, told = _read_back(kind, _copy(kind, shared, trial), shared)
        if status:
            raise Broken(f"the {name} is refused as it was written: {told}")
        shutil.rmtree(trial)


def _make(world: Path, videos: Path, seed: int) -> None:
    world.mkdir()
    rows = [
        {"path": str(path), "label": "ab"[n % 2], "split": "train" if n < 4 else "test"}
        for n, path in enumerate(sorted(videos.iterdir(), reverse=bool(seed)))
    ]
    (world / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("recipe", RECIPE), ("tuning", TUNING)):
        (world / f"{name}.yaml").write_text(text.replace("SEED", str(seed)))
    data = f"--data {world}/m.jsonl"
    for command in (
        f"data scan {world}/list.jsonl --out {world}/m.jsonl",
        f"pretrain {world}/recipe.yaml {data} --out {world}/run",
        f"finetune {world}/tuning.yaml --from {world}/run {data} --out {world}/tuned",
        f"evaluate {world}/run {data} --evaluator retrieval",
        f"index {world}/run {data} --out {world}/index --factory HNSW",
        f"data pack {world}/m.jsonl --out {world}/packed --size 24x32 --flow dis",
        f"data pack {world}/m.jsonl --out {world}/raw --size 24x32 --format raw",
        f"data scores {world}/m.jsonl --out {world}/scores.jsonl --size 24x32 --crop 16",
    ):
        status, told = _vidssl(command)
        if status:
            raise Broken(f"{command}: {told}")
    shutil.copytree(next(world.glob("index/encoder-*")), world / "model")


def run(case: Case) -> Facts:
    """Damage one file of an artefact; the command that reads it must refuse it, and unread."""
    name = list(KINDS)[case.number % len(KINDS)]
    kind = KINDS[name]
    it = _copy(kind, case.shared, case.folder)
    damage = _damage(kind, it, case)
    with _watched(damage) as seen:
        status, told = _read_back(kind, it, case.shared)
    what = f"{damage.what}: {damage.files[0].relative_to(case.folder)}"
    if seen:
        raise Broken(f"{what}: {seen[0]} got to see it; status {status}: {told}")
    if status != DamagedFileError.status:
        raise Broken(f"{what}: status {status}: {told}")
    if not _is_told(damage, it, told):
        raise Broken(f"{what}: the message does not name it, or has no digest: {told}")
    return {"kind": name, "damage": damage.what}


def _copy(kind: Kind, shared: Path, folder: Path, world: int = 0) -> Path:
    source = shared / f"world-{world}" / kind.artefact
    it = folder / kind.artefact
    if source.is_dir():
        shutil.copytree(source, it, symlinks=True)
    else:
        folder.mkdir(exist_ok=True)
        for path in (source, note_of(source)):
            shutil.copy2(path, folder)
    return it


def _read_back(kind: Kind, it: Path, shared: Path) -> tuple[int, str]:
    return _vidssl(kind.command.format(it=it, world=shared / "world-0"))


def _vidssl(command: str) -> tuple[int, str]:
    """Run a command in this process; return its exit status and what it said on stderr."""
    from vidssl_cli.cli import app
    from vidssl_cli.cli.failures import run as call

    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        return call(app, command.split()), told.getvalue()


# What can happen to the bytes of a file.


def _flip(content: bytes, draw: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.choice([0, len(content) - 1, draw.randrange(len(content))])]


def _append(content: bytes, draw: random.Random) -> bytes:
    return content + draw.choice([b"\n", b" ", b"\0", draw.randbytes(draw.randrange(1, 999))])


def _zero(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    size = min(draw.randrange(1, 4096), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def _exchange(content: bytes, draw: random.Random) -> bytes:
    a, b, c = sorted(draw.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _digit(content: bytes, draw: random.Random) -> bytes:
    """Put another digit in the place of one, as somebody does who corrects a figure."""
    places = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if not places:
        return content
    place = draw.choice(places)
    return content[:place] + str(draw.randrange(10)).encode() + content[place + 1 :]


BYTES = {
    "a flip": _flip,
    "a cut": _cut,
    "bytes behind the end": _append,
    "zeros in the middle": _zero,
    "parts in another order": _exchange,
    "another digit": _digit,
}
WAYS = (*BYTES, "that of another artefact", "a neighbour's content", "gone", "a forged manifest")
"""What can happen to a file; the last one is a manifest that is whole but says something else."""

HOLDERS = {MANIFEST, "CURRENT", "run.json", "pack.json"}
"""Files that hold the digests of others, so that those may be named instead."""


@dataclass(frozen=True)
class Damage:
    """What was done to an artefact."""

    what: str
    files: Sequence[Path]
    """Which are not what was written; the first was chosen."""
    contents: frozenset[bytes] = frozenset()
    """Texts, and lines of texts, that were not written there; documents that carry their own
    digest and are whole may be read, if only to find out that they belong elsewhere."""


def _files(kind: Kind, it: Path) -> list[Path]:
    if not kind.files:
        return [it, note_of(it)]
    return sorted(path for each in kind.files for path in it.glob(each) if path.is_file())


def _damage(kind: Kind, it: Path, case: Case) -> Damage:
    """Damage one file of an artefact in one way, such that it is not what it was."""
    draw = case.random
    files = _files(kind, it)
    others = _files(kind, case.shared / "world-1" / kind.artefact)
    while True:
        what, victim = draw.choice(WAYS), draw.choice(files)
        alike = [path for path in others if path.name == victim.name]
        neighbours = [path for path in files if path.parent == victim.parent and path != victim]
        before = victim.read_bytes()
        if what in BYTES and before:  # an empty file has no byte to change
            after = BYTES[what](before, draw)
        elif what == "that of another artefact" and alike:
            after = draw.choice(alike).read_bytes()
        elif what == "a neighbour's content" and neighbours:
            after = draw.choice(neighbours).read_bytes()
        elif what == "gone" and not kind.lonely:
            victim.unlink()
            return Damage(what, [victim])
        elif what == "a forged manifest" and victim.name == MANIFEST and kind.artefact != "index":
            return _forge(victim, draw)
        else:
            continue
        if after != before:
            known = set().union(*(_texts(path.read_bytes()) for path in files))
            victim.write_bytes(after)
            whole = what == "that of another artefact" and victim.name in (*HOLDERS, "report.json")
            return Damage(
                what, [victim], frozenset() if whole else frozenset(_texts(after) - known)
            )


def _texts(content: bytes) -> set[bytes]:
    """Return what parsers of text are given of a file: all of it, or its lines; but for crumbs."""
    return {text for text in (content.strip(), *content.splitlines()) if len(text) > 16}


def _forge(manifest: Path, draw: random.Random) -> Damage:
    """Leave a file out of a manifest, or give it another digest, and seal the manifest again."""
    document = sealed_json.read(manifest, "")
    name = next(name for name in document["files"] if name in ("model.safetensors", "rows.json"))
    if draw.random() < 0.5:
        del document["files"][name]
    else:
        document["files"][name]["sha256"] = draw.randbytes(32).hex()
    manifest.write_bytes(sealed_json.render(document))
    return Damage("a forged manifest", [manifest, manifest.parent / name])


def _is_told(damage: Damage, it: Path, told: str) -> bool:
    """Tell whether a message names a damaged file, and a digest where one was left."""
    victim = damage.files[0]
    holder = victim.name in HOLDERS or victim == note_of(it)
    if not any(str(path) in told for path in (*damage.files, *([it] if holder else []))):
        return False
    digestless = (
        (damage.what == "gone" and holder)
        or (damage.what == "a forged manifest" and "does not name" in told)
        or (victim.suffix == ".bin" and "bytes" in told)  # its pieces have digests, it has a size
    )
    return digestless or re.search("[0-9a-f]{64}", told) is not None


@contextlib.contextmanager
def _watched(damage: Damage) -> Iterator[list[str]]:
    """Note every parser that gets to see damaged bytes."""
    seen: list[str] = []

    def of_paths(name: str, real: Any) -> Any:
        def parse(path: Any, *rest: Any, **options: Any) -> Any:
            if Path(path) in damage.files:
                seen.append(name)
            return real(path, *rest, **options)

        return parse

    def of_texts(name: str, real: Any) -> Any:
        def parse(text: Any, *rest: Any, **options: Any) -> Any:
            raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
            if raw.strip() in damage.contents:
                seen.append(name)
            return real(text, *rest, **options)

        return parse

    def of_pictures(name: str, real: Any) -> Any:
        def parse(kept: Any, *rest: Any) -> Any:
            with open(kept.path, "rb") as file:
                if packed.digest_of(kept, file) != kept.sha256:
                    seen.append(name)
            return real(kept, *rest)

        return parse

    parsers = {
        "vidssl_cli.training.checkpoint.load_file": of_paths,
        "vidssl_cli.evaluation.feature_cache.load_file": of_paths,
        "vidssl_cli.config.yaml_source.read": of_paths,
        "numpy.load": of_paths,
        "faiss.read_index": of_paths,
        "json.loads": of_texts,
        "vidssl_cli.model.card.Card.model_validate_json": of_texts,
        "vidssl_cli.search.layout.Layout.model_validate_json": of_texts,
        "vidssl_cli.media.packed._read_raw": of_pictures,
        "vidssl_cli.media.packed._read_compact": of_pictures,
    }
    with contextlib.ExitStack() as patches:
        for name, watch in parsers.items():
            patch = mock.patch(name)
            real, _ = patch.get_original()
            patches.enter_context(mock.patch(name, watch(name, real)))
        yield seen


def _summary(facts: Sequence[Facts]) -> str:
    def told(key: str) -> str:
        counts = Counter(str(each[key]) for each in facts)
        return ", ".join(f"{count} {name}" for name, count in counts.most_common())

    return f"{told('damage')}; of these: {told('kind')}."


SUITE = Suite(
    promise="a damaged file of vidssl's own is refused by name and digest, and no parser sees it",
    cases=1000,
    share=range(len(KINDS)),
    run=run,
    prepare=prepare,
    summary=_summary,
)
