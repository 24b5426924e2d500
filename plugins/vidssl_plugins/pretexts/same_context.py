"""Contrast of clips by their video (Wang, thesis 2020, section 4.2.3), or by their frames."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.options.shared import ContrastOptions
from vidssl_plugins.pretexts.shared.group_contrast import GroupContrast


class SameContextPretext(GroupContrast):
    """Groups clips by video, or by video and frames; a video that is twice in a batch is one."""

    def __init__(
        self, options: ContrastOptions, context: PretextContext, group: Literal["video", "clip"]
    ) -> None:
        super().__init__(options, context)
        self.group = group

    def groups(self, batch: Batch) -> Tensor:
        """Return the video of each clip, or a number that clips of the same frames share."""
        video = batch.video[:, None].expand(batch.clips.shape[:2])
        return video << 40 | batch.labels["clip"] if self.group == "clip" else video
