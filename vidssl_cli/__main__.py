"""Lets `python -m vidssl_cli` and torchrun start the command line."""

from vidssl_cli.cli import main

if __name__ == "__main__":
    main()
