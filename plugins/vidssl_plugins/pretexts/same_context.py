"""Contrast of clips by their video (Wang, thesis 2020, section 4.2.3)."""

from __future__ import annotations

from torch import Tensor

from vidssl_cli.contract.clips import Batch
from vidssl_plugins.pretexts.shared.group_contrast import GroupContrast


class SameContextPretext(GroupContrast):
    """Groups clips by video; a video that is in a batch twice is one group."""

    def groups(self, batch: Batch) -> Tensor:
        """Return the video of each clip."""
        return batch.video[:, None].expand(batch.clips.shape[:2])
