"""The one place that imports FAISS, and what comes before it.

A build for GPUs brings CUDA libraries of its own, by its wheel or as packages, and torch brings
others. The loader of the system keeps one library of a name, such as ``libcublas.so.12``, for the
whole process: the one that was loaded first. So torch comes first. Of one CUDA version both then
use torch's, which is the newer one, and these libraries serve programs that were built for an older
one of the same major version, not the reverse. Of two (FAISS for CUDA 12, torch for 13) the names
differ, both are loaded, and each finds its own, since NVIDIA's symbols carry the name of their
library. What is loaded in the end, `vidssl doctor` says.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

_LIBRARY = re.compile(
    r"(lib(?:cudart|cublas|cublasLt|cudnn|curand|cusparse|cusolver|nccl|nvJitLink|nvrtc|cuvs|raft))"
    r"(?:-[0-9a-f]{8})?(\.so\.\d+)[\d.]*"
)
"""A file of a CUDA library; tools that make wheels put a digest into its name."""


def packages() -> list[str]:
    """Return the installed distributions that bring FAISS."""
    names = {dist.name.lower() for dist in distributions() if dist.name}
    return sorted(name for name in names if re.fullmatch(r"faiss-(cpu|gpu.*)", name))


def import_faiss() -> Any:
    """Import FAISS.

    Raises:
        Exception: It is not installed; or it is broken, and raises anything.
    """
    if any(name != "faiss-cpu" for name in packages()):
        importlib.import_module("torch")
    return importlib.import_module("faiss")


def cuda_libraries(maps: Path = Path("/proc/self/maps")) -> Mapping[str, list[str]]:
    """Return the CUDA libraries of this process by name, such as libcublas.so.12: their files.

    Two files of one name are two copies that do not know of each other.

    Args:
        maps: What the system says is loaded; nothing where it does not say.
    """
    found: dict[str, set[str]] = {}
    try:
        lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        path = line[start:] if (start := line.find("/")) >= 0 else ""
        if match := _LIBRARY.fullmatch(path.rpartition("/")[2]):
            found.setdefault(match[1] + match[2], set()).add(path)
    return {name: sorted(files) for name, files in sorted(found.items())}
