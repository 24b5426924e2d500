"""How much one video file may ask for, so that a small file cannot take hours or all memory.

Environment variables raise or lower the limits, for the rare file that is as large as it says.
"""

from __future__ import annotations

import os
import re

from vidssl_cli.base.errors import UsageError

PIXELS, FRAMES, HOURS = "VIDSSL_MAX_PIXELS", "VIDSSL_MAX_FRAMES", "VIDSSL_MAX_HOURS"

_DEFAULTS = {
    PIXELS: 40_000_000,  # of one picture; 8K is 33 million
    FRAMES: 500_000,  # five hours and a half at 25 frames per second
    HOURS: 48,  # by its timestamps, that is also where frames are few
}
_MOST = 2**31 - 1
"""What FFmpeg counts pixels with."""


def limit(name: str) -> int:
    """Return a limit by the name of the environment variable that changes it.

    Raises:
        UsageError: the variable holds something else than a whole number from 1 to `_MOST`.
    """
    text = os.environ.get(name) or str(_DEFAULTS[name])
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= _MOST:
        raise UsageError(f"{name} is {text!r}", hint=f"set it to a whole number from 1 to {_MOST}")
    return int(text)


def raised_by(name: str) -> str:
    """Say what a refused user can do, for the end of a message."""
    return f"more than {limit(name)}, which {name} raises"
