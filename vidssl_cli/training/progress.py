"""How training proceeds, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from vidssl_cli.base.console import SECONDS_BETWEEN_LINES, say, stderr
from vidssl_cli.base.wording import counted, duration, fitted

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

T = TypeVar("T")

BAR = 12
"""Width of the bar, in characters."""


class ProgressDisplay:
    """Shows the step, the time left, loss terms, clips/s, and at the end the bottleneck.

    On a terminal that is one line, which leaves out from its end what has no room.
    """

    def __init__(
        self, steps: int, done: int, *, capacity: Callable[[], float], shown: bool
    ) -> None:
        """Prepare to show.

        Args:
            steps: of the whole run.
            done: steps that an earlier session took.
            capacity: returns how many clips per second the loader can deliver.
            shown: whether anything is shown at all.
        """
        self.steps = steps
        self.done = self.first = done
        self.capacity = capacity
        self.shown = shown
        self.clips = 0
        self.waited = 0.0
        self.start = self.told = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        self.start = self.told = time.monotonic()
        if self.shown and stderr.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                MofNCompleteColumn(),
                BarColumn(BAR),
                TextColumn("{task.description}", markup=False),
                console=stderr,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self.steps, completed=self.done)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            with suppress(BrokenPipeError):  # the terminal may be gone
                self._bar.stop()
        if self.shown and self.done > self.first:
            slower = name_bottleneck(self.capacity(), self._model_rate())
            steps = counted(self.done - self.first, "step")
            rate, parts, waiting = self._rates()
            say(f"trained {steps}: {rate} {parts}, {waiting}; bottleneck: {slower}")

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield batches, and add up the time spent waiting for them."""
        iterator = iter(batches)
        while True:
            asked = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.waited += time.monotonic() - asked
            yield batch

    def advance(self, clips: int, values: dict[str, float]) -> None:
        """Count a step of that many clips, and show its values."""
        self.done += 1
        self.clips += clips
        now = time.monotonic()
        taken = now - self.start
        left = taken / (self.done - self.first) * (self.steps - self.done)
        parts = [
            f"{duration(left)} left",
            *(f"{name} {value:.3f}" for name, value in _short(values).items()),
            *self._rates(),
        ]
        if self._bar:
            room = stderr.width - len(f"{self.steps}/{self.steps}") - BAR - 2
            self._bar.update(self._task, completed=self.done, description=fitted(parts, room))
        elif self.shown and (now - self.told >= SECONDS_BETWEEN_LINES or self.done == self.steps):
            self.told = now
            say("  ".join([f"step {self.done}/{self.steps}", *parts]))

    def _rates(self) -> list[str]:
        """Return clips per second, those of data loading and model, and the share of waiting."""
        taken = max(time.monotonic() - self.start, 1e-9)
        return [
            f"{self.clips / taken:.1f} clips/s",
            f"(data {self.capacity():.0f}, model {self._model_rate():.0f})",
            f"{self.waited / taken:.0%} waiting for data",
        ]

    def _model_rate(self) -> float:
        """Return the clips per second of the time in which the model had data."""
        return self.clips / max(time.monotonic() - self.start - self.waited, 1e-9)


def name_bottleneck(loader: float, model: float) -> str:
    """Say which is slower, data loading or the model, given the clips per second of both."""
    if loader < model:
        return f"data loading, {model / loader:.1f} times slower than the model"
    return f"the model, {loader / model:.1f} times slower than data loading"


def _short(values: dict[str, float]) -> dict[str, float]:
    """Leave out the learning rate, and prefixes of names that differ without them."""
    kept = {name: value for name, value in values.items() if name != "lr"}
    short = {name.rpartition(".")[2]: value for name, value in kept.items()}
    return short if len(short) == len(kept) else kept
