"""Engines that propose neighbours by a FAISS index, on the CPU or on a GPU.

Letters: N gallery vectors, Q queries, K neighbours, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.search.columns import Column
from vidssl_cli.search.engines import (
    Engine,
    Ids,
    faiss_reason,
    has_gpu,
    load_faiss,
    require_faiss,
)
from vidssl_cli.search.exact import exact_engine

_GPU_NEIGHBOURS = 2048
"""Most neighbours that FAISS finds on a GPU."""
_PROBES = 16
"""Lists of an inverted file that are searched at least,"""
_SHARE = 16
"""or one of so many, if it was not measured how many should be."""


def write_faiss(index: Any, path: Path) -> None:
    """Write a FAISS index to a file."""
    require_faiss("").write_index(index, str(path))


def read_faiss(path: Path, *, mapped: bool) -> Any:
    """Read a FAISS index.

    Args:
        path: The file.
        mapped: Leave codes and inverted lists in the file, to be read when they are searched;
            nothing can be added then.

    Raises:
        VidsslError: FAISS is not installed.
        DamagedFileError: FAISS cannot read it.
    """
    faiss = require_faiss("")
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (RuntimeError, MemoryError) as error:
        raise DamagedFileError(
            f"FAISS cannot read it: {faiss_reason(error)}", where=str(path)
        ) from None


def faiss_engine(index: Any, device: str = "cpu") -> Engine:
    """Search a FAISS index; on the GPU if ``device`` is one and FAISS and the index support it."""
    faiss = load_faiss()
    assert faiss is not None
    if isinstance(index, faiss.IndexScalarQuantizer) and (
        index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
    ):
        return _half_engine(index)
    _set_effort(faiss, index)
    on_gpu: tuple[Any, Any] | None = None  # the copy, and the memory that must live as long
    if device.startswith("cuda") and has_gpu(faiss):
        try:
            resources, number = faiss.StandardGpuResources(), int(device.partition(":")[2] or 0)
            options = faiss.GpuClonerOptions()
            options.useFloat16LookupTables = True  # else 64 bytes of PQ do not fit
            on_gpu = faiss.index_cpu_to_gpu(resources, number, index, options), resources
        except RuntimeError as error:  # HNSW, for one, has no GPU form
            warn(f"this index is searched on the CPU: {str(error).splitlines()[0]}")

    def search(queries: NDArray[np.float32], k: int) -> Ids:
        chosen = on_gpu[0] if on_gpu and k <= _GPU_NEIGHBOURS else index
        ids: Ids = chosen.search(np.ascontiguousarray(queries), k)[1]
        return ids

    return search


def foreign_engine(path: Path, size: int, dimension: int, device: str = "cpu") -> Engine:
    """Search by a FAISS index that vidssl did not write, after a warning.

    Args:
        path: The file.
        size: N, how many vectors it should hold, by their numbers.
        dimension: D.
        device: As for `faiss_engine`.

    Raises:
        VidsslError: FAISS is not installed.
        DamagedFileError: FAISS cannot read it, or it holds something else.
    """
    require_faiss("foreign")
    warn(
        f"{path} is read as it is: FAISS checks little of what it reads, and a crafted file can do "
        "harm; use it only if you trust where it is from"
    )
    index = read_faiss(path, mapped=False)
    hint = "build it over the vectors of this index: docs/retrieval.md"
    if (index.ntotal, index.d) != (size, dimension):
        raise DamagedFileError(
            f"it holds {index.ntotal} vectors of {index.d} dimensions, not {size} of {dimension}",
            where=str(path), hint=hint,
        )  # fmt: skip
    engine = faiss_engine(index, device)

    def search(queries: NDArray[np.float32], k: int) -> Ids:
        ids = engine(queries, k)
        if ids.max(initial=-1) >= size:
            raise DamagedFileError(
                f"it returns the number {ids.max()}, but there are {size} vectors",
                where=str(path), hint=hint,
            )  # fmt: skip
        return ids

    return search


def _half_engine(index: Any) -> Engine:
    """Search a FAISS index of numbers in half precision where they are."""
    faiss = load_faiss()
    assert faiss is not None
    codes = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    halves = Column([codes.view(np.float16).reshape(index.ntotal, index.d)])
    unscaled = np.stack([np.zeros(index.d), np.ones(index.d)])
    engine = exact_engine(halves, unscaled, np.ones(len(halves), np.float32), np.empty(0, np.int64))

    def search(queries: NDArray[np.floating[Any]], k: int) -> Ids:
        return engine(queries, min(k, index.ntotal))  # whose memory must live as long

    return search


def _set_effort(faiss: Any, index: Any) -> None:
    """Set how much of an approximate index is searched: enough for nearly all true neighbours."""
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None and inverted.nprobe == 1:  # new, or of an earlier version
        inverted.nprobe = min(inverted.nlist, max(_PROBES, inverted.nlist // _SHARE))
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = 128
