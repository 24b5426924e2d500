"""The built-in decoders, beside PyAV, which needs no plugin."""

from __future__ import annotations

from vidssl_cli.contract.hooks import DecoderOptions, hookimpl
from vidssl_plugins.decoders.options.nvdec import Nvdec


@hookimpl
def vidssl_decoders() -> list[type[DecoderOptions]]:
    """Offer the built-in decoders."""
    return [Nvdec]
