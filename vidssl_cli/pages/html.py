"""Pages to look at: one self-contained HTML file each, which loads nothing and runs nothing.

A content policy forbids both. Text must be escaped by whoever writes it; titles are escaped here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from vidssl_cli.base.escaping import escape
from vidssl_cli.files.atomic import atomic_write


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


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], marks: Sequence[str] = ()
) -> str:
    """Return a table as HTML; columns whose cells are numbers, or dashes, are aligned right.

    Args:
        columns: Headings.
        rows: Cells; None is a dash.
        marks: Class of each row.
    """
    texts = [["–" if cell is None else str(cell) for cell in row] for row in rows]
    right = [all(_is_number(row[place]) for row in texts) for place in range(len(columns))]

    def cell(tag: str, text: str, place: int) -> str:
        name = ' class="number"' if right[place] else ""
        return f"<{tag}{name}>{escape(text)}</{tag}>"

    head = "".join(cell("th", text, place) for place, text in enumerate(columns))
    body = []
    for number, row in enumerate(texts):
        name = f' class="{marks[number]}"' if marks and marks[number] else ""
        inside = "".join(cell("td", text, place) for place, text in enumerate(row))
        body.append(f"<tr{name}>{inside}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _is_number(text: str) -> bool:
    try:
        float(text.partition(" ± ")[0])
    except ValueError:
        return text in ("–", "")
    return True


def details(title: str, content: str) -> str:
    """Return content (HTML) that is folded away below a title (plain text)."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _resource(name: str) -> str:
    return files("vidssl_cli.pages").joinpath("templates", name).read_text(encoding="utf-8")
