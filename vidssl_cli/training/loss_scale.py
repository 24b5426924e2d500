"""The factor on the loss in fp16, in which small gradients would vanish (Micikevicius 2018)."""

from __future__ import annotations

from dataclasses import dataclass

GROWS_AFTER = 2000
"""Steps without overflow after which the factor doubles."""
LARGEST = 2.0**24


@dataclass
class LossScale:
    """A power of two that follows the gradient: what a checkpoint holds of it."""

    factor: float = 2.0**16
    steps: int = 0
    """Since the factor last changed."""

    def lower(self) -> bool:
        """Halve the factor, since gradients have overflowed; return whether that was possible."""
        if self.factor <= 1:
            return False
        self.factor, self.steps = self.factor / 2, 0
        return True

    def count_step(self) -> None:
        """Count a step without overflow."""
        self.steps += 1
        if self.steps == GROWS_AFTER:
            self.factor, self.steps = min(2 * self.factor, LARGEST), 0
