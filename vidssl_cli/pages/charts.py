"""Charts of a report's figures, each one SVG element that needs nothing else.

A chart is as wide as what it lies in, up to a limit, and follows the reader's light or dark
setting. It is a file of its own or part of a page. Colours are those of Okabe and Ito (2008,
https://jfly.uni-koeln.de/color/), which all kinds of colour vision tell apart, a little lighter on
a dark ground.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from textwrap import wrap

from markupsafe import Markup

from vidssl_cli.base.escaping import visible
from vidssl_cli.contract.reports import Confusion, Curves
from vidssl_cli.pages.axes import FEW, horizontal_axis, vertical_axis
from vidssl_cli.pages.html import templates, write_markup
from vidssl_cli.pages.svg import element

WIDTH, HEIGHT = 480, 300
"""Units of a chart. Text has 13 of them, and so can be read where 480 shrink to 360 pixels."""
COLOURS = 6
"""Lines that colour alone tells apart; the next ones are dashed."""

_DASHES = (None, "6 4", "2 3", "9 3 2 3")
_BAR = 18
"""Units from one bar to the next."""
_CHARACTER = 7.4
"""Units that a character of text takes, on average and a little more."""
_LARGEST = 1e300
"""Values from there on, infinity among them, are left out: their differences are not finite."""


def draw_all(folder: Path, figures: Iterable[object]) -> list[Path]:
    """Draw the curves and confusion matrices among figures, one file each, and return the files."""
    drawn = []
    for number, figure in enumerate(figures, 1):
        if isinstance(figure, Curves | Confusion):
            slug = re.sub(r"\W+", "-", figure.title.lower()).strip("-")[:60]
            path = folder / f"figure-{number}-{slug}.svg"
            write_markup(path, curves(figure) if isinstance(figure, Curves) else confusion(figure))
            drawn.append(path)
    return drawn


def curves(figure: Curves, width: int = WIDTH, height: int = HEIGHT) -> Markup:
    """Draw lines over common axes.

    Few values of x have a tick each, on a logarithmic axis where they span more than a factor of
    ten unevenly (k of recall@k, examples of low-shot learning). Bands are shaded behind their
    lines. Values that are not finite are left out.

    Args:
        figure: What to draw.
        width: Units of the drawing.
        height: The same, without title and legend.

    Returns:
        An ``<svg>`` element.
    """
    lines = {visible(name): _finite(points) for name, points in figure.lines.items()}
    bands = {visible(name): _edges(figure, name) for name in figure.bands}
    points = [point for line in lines.values() for point in line]
    head, top = _head(figure.title, width)
    if not points:
        nothing = element("text", "nothing was measured", class_="mute", x=0, y=top + 16)
        return _svg(figure.title, width, top + 30, [*head, nothing])
    legend, top = _legend(list(lines), width, top) if len(lines) > 1 else ([], top)
    first, last = top + 28, top + height - 40
    edges = [point for band in bands.values() for point in band]
    y = vertical_axis([value for _, value in points + edges], last, first)
    left = _CHARACTER * max(len(_number(tick)) for tick in y.ticks) + 8
    x = horizontal_axis([value for value, _ in points], left, width - 14)
    parts = [*head, *legend, element("text", visible(figure.y), class_="mute", x=0, y=top + 14)]
    for tick in y.ticks:
        parts.append(element("path", class_="rule", d=f"M{left:.1f} {y.at(tick):.1f}H{x.end:.1f}"))
        parts.append(_label(_number(tick), left - 6, y.at(tick) + 4, "end"))
    parts += [_label(_number(tick), x.at(tick), last + 18) for tick in x.ticks]
    parts.append(_label(visible(figure.x), (left + x.end) / 2, last + 36))
    longest = max(map(len, lines.values()))
    for number, (name, line) in enumerate(lines.items()):
        places = [(x.at(a), y.at(b)) for a, b in line]
        parts += _band([(x.at(a), y.at(b)) for a, b in bands.get(name, ())], number)
        parts += _line(places, number)
        if longest <= FEW or len(line) == 1:
            said = [f"{name}: {_number(a)}, {_number(b)}" for a, b in line]
            parts += map(_dot, places, said, [number] * len(line))
    return _svg(figure.title, width, top + height, parts)


def confusion(figure: Confusion) -> Markup:
    """Draw which class was taken for which: rows are the classes, columns the predictions.

    The stronger a cell's colour, the larger its share of the row; right predictions have a colour
    of their own. With up to `FEW` classes, cells hold their shares in percent.

    Returns:
        An ``<svg>`` element.
    """
    count = len(figure.classes)
    cell = 34.0 if count <= FEW else max(9.0, 420 / count)
    size = min(13.0, 0.9 * cell)
    names = [_shorten(visible(name)) for name in figure.classes]
    longest = max(map(len, names), default=0) * _CHARACTER * size / 13 + 8
    width = max(WIDTH, ceil(longest + count * cell + longest / 2 + 4))
    head, top = _head(figure.title, width)
    said = "rows: the class; columns: what it was taken for"
    parts = [*head, element("text", said, class_="mute", x=0, y=top + 14)]
    for number, word in enumerate(("right", "wrong")):  # the legend of the colours
        right = width - 48 * (1 - number)
        parts.append(
            element(
                "text",
                word,
                class_="mute",
                x=right,
                y=top + 14,
                text_anchor="end",
                style=f"fill:var(--c{number})",
            )
        )
    turn, first = (50, top + 34 + longest * 0.77) if count <= FEW else (90, top + 34 + longest)
    style = {"class_": "mute", "style": f"font-size:{size:.1f}px"}
    for number, name in enumerate(names):
        middle = (number + 0.5) * cell + size / 3
        parts.append(
            element("text", name, **style, text_anchor="end", x=longest - 6, y=first + middle)
        )
        place = f"translate({longest + middle:.1f} {first - 6:.1f}) rotate({-turn})"
        parts.append(element("text", name, **style, transform=place))
    for row, counts in enumerate(figure.counts):
        parts += _confusion_row(figure, row, counts, (longest, first), cell)
    side = count * cell
    parts.append(element("rect", class_="rule", x=longest, y=first, width=side, height=side))
    return _svg(figure.title, width, ceil(first + side + 4), parts)


def bars(title: str, values: Mapping[str, float], width: int = WIDTH) -> Markup:
    """Draw a bar for each value by its name, in the order given; those below 0 to the left of it.

    Returns:
        An ``<svg>`` element.
    """
    names = {name: _shorten(visible(name)) for name in values}
    left = _CHARACTER * max(map(len, names.values()), default=0) + 8
    right = width - 7 * _CHARACTER
    low, high = min([0.0, *values.values()]), max([0.0, *values.values()])
    scale = (right - left) / ((high - low) or 1)
    zero = left - low * scale
    parts, top = _head(title, width)
    end = top + 8 + _BAR * len(values)
    parts.append(element("path", class_="rule", d=f"M{zero:.1f} {top + 8:.1f}V{end:.1f}"))
    for number, (name, value) in enumerate(values.items()):
        y = top + 8 + _BAR * number
        said, colour = f"{visible(name)}: {_signed(value)}", f"var(--c{int(value < 0)})"
        parts.append(element("text", names[name], text_anchor="end", x=left - 6, y=y + 13))
        parts.append(
            element(
                "rect", element("title", said), x=f"{zero + min(0.0, value) * scale:.1f}", y=y + 2,
                width=f"{abs(value) * scale:.1f}", height=_BAR - 4, fill=colour,
            )
        )  # fmt: skip
        parts.append(_label(_signed(value), width - 2, y + 13, "end"))
    return _svg(title, width, end + 6, parts)


def _confusion_row(
    figure: Confusion, row: int, counts: Sequence[int], origin: tuple[float, float], cell: float
) -> Iterator[Markup]:
    total = sum(counts)
    for column, found in enumerate(counts):
        if not found:
            continue
        share = found / total
        x, y = origin[0] + column * cell, origin[1] + row * cell
        said = f"{figure.classes[row]} taken for {figure.classes[column]}: {found} of {total}"
        yield element(
            "rect", element("title", said), x=x + 0.5, y=y + 0.5, width=cell - 1, height=cell - 1,
            fill=f"var(--c{int(row != column)})", fill_opacity=f"{0.08 + 0.92 * share:.2f}",
        )  # fmt: skip
        if len(figure.classes) <= FEW:
            yield element(
                "text", f"{100 * share:.0f}", class_="on" if share > 0.5 else None,
                pointer_events="none", text_anchor="middle", x=x + cell / 2, y=y + cell / 2 + 4.5,
            )  # fmt: skip


def _finite(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if abs(x) < _LARGEST and abs(y) < _LARGEST]


def _edges(figure: Curves, name: str) -> list[tuple[float, float]]:
    """Return the outline of a band: its lower edge, and its upper one backwards."""
    points, band = figure.lines[name], figure.bands[name]
    both = [
        _finite([(x, low), (x, high)])
        for (x, y), (low, high) in zip(points, band, strict=True)
        if _finite([(x, y)])
    ]
    whole = [edges for edges in both if len(edges) == 2]
    return [low for low, _ in whole] + [high for _, high in reversed(whole)]


def _band(outline: Sequence[tuple[float, float]], number: int) -> list[Markup]:
    """Shade an area, if it has an outline."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z"
    colour = f"var(--c{number % COLOURS})"
    return [element("path", class_="band", fill=colour, d=path)] * bool(outline)


