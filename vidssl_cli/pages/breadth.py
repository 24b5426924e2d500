"""The page of `vidssl breadth`: one run on several data sets."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.pages.html import write_page

if TYPE_CHECKING:
    from vidssl_cli.evaluation.breadth import Breadth


def write_breadth(path: Path, run: Path, found: Breadth) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        run: What was measured.
        found: What was found.
    """
    write_page(
        path,
        "breadth.html",
        title=f"How widely {run.name} holds",
        subtitle=f"compared with random weights and chance; written by vidssl {version('vidssl')}",
        tables=found.tables(),
    )
