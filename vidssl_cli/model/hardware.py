"""What the processor can do, without importing torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def cpu_flags() -> frozenset[str]:
    """Return the processor's feature flags; empty where the system does not list them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def cpu_computes_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware, so that autocast pays."""
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})


def cpu_multiplies_bf16_matrices() -> bool:
    """Whether the processor has AMX, with which bf16 always pays."""
    return "amx_bf16" in cpu_flags()
