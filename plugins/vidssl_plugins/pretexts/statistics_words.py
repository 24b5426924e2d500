"""Spatio-temporal statistics in words, for pages that show what a clip is labelled with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_plugins.pretexts.statistics_appearance import OCTANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vidssl_cli.contract.clips import Batch
    from vidssl_plugins.pretexts.statistics import Targets


def words(targets: Targets, batch: Batch) -> dict[str, list[str]]:
    """Return, by signal and pattern, words for each of the B V clips."""
    found: dict[str, list[str]] = {}
    for signal in targets.signals:
        spell_out = _motion if signal == "motion" else _appearance
        for numbers in targets.labels(signal, batch).int().tolist():
            for pattern, text in spell_out(targets, numbers):
                found.setdefault(f"{signal}, {pattern}", []).append(text)
    return found


def _motion(targets: Targets, numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield pattern and words for the motion labels of a clip."""
    for place, pattern in enumerate(targets.patterns):
        u, towards_u, v, towards_v = numbers[4 * place : 4 * place + 4]
        both = _boundary("horizontal", u, towards_u), _boundary("vertical", v, towards_v)
        yield f"pattern {pattern}", "; ".join(both)
    if targets.whole:
        u, v = numbers[-2:]
        yield "whole", f"horizontal {_field(u)}; vertical {_field(v)}"


def _boundary(flow: str, block: int, direction: int) -> str:
    if not block:
        return f"{flow} nowhere"
    return f"{flow} in block {block}, {45 * direction - 45}–{45 * direction}°"


def _field(number: int) -> str:
    return f"at field {number}" if number else "never"


def _appearance(targets: Targets, numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield pattern and words for the appearance labels of a clip."""
    for place, pattern in enumerate(targets.patterns):
        most, its_colour, least, other = numbers[4 * place : 4 * place + 4]
        yield (
            f"pattern {pattern}",
            f"changes most in block {most}, {OCTANTS[its_colour - 1]}; "
            f"least in block {least}, {OCTANTS[other - 1]}",
        )
    if targets.whole:
        yield "whole", f"mostly {OCTANTS[numbers[-1] - 1]}"
