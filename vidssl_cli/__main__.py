"""Starts the command line: `vidssl`, `python -m vidssl_cli`, and the processes of torchrun."""

from __future__ import annotations

import os
import sys

from vidssl_cli.base.signals import StopSignals, follow_parent


def main() -> None:
    """Run the command line, with an eye on signals before anything else is imported."""
    _reopen_streams()
    with StopSignals() as signals:
        follow_parent()
        from vidssl_cli.cli import main

        main(signals)


def _reopen_streams() -> None:
    """Have standard streams that were closed lead nowhere.

    Files would be given their numbers, and whatever a library says there would end in a checkpoint.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            if descriptor:
                setattr(sys, name, open(descriptor, "w"))  # noqa: SIM115


if __name__ == "__main__":
    main()
