"""Starts the command line: `vidssl`, `python -m vidssl_cli`, and the processes of torchrun."""

from __future__ import annotations

from vidssl_cli.signals import StopSignals, follow_parent


def main() -> None:
    """Run the command line, with an eye on signals before anything else is imported."""
    with StopSignals() as signals:
        follow_parent()
        from vidssl_cli.cli import main

        main(signals)


if __name__ == "__main__":
    main()
