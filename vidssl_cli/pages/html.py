"""Pages: one HTML file each, which loads nothing and runs nothing; a content policy forbids both.

Jinja2 templates hold the markup and escape every value that is not `Markup`. Characters that act
are made visible in the whole page, whatever they come from.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vidssl_cli.base.escaping import visible
from vidssl_cli.files.atomic import atomic_write


def write_page(path: Path, template: str, **values: object) -> None:
    """Write a page.

    Args:
        path: The HTML file.
        template: A file of ``templates``, based on ``page.html``.
        values: What the template shows: ``title``, ``subtitle`` and its own; text is escaped.
    """
    write_markup(path, templates().get_template(template).render(values))


def write_markup(path: Path, markup: str) -> None:
    """Write HTML or SVG, with characters that act made visible."""
    atomic_write(path, visible(markup, keep="\n\t").encode())


@cache
def templates(package: str = "vidssl_cli.pages") -> Environment:
    """Return what renders the ``templates`` of a package.

    It escapes values, and refuses names without a value.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric"] = numeric
    return environment


def data_url(picture: bytes, kind: str) -> str:
    """Return the address of a picture of a kind, such as ``webp``, that lies inside the page."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def numeric(rows: Sequence[Sequence[object]], width: int) -> list[bool]:
    """Tell which columns of a table hold only numbers and empty cells."""
    return [all(_is_number(row[place]) for row in rows) for place in range(width)]


def _is_number(cell: object) -> bool:
    if cell in (None, "", "–"):
        return True
    try:
        float(str(cell).partition(" ± ")[0])
    except ValueError:
        return False
    return True
