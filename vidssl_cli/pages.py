"""Pages to look at: one self-contained HTML file each, which loads nothing and runs nothing.

A content policy forbids both. Text must be escaped by whoever writes it; titles are escaped here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from vidssl_cli.artefacts import atomic_write


def write_page(
    path: Path, title: str, subtitle: str, content: str, *, style: str | Sequence[str]
) -> None:
    """Write a page.

    Args:
        path: The HTML file.
        title: Its heading, plain text.
        subtitle: One line below, plain text.
        content: HTML.
        style: A style sheet of this package, or several, which are added to what pages share.
    """
    sheets = [style] if isinstance(style, str) else style
    page = Template(_resource("page.html")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        style="".join(map(_resource, sheets)),
        content=content,
    )
    atomic_write(path, page.encode(errors="replace"))


def data_url(picture: bytes, kind: str) -> str:
    """Return the address of a picture of a kind, such as ``webp``, that lies inside the page."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def _resource(name: str) -> str:
    return files("vidssl_cli").joinpath(name).read_text(encoding="utf-8")
