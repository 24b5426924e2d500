"""How much one video file may ask for, so that a small file cannot take hours or all memory.

Environment variables raise or lower the limits, for the rare file that is as large as it says.
"""

from __future__ import annotations

import os
import re

from vidssl_cli.base.errors import UsageError

PIXELS, FRAMES, HOURS = "VIDSSL_MAX_PIXELS", "VIDSSL_MAX_FRAMES", "VIDSSL_MAX_HOURS"
DECODED = "VIDSSL_MIN_DECODED"

_DEFAULTS = {
    PIXELS: 40_000_000,  # of one picture; 8K is 33 million
    FRAMES: 500_000,  # five hours and a half at 25 frames per second
    HOURS: 48,  # by its timestamps, that is also where frames are few
    DECODED: 10,  # percent of the frames that a file should hold; with fewer it is unreadable
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


def decoder_limit(pixels: int) -> int:
    """Return what to give FFmpeg as ``max_pixels`` where pictures may have so many pixels.

    FFmpeg counts rows at the length that it allocates: up to 63 pixels more, by what its processor
    instructions were built for, and blocks of 16 hang over the lower edge. No codec has more than
    65,536 rows.
    """
    return min(pixels + (64 << 16), _MOST)


def raised_by(name: str) -> str:
    """Say what a refused user can do, for the end of a message."""
    return f"more than {limit(name)}, which {name} raises"
