"""How far a run has come: the epochs and steps that it has taken, and its best score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vidssl_cli.training.loss_scale import LossScale


@dataclass
class Progress:
    """How far a run has come: what a checkpoint holds besides weights and optimizer."""

    epoch: int = 0
    """Epochs that are complete."""
    epoch_step: int = 0
    """Steps of the current epoch that are complete."""
    step: int = 0
    """Steps that are complete, over all epochs."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of loss and metrics over the steps of the current epoch."""
    best: float | None = None
    """Highest score so far."""
    best_checkpoint: str | None = None
    """Name of the checkpoint that has it."""
    skipped: int = 0
    """Steps that were not taken, since the loss or gradient was not finite, over all epochs."""
    epoch_skipped: int = 0
    """Those of the current epoch."""
    scale: LossScale = field(default_factory=LossScale)
    """Of the loss, in fp16."""

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and step: no two checkpoints of a run have both in common."""
        return self.epoch, self.step

    def count_step(self, values: Mapping[str, float]) -> None:
        """Count a step, and add up what it measured; a step that was skipped measured nothing."""
        self.step += 1
        self.epoch_step += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Return the means of loss and metrics over the steps that the current epoch has taken."""
        taken = self.epoch_step - self.epoch_skipped
        return {name: total / taken for name, total in self.sums.items()}

    def end_epoch(self, score: float) -> bool:
        """Count the epoch; return whether its score is the best so far."""
        best = self.best is None or score > self.best
        if best:
            self.best = score
        self.epoch += 1
        self.epoch_step = self.epoch_skipped = 0
        self.sums = {}
        return best
