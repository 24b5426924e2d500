"""Spatio-temporal statistics in words, for whoever wants to see what a clip is labelled with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_plugins.pretexts.statistics import labels
from vidssl_plugins.pretexts.statistics_appearance import OCTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vidssl_cli.contract.clips import Batch
    from vidssl_plugins.pretexts.options.statistics import Statistics


def words(options: Statistics, batch: Batch) -> dict[str, list[str]]:
    """Return, by signal and pattern, words for each of the B V clips."""
    said: dict[str, list[str]] = {}
    signals = [("motion", options.motion, _motion), ("appearance", options.appearance, _appearance)]
    for signal, weight, spell_out in signals:
        for numbers in labels(signal, batch, options).int().tolist() if weight else []:
            for pattern, text in spell_out(options, numbers):
                said.setdefault(f"{signal}, {pattern}", []).append(text)
    return said


def _motion(options: Statistics, numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield pattern and words for the motion labels of a clip."""
    for place, pattern in enumerate(options.patterns):
        u, towards_u, v, towards_v = numbers[4 * place : 4 * place + 4]
        both = _boundary("horizontal", u, towards_u), _boundary("vertical", v, towards_v)
        yield f"pattern {pattern}", "; ".join(both)
    if options.whole:
        u, v = numbers[-2:]
        yield "whole", f"horizontal {_field(u)}; vertical {_field(v)}"


def _boundary(flow: str, block: int, direction: int) -> str:
    if not block:
        return f"{flow} nowhere"
    return f"{flow} in block {block}, {45 * direction - 45}–{45 * direction}°"


def _field(number: int) -> str:
    return f"at field {number}" if number else "never"


def _appearance(options: Statistics, numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield pattern and words for the appearance labels of a clip."""
    for place, pattern in enumerate(options.patterns):
        most, its_colour, least, other = numbers[4 * place : 4 * place + 4]
        yield (
            f"pattern {pattern}",
            f"changes most in block {most}, {OCTANTS[its_colour - 1]}; "
            f"least in block {least}, {OCTANTS[other - 1]}",
        )
    if options.whole:
        yield "whole", f"mostly {OCTANTS[numbers[-1] - 1]}"
