"""Engines that propose neighbours by inner product: FAISS where it is installed, else torch.

Letters: N gallery vectors, Q queries, K neighbours, D features. Vectors have length 1.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.contract.metrics import scale, unit

Ids = NDArray[np.int64]
Engine = Callable[[NDArray[np.floating[Any]], int], Ids]
"""(queries (Q, D), K) to the candidates (Q, K), in any order, -1 where there are fewer. An index's
takes queries as the network gave them; what is below `scaled` takes single precision and length
1."""

EXACT = "Flat"
LONGEST = 500
"""Characters of a factory string; some thousands crash FAISS's parser, and the process."""
INSTALL = "install it by `pip install 'vidssl[cpu]'`, or 'vidssl[gpu]' for a GPU, never both"

_TRAINING_POINTS = 39
"""Vectors for each centroid, below which FAISS warns about k-means."""
MANY = 1_000_000
"""Vectors that are reckoned with where their number is not known yet."""
_SIMILARITIES_AT_ONCE = 1 << 26
_GPU_NEIGHBOURS = 2048
"""Most neighbours that FAISS finds on a GPU."""


@functools.cache
def load_faiss() -> Any | None:
    """Import FAISS, or return None where it is not installed or broken."""
    try:
        import faiss
    except ModuleNotFoundError:
        return None
    except Exception as error:  # faiss-gpu without its CUDA libraries raises RuntimeError
        warn(f"FAISS is installed but cannot be loaded ({error}); see `vidssl doctor`")
        return None
    return faiss


