"""How training is going: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from vidssl_cli.base.console import SECONDS_BETWEEN_LINES, say, stderr

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

T = TypeVar("T")


class TrainingProgress:
    """Shows step, loss terms, clips/s, time left, and what holds the run back."""

    def __init__(self, steps: int, done: int, *, offer: Callable[[], float], shown: bool) -> None:
        """Prepare to show.

        Args:
            steps: of the whole run.
            done: steps that an earlier session took.
            offer: tells how many clips per second the loader can deliver.
            shown: False stays silent.
        """
        self.steps = steps
        self.done = self.first = done
        self.offer = offer
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
                BarColumn(bar_width=12),
                TextColumn("{task.description}"),
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
            held = who_holds_back(self.offer(), self._asked())
            say(f"trained {self.done - self.first} steps: {self._rates()}; held back by {held}")

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield batches and note how long each took to come."""
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
        """Count a step of that many clips."""
        self.done += 1
        self.clips += clips
        now = time.monotonic()
        taken = now - self.start
        left = taken / (self.done - self.first) * (self.steps - self.done)
        shown = [f"{name} {value:.3f}" for name, value in _short(values).items()]
        text = f"{'  '.join(shown)}  {self._rates()}, {_duration(left)} left"
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=text)
        elif self.shown and (now - self.told >= SECONDS_BETWEEN_LINES or self.done == self.steps):
            self.told = now
            say(f"step {self.done}/{self.steps}  {text}")

    def _rates(self) -> str:
        taken = max(time.monotonic() - self.start, 1e-9)
        return (
            f"{self.clips / taken:.1f} clips/s (data {self.offer():.0f}, "
            f"model {self._asked():.0f}), {self.waited / taken:.0%} waiting for data"
        )

    def _asked(self) -> float:
        """Return the clips per second of the time in which the model had data."""
        return self.clips / max(time.monotonic() - self.start - self.waited, 1e-9)


def who_holds_back(offered: float, asked: float) -> str:
    """Say which of the two is slower, both in clips per second."""
    if offered < asked:
        return f"the data, {asked / offered:.1f} times slower than the model"
    return f"the model, {offered / asked:.1f} times slower than the data"


def _short(values: dict[str, float]) -> dict[str, float]:
    """Leave out what a line has no room for: the rate, and prefixes where names differ anyway."""
    kept = {name: value for name, value in values.items() if name != "lr"}
    short = {name.rpartition(".")[2]: value for name, value in kept.items()}
    return short if len(short) == len(kept) else kept


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
