"""Sends the rows of a run to loggers, each in a thread of its own.

Training never waits for one, and none ends it: what a logger raises is told once, and the rest goes
on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.console import warn
from vidssl_cli.config.attribution import plugin_error
from vidssl_cli.contract.registry import offered

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import LoggedRun, LoggerOptions, RunState

USUAL = "tensorboard"
"""The logger of recipes that name none, where its package is installed."""
WAITING = 100_000
"""Rows for which a logger is behind, before it is given up."""
PATIENCE = 60.0
"""Seconds that loggers get to send what is left when training ends."""


def chosen_loggers(
    recipe: Sequence[LoggerOptions] | None, more: Iterable[LoggerOptions]
) -> list[LoggerOptions]:
    """Return the loggers of a run: those of its recipe, and more, none twice."""
    if recipe is None:
        installed = find_spec(USUAL) is not None
        recipe = [offered("logger")[USUAL](name=USUAL)] if installed else []  # type: ignore[list-item]
    named = {options.name for options in recipe}
    return [*recipe, *(options for options in more if options.name not in named)]


class LoggerThread:
    """A logger at work."""

    def __init__(self, options: LoggerOptions, run: LoggedRun) -> None:
        self._name = options.name
        self._changed = Condition()
        self._rows: list[dict[str, float]] = []
        self._state: RunState | None = None
        """How the run ended, once it has."""
        self._lost = False
        self._thread = Thread(target=self._work, args=(options, run), daemon=True)
        self._thread.start()

    def send(self, row: dict[str, Any]) -> None:
        """Have the numbers of a row logged soon."""
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        with self._changed:
            if len(self._rows) >= WAITING:
                self._give_up(f"it is {WAITING} rows behind")
            if not self._lost:
                self._rows.append(numbers)
                self._changed.notify()

    def end(self, state: RunState) -> None:
        """Have the logger bring everything to its place."""
        with self._changed:
            self._state = state
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Wait until it has, but not for ever."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._give_up("it has not sent everything, and is not waited for any longer")

    def _work(self, options: LoggerOptions, run: LoggedRun) -> None:
        try:
            logger = options.build(run)
            state = None
            while not state:
                with self._changed:
                    self._changed.wait_for(lambda: self._rows or self._state)
                    rows, state, self._rows = self._rows, self._state, []
                if rows:
                    logger.log(rows)
            logger.close(state)
        except ModuleNotFoundError as error:
            self._give_up(f"{error}; pip install 'vidssl[{self._name}]'")
        except BaseException as error:  # a logger may do anything, SystemExit included
            self._give_up(str(plugin_error(error) or f"{type(error).__name__}: {error}"))

    def _give_up(self, reason: str) -> None:
        """Say once why there is no more logging."""
        if not self._lost:
            self._lost = True
            self._rows = []
            warn(f"the logger {self._name} is left out from now on: {reason}")
