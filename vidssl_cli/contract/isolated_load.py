"""Loads plugins in processes of their own, to find those that crash or never return.

What a plugin raises is caught where it is loaded. What ends the process, or hangs it, can only be
seen from another process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import EntryPoint

from vidssl_cli.contract.entry_points import package_of

TIMEOUT = 30.0
"""Seconds that loading plugins may take longer than loading none; so a busy machine is no error."""

SURVIVED = "vidssl: survived"
"""The last line that a process prints if it was not ended."""

SCRIPT = f"""
import os, sys
from importlib.metadata import EntryPoint
from vidssl_cli.contract.registry import Registry
Registry([EntryPoint(*sys.argv[1:])] if sys.argv[1:] else [])
print({SURVIVED!r}, flush=True)
os._exit(0)
"""


def fatal(entries: Iterable[EntryPoint]) -> dict[str, str]:
    """Load every entry point in a process of its own.

    Returns:
        dict: by address (``package:entry point``), what happened to those that end the process or
        take too long. Those that raise are not among them.
    """
    running = {
        f"{package_of(entry)}:{entry.name}": _start(entry.name, entry.value, entry.group)
        for entry in entries
    }
    if running:
        _start().communicate()  # loads nothing
    deadline = time.monotonic() + TIMEOUT
    found = {address: _outcome(process, deadline) for address, process in running.items()}
    return {address: reason for address, reason in found.items() if reason}


def _start(*entry: str) -> subprocess.Popen[str]:
    """Load an entry point, given as name, value and group, in a process."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *entry],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
    )


def _outcome(process: subprocess.Popen[str], deadline: float) -> str | None:
    """Wait for a process until a time; return how it failed, or None."""
    try:
        said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"it had not loaded after more than {TIMEOUT:g} s"
    if said.endswith(f"{SURVIVED}\n"):
        return None
    if process.returncode < 0:
        return f"it ends the process that loads it, by {signal.Signals(-process.returncode).name}"
    return f"it ends the process that loads it, with exit status {process.returncode}"