def _line(places: Sequence[tuple[float, float]], number: int) -> list[Markup]:
    """Draw a line, if it has points; those that share a unit of the axis become their mean."""
    columns: dict[int, list[float]] = {}
    for x, y in places:
        columns.setdefault(round(2 * x), []).append(y)
    if len(columns) < len(places):
        places = [(column / 2, sum(ys) / len(ys)) for column, ys in columns.items()]
    return [_stroke("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), number)] * bool(places)


def _stroke(path: str, number: int) -> Markup:
    """Draw a path in the colour and the dashes of the line of a number."""
    colour, dashes = f"var(--c{number % COLOURS})", _DASHES[number // COLOURS % len(_DASHES)]
    return element("path", class_="line", stroke=colour, stroke_dasharray=dashes, d=path)


def _dot(place: tuple[float, float], said: str, number: int) -> Markup:
    colour = f"var(--c{number % COLOURS})"
    return element("circle", element("title", said), cx=place[0], cy=place[1], r=3.5, fill=colour)


def _legend(names: Sequence[str], width: int, top: float) -> tuple[list[Markup], float]:
    """Return a sample of each line with its name, and where the drawing goes on below."""
    parts, x, y = [], 0.0, top + 16
    for number, name in enumerate(names):
        shown = wrap(name, int((width - 42) / _CHARACTER)) or [""]
        needed = 28 + _CHARACTER * max(map(len, shown)) + 14
        if x and x + needed > width:
            x, y = 0.0, y + 20
        parts.append(_stroke(f"M{x + 1:.1f} {y - 4:.1f}h20", number))
        for text in shown[:-1]:
            parts.append(element("text", text, x=x + 28, y=y))
            y += 16
        parts.append(element("text", shown[-1], x=x + 28, y=y))
        x += needed if len(shown) == 1 else width
    return parts, y + 10


def _head(title: str, width: int) -> tuple[list[Markup], float]:
    """Return the title in lines, and where the drawing goes on below."""
    lines = wrap(visible(title, keep="\n"), int(width / (_CHARACTER + 0.8)))
    parts = [
        element("text", line, class_="head", x=0, y=18 + 19 * number)
        for number, line in enumerate(lines)
    ]
    return parts, 6 + 19.0 * len(lines)


def _label(text: str, x: float, y: float, anchor: str = "middle") -> Markup:
    return element("text", text, class_="mute", x=x, y=y, text_anchor=anchor)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if abs(value) < 1e4 else f"{value:,.0f}"


def _signed(value: float) -> str:
    rounded = round(value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"


def _shorten(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _svg(title: str, width: float, height: float, parts: Iterable[Markup]) -> Markup:
    style = element("style", Markup(templates().get_template("chart.css").render()))
    return element(
        "svg", Markup("\n").join([Markup(""), style, *parts, Markup("")]),
        xmlns="http://www.w3.org/2000/svg", class_="chart", viewBox=f"0 0 {width} {height:.0f}",
        style=f"max-width:{1.5 * width:.0f}px", role="img", aria_label=title,
    )  # fmt: skip
