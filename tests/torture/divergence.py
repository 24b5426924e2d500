"""Losses and gradients that are no numbers, in every method: where they stop, and what is skipped.

A case trains a toy network by one method and spoils one step of each epoch. What is spoilt is the
clips (so that batch norms and memories see NaN), a loss term, or the gradient of a finite loss.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from torture.harness import Broken, Case, Facts, Suite

UNIFORM = {"name": "uniform", "views": 2, "frames": 8}
SSTL = {"name": "sstl", "proj_dim": 8, "proj_hidden": [], "bank_negatives": 6}
QUEUE = {"name": "instance", "momentum": 0.9, "queue": 12}
PACE = {"name": "pace", "views": 2, "frames": 8, "paces": [1, 2]}
METHODS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "pace": (PACE, [{"name": "pace"}, {"name": "same_context", "weight": 0.1}]),
    "classify": (PACE, [{"name": "classify", "label": "pace"}]),
    "same pace": (PACE, [{"name": "same_pace"}]),
    "instance": (UNIFORM, [{"name": "instance"}]),
    "queue": (UNIFORM, [QUEUE]),
    "bank": ({"name": "sstl", "frames": 8}, [SSTL]),
    "bank and queue": ({"name": "sstl", "frames": 8}, [SSTL, QUEUE]),
    "temporal transforms": (
        {"name": "temporal_transforms", "frames": 8},
        [{"name": "temporal_transforms"}],
    ),
    "equivariance": ({"name": "time_equivariant", "frames": 8}, [{"name": "equivariance"}]),
    "statistics": ({"name": "consecutive", "frames": 8}, [{"name": "statistics"}]),
}
SPOILT = ("clips", "term", "gradient")
EPOCHS, STEPS, BATCH, VIDEOS = 2, 10, 4, 8


def prepare(shared: Path) -> None:
    """Make a few short videos, and tell their facts."""
    from torture._media import write_noise
    from vidssl_cli.data.manifest import write_manifest
    from vidssl_cli.media.probe import probe

    for number in range(VIDEOS):
        write_noise(shared / f"{number}.mp4", number)
    videos = [probe(str(shared / f"{number}.mp4")) for number in range(VIDEOS)]
    write_manifest(shared / "videos.jsonl", videos)


def run(case: Case) -> Facts:
    """Stop at a spoilt step, go on without it; the same again, but cut at some step and resumed."""
    method = list(METHODS)[case.number % len(METHODS)]
    spoilt = SPOILT[case.number // len(METHODS) % len(SPOILT)]
    steps = [epoch * STEPS + case.random.randrange(STEPS) for epoch in range(EPOCHS)]
    cut = case.random.randrange(1, EPOCHS * STEPS)
    whole, parts = case.folder / "whole", case.folder / "parts"

    with spoiling(steps, spoilt):
        said = failure(method, case.shared, whole)
        if f"step {steps[0] + 1}: " not in said or ".mp4" not in said:
            raise Broken(f"step {steps[0] + 1} and its videos are not named: {said}")
        if spoilt != "gradient" and "loss" not in said and "." not in said.split("; its")[0]:
            raise Broken(f"no loss term is named: {said}")
        if steps[0] and saved(whole)[0] != steps[0]:
            raise Broken(f"the last good checkpoint is not that of step {steps[0]}")
        train(method, case.shared, whole, on_nan="skip", resume=True)
        with contextlib.suppress(Cut), cutting(cut):
            train(method, case.shared, parts, on_nan="skip")
        train(method, case.shared, parts, on_nan="skip", resume=True)

    if saved(whole) != saved(parts):
        raise Broken(f"cut after step {cut} and resumed, the run ends elsewhere")
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    left = [row["step"] - 1 for row in rows if "not_finite" in row]
    if left != steps:
        raise Broken(f"steps {steps} were spoilt; metrics.jsonl has {left}")
    facts = json.loads((whole / "run.json").read_text())
    if (facts["state"], facts["skipped_steps"], facts["on_nan"]) != ("finished", EPOCHS, "skip"):
        raise Broken(f"run.json says {facts}")
    losses = [row["loss"] for row in rows if "loss" in row]
    if len(losses) != EPOCHS * STEPS - EPOCHS or not all(map(math.isfinite, losses)):
        raise Broken(f"{len(losses)} steps have a loss, of which some are not finite")
    return {"method": method, "spoilt": spoilt, "steps": steps, "cut": cut}


class Cut(Exception):
    """Ends a run at a step, as if it was killed after its checkpoint."""


def train(method: str, shared: Path, out: Path, *, on_nan: str, resume: bool = False) -> None:
    """Train a toy network by a method; a checkpoint is written after every step."""
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.data.manifest import read_manifest
    from vidssl_cli.training.pretrain import pretrain
    from vidssl_cli.training.session import Session

    sampler, pretexts = METHODS[method]
    recipe = PretrainRecipe.model_validate(
        {
            "input": {"resize": [24, 32], "crop": 16},
            "backbone": {"name": "r3d", "depth": 10, "width": 4},
            "sampler": sampler,
            "pretext": pretexts,
            "train": {
                "epochs": EPOCHS,
                "repeats": STEPS * BATCH // VIDEOS,
                "batch_videos": BATCH,
                "optimizer": {"name": "adamw", "lr": 1e-3},
                "precision": "fp32",
                "checkpoint_minutes": 0,
            },
        }
    )
    videos = read_manifest(shared / "videos.jsonl")
    session = Session(out, resume=resume, device="cpu", workers=0, on_nan=on_nan)  # type: ignore[arg-type]
    pretrain(recipe, videos, session)


def failure(method: str, shared: Path, out: Path) -> str:
    """Return what a run says that stops where the loss is not finite."""
    from vidssl_cli.base.errors import VidsslError

    try:
        train(method, shared, out, on_nan="stop")
    except VidsslError as error:
        if (state := json.loads((out / "run.json").read_text())["state"]) != "failed":
            raise Broken(f"run.json says {state}, not failed") from None
        return str(error)
    raise Broken("a loss that is not finite did not stop the run")


@contextlib.contextmanager
def spoiling(steps: Sequence[int], what: str) -> Iterator[None]:
    """Spoil the steps of these numbers, and see that whatever they might change stays as it was."""
    import torch

    from vidssl_cli.model.learner import PretrainLearner
    from vidssl_cli.training.not_finite import NotFiniteError
    from vidssl_cli.training.step import Stepper

    now = -1
    losses, step = PretrainLearner.forward, Stepper.__call__

    def spoilt_losses(learner: Any, batch: Any, precision: Any) -> Any:
        if now not in steps:
            return losses(learner, batch, precision)
        if what == "clips":
            clips = batch.clips.clone()
            clips[0] = math.nan
            return losses(learner, replace(batch, clips=clips), precision)
        pretext = learner.pretexts[0]
        inner = pretext.forward

        def forward(*arguments: Any) -> Any:
            terms, metrics = inner(*arguments)
            name = next(iter(terms))
            if what == "term":
                bad = terms[name] * math.nan
            else:  # the root of zero is zero, and has no slope
                bad = terms[name] + (0 * next(learner.backbone.parameters())).sum().sqrt()
            return {**terms, name: bad}, metrics

        with mock.patch.object(pretext, "forward", forward):
            return losses(learner, batch, precision)

    def watched(stepper: Any, batch: Any, number: int) -> Any:
        nonlocal now
        now = number
        before = _state(stepper)
        try:
            values = step(stepper, batch, number)
        except NotFiniteError:
            after = _state(stepper)
            changed = [name for name in before if not torch.equal(before[name], after[name])]
            if stepper.reversible and changed:
                raise Broken(f"step {number + 1} was skipped, yet it changed {changed}") from None
            raise
        if number in steps:
            raise Broken(f"step {number + 1} was spoilt and taken")
        return values

    with (
        mock.patch.object(PretrainLearner, "forward", spoilt_losses),
        mock.patch.object(Stepper, "__call__", watched),
    ):
        yield


def _state(stepper: Any) -> dict[str, Any]:
    """Return a copy of every number that training has, but for gradients."""
    tensors = dict(stepper.learner.state_dict())
    for number, slots in enumerate(stepper.optimizer.state.values()):
        tensors |= {f"optimizer {number} {name}": value for name, value in slots.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


@contextlib.contextmanager
def cutting(after: int) -> Iterator[None]:
    """End the run when it has taken or left out so many steps."""
    from vidssl_cli.training.run import Run

    log = Run.log

    def logged(run: Any, row: dict[str, Any]) -> None:
        log(run, row)
        if row["step"] == after:
            raise Cut

    with mock.patch.object(Run, "log", logged):
        yield


def saved(out: Path) -> tuple[int, dict[str, str]]:
    """Return the step of the last checkpoint, and the digest of each of its files."""
    folder = (out / "checkpoints" / "last").resolve()
    if not folder.is_dir():
        raise Broken("there is no checkpoint")
    manifest = json.loads((folder / "manifest.json").read_text())
    return json.loads((folder / "state.json").read_text())["step"], manifest


def summary(facts: Sequence[Facts]) -> str:
    """Tell how much was tried."""
    spoilt = ", ".join(f"{sum(f['spoilt'] == what for f in facts)} {what}" for what in SPOILT)
    return f"{len({f['method'] for f in facts})} methods; steps spoilt in their {spoilt}."


SUITE = Suite(
    "a step whose loss or gradient is not finite stops the run and names step, term and videos; "
    "skipped, it changes nothing, is counted, and resumes bit for bit",
    cases=60,
    share=(6, 14),
    run=run,
    prepare=prepare,
    summary=summary,
    limit=900,
)