def expand_factory(factory: str, size: int, dimension: int) -> str:
    """Turn the short names HNSW, IVF, SQ and PQ into FAISS factory strings; leave others alone.

    Args:
        factory: A short name, or any FAISS factory string, such as ``IVF1024,SQ8``.
        size: N, from which ``IVF`` takes its number of lists, about 4 √N.
        dimension: D, which the number of PQ's parts must divide.
    """
    lists = max(1, min(round(4 * sqrt(size)), size // _TRAINING_POINTS))
    parts = max(m for m in range(1, min(64, max(1, dimension // 4)) + 1) if dimension % m == 0)
    short = {"HNSW": "HNSW32", "IVF": f"IVF{lists},Flat", "SQ": "SQ8", "PQ": f"PQ{parts}"}
    return short.get(factory, factory)


def write_faiss(index: Any, path: Path) -> None:
    """Write a FAISS index to a file."""
    require_faiss("").write_index(index, str(path))


def build_faiss(vectors: NDArray[np.float32], factory: str) -> Any:
    """Build a FAISS index of inner products over vectors (N, D).

    Raises:
        UsageError: There is no such factory, or there are too few vectors to train it.
        VidsslError: FAISS is not installed.
    """
    faiss = require_faiss(factory)
    size, dimension = vectors.shape
    full = expand_factory(factory, size, dimension)
    lists = _lists(full)
    if size < _TRAINING_POINTS * lists:
        warn(
            f"{full}: {size} vectors are few to train {lists} lists; "
            f"have {_TRAINING_POINTS * lists}, or let --factory IVF choose their number"
        )
    try:
        index = _empty(faiss, full, dimension, size)
        _prepare(faiss, index)
        index.train(vectors)
        index.add(vectors)
    except (RuntimeError, MemoryError) as error:
        raise _unfit(full, size, dimension, error) from None
    return index


def check_factory(factory: str, dimension: int, size: int | None = None) -> None:
    """Refuse a factory string before vectors are computed, by making an empty index of it.

    Args:
        factory: As for `expand_factory`.
        dimension: D.
        size: N, or None if it is not known yet.

    Raises:
        UsageError: `build_faiss` would refuse it.
        VidsslError: FAISS is not installed.
    """
    if factory == EXACT:
        return
    faiss = require_faiss(factory)
    count = MANY if size is None else size
    full = expand_factory(factory, count, dimension)
    if size is None and _lists(full) > MANY:  # empty lists take memory too
        return
    try:
        needed = _training_vectors(faiss, _empty(faiss, full, dimension, count))
        if needed > count:
            raise RuntimeError(f"its training needs {needed} vectors")
    except (RuntimeError, MemoryError) as error:
        raise _unfit(full, size, dimension, error) from None


def _training_vectors(faiss: Any, owner: Any) -> int:
    """Return how many vectors an index needs at least to be trained."""
    index = faiss.downcast_index(owner)  # lives no longer than what it was made of
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise RuntimeError("vidssl numbers vectors itself, without IDMap")
    trains_alone = getattr(index, "quantizer_trains_alone", 0) == 1
    needed = [0 if trains_alone else getattr(index, "nlist", 0)]
    needed += [index.pq.ksub] if hasattr(index, "pq") else []
    needed += [_axes(faiss, index.chain.at(place)) for place in range(_transforms(index))]
    parts = (getattr(index, name, None) for name in ("index", "base_index", "storage", "quantizer"))
    return max(needed + [_training_vectors(faiss, part) for part in parts if part is not None])


def _transforms(index: Any) -> int:
    return index.chain.size() if hasattr(index, "chain") else 0


def _axes(faiss: Any, transform: Any) -> int:
    """Return how many principal axes a transform finds, which takes as many vectors."""
    found = faiss.downcast_VectorTransform(transform)
    if not isinstance(found, faiss.PCAMatrix):
        return 0
    if found.d_out > found.d_in:
        raise RuntimeError(f"PCA cannot make {found.d_out} dimensions of {found.d_in}")
    return int(found.d_out)


def _empty(faiss: Any, full: str, dimension: int, size: int) -> Any:
    """Make an index of nothing, for so many vectors."""
    if len(full) > LONGEST:
        raise UsageError(f"--factory has more than {LONGEST} letters", where="--factory")
    if "IVF" in full and not 1 <= _lists(full) <= size:
        raise RuntimeError(f"{_lists(full)} lists do not suit so many vectors")
    if not full or any(int(links) < 2 for links in re.findall(r"HNSW(\d+)", full)):
        raise RuntimeError("HNSW needs at least 2 links a vector" if full else "it is empty")
    return faiss.index_factory(dimension, full, faiss.METRIC_INNER_PRODUCT)


def _lists(full: str) -> int:
    """Return how many lists an inverted file has, 0 for other indexes."""
    lists = re.search(r"IVF(\d+)", full)
    return int(lists[1]) if lists else 0


def _unfit(full: str, size: int | None, dimension: int, error: Exception) -> UsageError:
    """Return the error for an index that cannot be built."""
    reason = re.sub(r"^Error in .* at \S+:\d+: (Error: '.*' failed: )?", "", str(error))
    return UsageError(
        f"FAISS cannot build {full} over {'' if size is None else f'{size} '}vectors of "
        f"{dimension} dimensions: {reason}",
        where="--factory",
        hint="use Flat, which is exact and as fast below 100,000 vectors",
    )


def require_faiss(factory: str) -> Any:
    """Return FAISS.

    Raises:
        VidsslError: It is not installed.
    """
    faiss = load_faiss()
    if faiss is None:
        raise VidsslError(f"{factory} indexes need FAISS, which cannot be imported", hint=INSTALL)
    return faiss


def unit_vectors(
    features: NDArray[np.floating[Any]], scaling: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale features (…, D) by (2, D) of `metrics.scaling`, then to length 1; zeros stay."""
    return unit(scale(features, scaling))


def scaled(engine: Engine, scaling: NDArray[np.float64]) -> Engine:
    """Return an engine that takes queries as the network gave them; see `Statistics.scaling`."""

    def search(queries: NDArray[np.floating[Any]], k: int) -> Ids:
        return engine(unit_vectors(queries, scaling).astype(np.float32), k)

    return search


def faiss_engine(index: Any, device: str = "cpu") -> Engine:
    """Search a FAISS index; on the GPU if ``device`` is one and FAISS and the index support it."""
    faiss = load_faiss()
    assert faiss is not None
    _set_effort(faiss, index)
    on_gpu: tuple[Any, Any] | None = None  # the copy, and the memory that must live as long
    if device.startswith("cuda") and has_gpu(faiss):
        try:
            resources, number = faiss.StandardGpuResources(), int(device.partition(":")[2] or 0)
            on_gpu = faiss.index_cpu_to_gpu(resources, number, index), resources
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
    faiss = require_faiss("foreign")
    warn(
        f"{path} is read as it is: FAISS checks little of what it reads, and a crafted file can do "
        "harm; use it only if you trust where it is from"
    )
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedFileError(f"FAISS cannot read it: {reason}", where=str(path)) from None
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


def has_gpu(faiss: Any) -> bool:
    """Tell whether this FAISS can search on a GPU of this machine."""
    return bool(getattr(faiss, "get_num_gpus", int)())


def torch_engine(vectors: NDArray[np.float32], device: str = "cpu") -> Engine:
    """Search vectors (N, D) exactly by matrix products."""
    import torch

    gallery = torch.from_numpy(vectors).to(device)

    def search(queries: NDArray[np.float32], k: int) -> Ids:
        at_once = max(1, _SIMILARITIES_AT_ONCE // len(gallery))
        ids = [
            (part.to(device) @ gallery.T).topk(k).indices.cpu()
            for part in torch.split(torch.from_numpy(queries), at_once)
        ]
        found: Ids = torch.cat(ids).numpy()
        return found

    return search


def _prepare(faiss: Any, index: Any) -> None:
    """Train only what is used, and without the warnings that `build_faiss` gives itself."""
    index = faiss.downcast_index(index)
    if hasattr(index, "do_polysemous_training"):
        index.do_polysemous_training = False  # takes minutes, for a search that is not used
    for trained in (index, getattr(index, "pq", index)):
        if hasattr(trained, "cp"):
            trained.cp.min_points_per_centroid = 1


def _set_effort(faiss: Any, index: Any) -> None:
    """Set how much of an approximate index is searched: enough for nearly all true neighbours."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = min(index.nlist, max(16, index.nlist // 16))
    elif isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = 128
