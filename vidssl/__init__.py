"""Learn from video and search it, in Python; docs/python.md shows how.

Nothing heavy is imported until something is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidssl.encoder import Embeddings, Encoder, load
    from vidssl.index import Index
    from vidssl.scanning import scan
    from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError, VidsslError
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.search.retrieve import Hit

_MODULES = {
    "DamagedFileError": "vidssl_cli.base.errors",
    "Embeddings": "vidssl.encoder",
    "Encoder": "vidssl.encoder",
    "Hit": "vidssl_cli.search.retrieve",
    "Index": "vidssl.index",
    "MediaError": "vidssl_cli.base.errors",
    "UsageError": "vidssl_cli.base.errors",
    "Video": "vidssl_cli.contract.videos",
    "VidsslError": "vidssl_cli.base.errors",
    "load": "vidssl.encoder",
    "scan": "vidssl.scanning",
}

__all__ = [
    "DamagedFileError", "Embeddings", "Encoder", "Hit", "Index", "MediaError", "UsageError",
    "Video", "VidsslError", "load", "scan",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vidssl' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
