"""Engines that propose neighbours by inner product: FAISS where it is installed, else torch.

Letters: N gallery vectors, Q queries, K neighbours, D features. Vectors have length 1.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import VidsslError
from vidssl_cli.contract.metrics import scale, unit
from vidssl_cli.search.faiss_library import import_faiss

Ids = NDArray[np.int64]
Engine = Callable[[NDArray[np.floating[Any]], int], Ids]
"""(queries (Q, D), K) to the candidates (Q, K), in any order, -1 where there are fewer. An index's
takes queries as the network gave them; what is below `scaled` takes single precision and length
1."""

INSTALL = "install it by `pip install 'vidssl[cpu]'`, or 'vidssl[gpu]' for a GPU, never both"

_SIMILARITIES_AT_ONCE = 1 << 26


@functools.cache
def load_faiss() -> Any | None:
    """Import FAISS, or return None where it is not installed or broken."""
    try:
        return import_faiss()
    except ModuleNotFoundError:
        return None
    except Exception as error:  # faiss-gpu without its CUDA libraries raises RuntimeError
        warn(f"FAISS is installed but cannot be loaded ({error}); see `vidssl doctor`")
        return None


def require_faiss(factory: str) -> Any:
    """Return FAISS.

    Raises:
        VidsslError: It is not installed.
    """
    faiss = load_faiss()
    if faiss is None:
        raise VidsslError(f"{factory} indexes need FAISS, which cannot be imported", hint=INSTALL)
    return faiss


def faiss_reason(error: Exception) -> str:
    """Return why FAISS failed, without the place in its source."""
    if isinstance(error, MemoryError) or "C++ exception" in str(error):
        return "it would need more memory than there is"
    words = str(error).splitlines()[0]
    return re.sub(r"^Error in .* at \S+:\d+: (Error: '.*' failed: )?", "", words)


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
