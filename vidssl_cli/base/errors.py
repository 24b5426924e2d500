"""Errors, one class for each exit status.

The message says what was found and where, ``hint`` what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from vidssl_cli.base.wording import counted


class VidsslError(Exception):
    """Something failed while running: exit status 1."""

    status: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(
        self, message: str | Sequence[str], *, where: str | None = None, hint: str | None = None
    ) -> None:
        self.problems = (message,) if isinstance(message, str) else tuple(message)
        """What was found, one line each, in which names may have any characters."""
        super().__init__("\n".join(self.problems))
        self.where = where
        """The file, key or plugin that the message is about."""
        self.hint = hint
        """What the user can do about it, one line."""


class NoRoomError(VidsslError):
    """A file does not fit on its disk; what was there is unchanged: exit status 1."""

    code = "no_room"


class BusyError(VidsslError):
    """Another process is writing what would be written: exit status 1."""

    code = "busy"


class UsageError(VidsslError):
    """A command line that cannot be run: exit status 2."""

    status = 2
    code = "usage"


class RecipeError(UsageError):
    """A recipe that cannot run, one ``file:line:column: key: problem`` per line: exit status 2."""

    code = "recipe"


class PluginError(VidsslError):
    """A plugin that is broken, or missing where a recipe needs it: exit status 3."""

    status = 3
    code = "plugin"


class DamagedFileError(VidsslError):
    """A checkpoint, index or manifest that is damaged or refused: exit status 4."""

    status = 4
    code = "damaged"


class MediaError(VidsslError):
    """One video that cannot be read; ``where`` is its path and the message the reason.

    Commands catch it, name the video and go on without it.
    """

    code = "media"

    @property
    def row(self) -> dict[str, str]:
        """The path of the video and the reason, for files and JSON documents."""
        return {"path": self.where or "", "reason": str(self)}


class SkippedMediaError(VidsslError):
    """``--strict`` was given, and media were skipped or are not whole: exit status 5."""

    status = 5
    code = "skipped"

    @classmethod
    def raise_if(
        cls, strict: bool, skipped: int, what: str = "video", hint: str = "", partial: int = 0
    ) -> None:
        """Raise if ``--strict`` was given and not all media were used as a whole.

        Called after the result is printed.

        Args:
            strict: Whether ``--strict`` was given.
            skipped: How many were left out.
            what: What one of them is.
            hint: What to do about it.
            partial: How many were used for the frames that decode.
        """
        if strict and (skipped or partial):
            found = []
            if skipped:
                found.append(counted(skipped, f"{what} was left out", f"{what}s were left out"))
            if partial:
                has = counted(
                    partial, "video has problems and was", "videos have problems and were"
                )
                found.append(f"{has} used for what decodes")
            raise cls(", ".join(found), hint=hint)


class Preempted(VidsslError):
    """SIGTERM, SIGUSR1 or SIGHUP arrived; the state is on disk: exit status 75."""

    status = 75
    code = "preempted"


class Interrupted(VidsslError):
    """Ctrl-C arrived; the state is on disk: exit status 130."""

    status = 130
    code = "interrupted"


@contextmanager
def noted(note: Callable[[], str]) -> Iterator[None]:
    """Add to any exception what was being done, for the message about a plugin that fails."""
    try:
        yield
    except (Exception, SystemExit) as error:
        error.add_note(note())
        raise


def notes(error: BaseException) -> list[str]:
    """Return what `noted` added to an exception."""
    return getattr(error, "__notes__", [])
