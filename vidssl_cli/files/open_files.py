"""How many files a process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress

_FEW = 512
"""Files for which the usual limit of 1024 is enough."""
_MANY = 1 << 16


def allow_open_files(count: int) -> None:
    """Let this process open so many files at once, if the system lets it raise its limit.

    An array that is mapped into memory is an open file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MANY if hard == resource.RLIM_INFINITY else hard
    if count > _FEW and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
