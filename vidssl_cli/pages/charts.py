"""Drawings of a report's figures, each one SVG element that needs nothing else.

A drawing is as wide as the place it is put in and follows the reader's light or dark setting. It
is a file of its own, or part of a page. Text is escaped. Colours are those of Okabe and Ito (2008,
https://jfly.uni-koeln.de/color/), which all kinds of colour vision tell apart, a little lighter on
dark ground.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from pathlib import Path
from textwrap import wrap

from vidssl_cli.base.escaping import escape
from vidssl_cli.contract.reports import Confusion, Curves
from vidssl_cli.files.atomic import atomic_write

WIDTH, HEIGHT = 480, 300
"""Units of a drawing. Text has 13 of them, and so is still read where 480 shrink to 360 pixels."""
COLOURS = 6
"""Lines that colour alone tells apart; the next ones are dashed."""

_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#c0609a", "#c98600", "#2f9ad8")
_DARK = ("#56a8e0", "#f4803a", "#2fc79c", "#e39bc4", "#f0b840", "#8fd0f5")
_DASHES = ("", "6 4", "2 3", "9 3 2 3")
_CHARACTER = 7.4
"""Units that a character of text takes, on average and a little more."""
_FEW = 12
"""Values along an axis that are each worth a mark."""
_DRAWN = 1e300
"""Figures from there on, infinity among them, are left out: their differences are not finite."""
_GAP = 26
"""Units between the numbers along the horizontal axis, at least."""


def colour_style(selector: str) -> str:
    """Return rules that declare ``--c0`` to ``--c5``, the colours of lines, for a selector."""

    def declare(colours: Sequence[str]) -> str:
        return "".join(f"--c{number}:{colour};" for number, colour in enumerate(colours))

    dark = f"@media (prefers-color-scheme:dark){{{selector}{{{declare(_DARK)}}}}}"
    return f"{selector}{{{declare(_LIGHT)}}}{dark}"


_STYLE = f"""<style>
{colour_style(".chart")}
.chart{{--text:#1c1c1e;--mute:#6b6b72;--rule:#dddbd5;--ground:#fff;
display:block;width:100%;font:13px system-ui,-apple-system,"Segoe UI",Roboto,
sans-serif}}
@media (prefers-color-scheme:dark){{
.chart{{--text:#ececee;--mute:#9a9aa2;--rule:#38383e;--ground:#1b1b1e}}}}
.chart:root{{box-sizing:border-box;margin:0 auto;padding:1rem;background:var(--ground)}}
.chart text{{fill:var(--text)}}
.chart .mute{{fill:var(--mute);font-size:12px}}
.chart .head{{font-weight:600;font-size:14px}}
.chart .rule{{fill:none;stroke:var(--rule)}}
.chart .line{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}
.chart .on{{fill:var(--ground)}}
</style>"""


def draw_all(folder: Path, figures: Iterable[object]) -> list[Path]:
    """Draw the curves and confusion matrices among figures, one file each, and return the files."""
    drawn = []
    for number, figure in enumerate(figures, 1):
        if isinstance(figure, Curves | Confusion):
            slug = re.sub(r"\W+", "-", figure.title.lower()).strip("-")[:60]
            path = folder / f"figure-{number}-{slug}.svg"
            svg = curves(figure) if isinstance(figure, Curves) else confusion(figure)
            atomic_write(path, svg.encode(errors="replace"))
            drawn.append(path)
    return drawn


def curves(figure: Curves, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Draw lines over common axes.

    Few values of x are marked as they are, at equal ratios where they span more than a factor of
    ten (k of recall@k, examples of low-shot learning). Figures that are not finite are left out.

    Args:
        figure: What to draw.
        width: Units of the drawing.
        height: The same, without title and legend.

    Returns:
        An ``<svg>`` element.
    """
    lines = {name: _finite(points) for name, points in figure.lines.items()}
    points = [point for line in lines.values() for point in line]
    head, top = _head(figure.title, width)
    if not points:
        nothing = f'<text class="mute" x="0" y="{top + 16}">nothing was measured</text>'
        return _svg(figure.title, width, top + 30, [*head, nothing])
    legend, top = _legend(list(lines), width, top) if len(lines) > 1 else ([], top)
    first, last = top + 28, top + height - 40
    y = _value_axis([value for _, value in points], last, first)
    left = _CHARACTER * max(len(_number(tick)) for tick in y.ticks) + 8
    x = _x_axis([value for value, _ in points], left, width - 14)
    parts = [*head, *legend, f'<text class="mute" x="0" y="{top + 14}">{escape(figure.y)}</text>']
    for tick in y.ticks:
        parts.append(f'<path class="rule" d="M{left:.1f} {y.at(tick):.1f}H{x.end:.1f}"/>')
        parts.append(_text(_number(tick), left - 6, y.at(tick) + 4, "end"))
    parts += [_text(_number(tick), x.at(tick), last + 18) for tick in x.ticks]
    parts.append(_text(figure.x, (left + x.end) / 2, last + 36))
    for number, (name, line) in enumerate(lines.items()):
        places = [(x.at(a), y.at(b)) for a, b in line]
        parts.append(_path(places, number))
        if len(line) <= _FEW:
            said = [f"{name}: {_number(a)}, {_number(b)}" for a, b in line]
            parts += map(_dot, places, said, [number] * len(line))
    return _svg(figure.title, width, top + height, parts)


def confusion(figure: Confusion) -> str:
    """Draw which class was taken for which: rows are the classes, columns what was said.

    The stronger a cell's colour, the larger its share of the row; right answers have a colour of
    their own. Up to twelve classes are drawn with their shares in percent.

    Returns:
        An ``<svg>`` element.
    """
    count = len(figure.classes)
    cell = 34.0 if count <= _FEW else max(9.0, 420 / count)
    size = min(13.0, 0.9 * cell)
    names = [_shorten(name) for name in figure.classes]
    room = max(map(len, names), default=0) * _CHARACTER * size / 13 + 8
    width = max(WIDTH, ceil(room + count * cell + room / 2 + 4))
    head, top = _head(figure.title, width)
    parts = [
        *head,
        f'<text class="mute" x="0" y="{top + 14}">rows: the class; columns: what it was taken for'
        "</text>",
    ]
    turn, first = (50, top + 24 + room * 0.77) if count <= _FEW else (90, top + 24 + room)
    for number, name in enumerate(names):
        middle = (number + 0.5) * cell
        style = f'class="mute" style="font-size:{size:.1f}px"'
        parts.append(
            f'<text {style} text-anchor="end" x="{room - 6:.1f}" '
            f'y="{first + middle + size / 3:.1f}">{escape(name)}</text>'
        )
        parts.append(
            f'<text {style} transform="translate({room + middle + size / 3:.1f} {first - 6:.1f}) '
            f'rotate({-turn})">{escape(name)}</text>'
        )
    for row, counts in enumerate(figure.counts):
        parts += _confusion_row(figure, row, counts, (room, first), cell)
    side = count * cell
    parts.append(
        f'<rect class="rule" x="{room:.1f}" y="{first:.1f}" width="{side:.1f}" '
        f'height="{side:.1f}"/>'
    )
    return _svg(figure.title, width, ceil(first + side + 4), parts)


def _confusion_row(
    figure: Confusion, row: int, counts: Sequence[int], origin: tuple[float, float], cell: float
) -> Iterable[str]:
    total = sum(counts)
    for column, found in enumerate(counts):
        if not found:
            continue
        share = found / total
        x, y = origin[0] + column * cell, origin[1] + row * cell
        said = f"{figure.classes[row]} taken for {figure.classes[column]}"
        yield (
            f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{cell - 1:.1f}" '
            f'height="{cell - 1:.1f}" fill="var(--c{int(row != column)})" '
            f'fill-opacity="{0.08 + 0.92 * share:.2f}">'
            f"<title>{escape(said)}: {found} of {total}</title></rect>"
        )
        if len(figure.classes) <= _FEW:
            kind = ' class="on"' if share > 0.5 else ""
            yield (
                f'<text{kind} pointer-events="none" text-anchor="middle" '
                f'x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4.5:.1f}">{100 * share:.0f}</text>'
            )


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    """Units of the drawing at which ``low`` lies."""
    end: float
    ticks: Sequence[float]
    ratios: bool = False
    """Whether equal ratios are equal distances."""

    def at(self, value: float) -> float:
        """Return where a value lies, in units of the drawing."""
        low, high = self.low, self.high
        if self.ratios:
            low, high, value = log10(low), log10(high), log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def _x_axis(values: Sequence[float], start: float, end: float) -> _Axis:
    marks = sorted(set(values))
    low, high = marks[0], marks[-1]
    if _same(low, high):
        room = max(1.0, abs(low))
        return _Axis(low - room, high + room, start, end, marks[:1])
    if len(marks) <= _FEW:
        ratios = low > 0 and high / low > 10
        axis = _Axis(low, high, start, end, marks, ratios)
        if all(axis.at(b) - axis.at(a) >= _GAP for a, b in pairwise(marks)):
            return axis
    step = _step(low, high)
    ticks = [number * step for number in range(ceil(low / step), floor(high / step) + 1)]
    return _Axis(low, high, start, end, ticks)


def _value_axis(values: Sequence[float], start: float, end: float) -> _Axis:
    """Return an axis that ends at round numbers, and begins at 0 unless that is far away."""
    low, high = min(values), max(values)
    if _same(low, high):
        low, high = min(low, 0.0), max(high, 0.0) or float(low >= 0)
    elif 0 < low < high / 2:
        low = 0.0
    step = _step(low, high)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    return _Axis(ticks[0], ticks[-1], start, end, ticks)


def _same(low: float, high: float) -> bool:
    """Tell whether nothing fits between two numbers that would be worth an axis."""
    return high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-300)


def _step(low: float, high: float) -> float:
    """Return the distance of about five round numbers: 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power: float = 10.0 ** floor(log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _finite(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if abs(x) < _DRAWN and abs(y) < _DRAWN]


def _path(places: Sequence[tuple[float, float]], number: int) -> str:
    """Draw a line; points that share a unit along the axis become their mean."""
    columns: dict[int, list[float]] = {}
    for x, y in places:
        columns.setdefault(round(2 * x), []).append(y)
    if len(columns) == len(places):
        shown: Iterable[tuple[float, float]] = places
    else:
        shown = ((column / 2, sum(ys) / len(ys)) for column, ys in columns.items())
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in shown)
    return f'<path class="line" {_stroke(number)} d="M{line}"/>' if line else ""


def _dot(place: tuple[float, float], said: str, number: int) -> str:
    return (
        f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="3.5" '
        f'fill="var(--c{number % COLOURS})"><title>{escape(said)}</title></circle>'
    )


def _stroke(number: int) -> str:
    dash = _DASHES[number // COLOURS % len(_DASHES)]
    return f'stroke="var(--c{number % COLOURS})"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _legend(names: Sequence[str], width: int, top: float) -> tuple[list[str], float]:
    """Return a sample of each line with its name, and where the drawing goes on below."""
    parts, x, y = [], 0.0, top + 16
    for number, name in enumerate(names):
        needed = 28 + _CHARACTER * len(name) + 14
        if x and x + needed > width:
            x, y = 0.0, y + 20
        parts.append(f'<path class="line" {_stroke(number)} d="M{x + 1:.1f} {y - 4:.1f}h20"/>')
        parts.append(f'<text x="{x + 28:.1f}" y="{y:.1f}">{escape(name)}</text>')
        x += needed
    return parts, y + 10


def _head(title: str, width: int) -> tuple[list[str], float]:
    """Return the title in lines, and where the drawing goes on below."""
    lines = wrap(title, int(width / (_CHARACTER + 0.8)))
    parts = [
        f'<text class="head" x="0" y="{18 + 19 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return parts, 6 + 19.0 * len(lines)


def _text(text: str, x: float, y: float, anchor: str = "middle") -> str:
    return (
        f'<text class="mute" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if abs(value) < 1e4 else f"{value:,.0f}"


def _shorten(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _svg(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    size = f'viewBox="0 0 {width} {height:.0f}" style="max-width:{1.5 * width:.0f}px"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" {size} '
        f'role="img" aria-label="{escape(title)}">\n{_STYLE}\n' + "\n".join(parts) + "\n</svg>\n"
    )
