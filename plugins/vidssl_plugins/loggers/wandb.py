"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import wandb

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import LoggedRun, RunState


class WandBLogger:
    """A run of the same id; its charts have the step of training as their axis."""

    def __init__(
        self,
        run: LoggedRun,
        project: str | None,
        entity: str | None,
        mode: Literal["online", "offline"] | None,
    ) -> None:
        online = (mode or wandb.setup().settings.mode) == "online"
        if online and not wandb.login(prompt=False):  # or it would ask in the middle of training
            raise RuntimeError("no API key: run `wandb login`, or set WANDB_MODE=offline")
        run.files.mkdir(exist_ok=True)
        self._run = wandb.init(
            id=run.id,
            resume="allow",
            name=run.folder.resolve().name,
            project=project or os.environ.get("WANDB_PROJECT", "vidssl"),
            entity=entity,
            mode=mode,
            dir=str(run.files),
            config=dict(run.recipe),
            # Neither what is printed nor signals are its business.
            settings=wandb.Settings(console="off", quiet=True),
        )
        self._run.define_metric("*", step_metric="step")  # its own count would refuse earlier steps

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Add a point to each chart."""
        for row in rows:
            self._run.log(dict(row))

    def close(self, state: RunState) -> None:
        """Upload what is left."""
        if state == "preempted":
            self._run.mark_preempting()
        self._run.finish(exit_code=int(state != "finished"))
