"""Videos as rows: one video and its facts. Plain values; nothing here opens a video file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Video:
    """One manifest row. Facts are None until a scan has decoded the file."""

    path: str
    """Where the file is, absolute once a manifest has been read."""
    label: str | None = None
    """Class name."""
    split: str | None = None
    """``train`` or ``test``."""
    group: str | None = None
    """Videos of one group are cuts of one recording and must stay on one side of a split."""
    frames: int | None = None
    """Frames that decode, not frames that the header declares."""
    fps: float | None = None
    """Frames per second."""
    width: int | None = None
    """Pixels as shown, that is after rotation."""
    height: int | None = None
    duration: float | None = None
    """Seconds."""
    declared: int | None = None
    """Frames that the header declares."""
    timing: str | None = None
    """``steady``, ``variable``, ``out of order`` or ``missing``: what the timestamps are like."""
    keyframes: tuple[tuple[int, int], ...] = ()
    """(frame number, seek timestamp) of seek points that were checked against a full decode."""
