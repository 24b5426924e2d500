"""Options of `nvdec`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vidssl_cli.contract.hooks import DecoderOptions

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import Decoder


class Nvdec(DecoderOptions):
    """The decoder of NVIDIA's GPUs, by torchcodec."""

    name: Literal["nvdec"]

    def build(self, device: str) -> Decoder:
        """Build the decoder."""
        from vidssl_plugins.decoders.nvdec import NvdecDecoder

        return NvdecDecoder(device)
