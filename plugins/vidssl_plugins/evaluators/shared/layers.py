"""A table and curves of what several layers of a network give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vidssl_cli.contract.reports import Curves, Table
from vidssl_cli.contract.study import Layer


def by_layer(
    protocol: str,
    readings: Sequence[Layer],
    found: Mapping[str, Sequence[Mapping[str, float]]],
) -> tuple[Table, Curves]:
    """Return a table of all metrics, and curves of the leading one.

    Args:
        protocol: For the title.
        readings: The layers.
        found: By weights, the metrics of each layer, the leading one first.
    """
    names = list(next(iter(found.values()))[0])
    rows = [
        [reading.tap, reading.pool, weights]
        + [round(100 * layers[number][name], 1) for name in names]
        for number, reading in enumerate(readings)
        for weights, layers in found.items()
    ]
    table = Table("by layer, percent", ["layer", "pool", "weights", *names], rows)
    numbered = ", ".join(f"{n} {reading.tap}" for n, reading in enumerate(readings, 1))
    lines = {
        weights: [(float(n), each[names[0]]) for n, each in enumerate(layers, 1)]
        for weights, layers in found.items()
    }
    return table, Curves(f"{protocol} by layer", f"layer: {numbered}", names[0], lines)
