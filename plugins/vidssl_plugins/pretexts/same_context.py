"""Contrast of clips by their video (Wang, thesis 2020, section 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_plugins.pretexts.shared.group_contrast import GroupContrast

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.contract.clips import Batch


class SameContextPretext(GroupContrast):
    """Groups clips by video; a video that is in a batch twice is one group."""

    def groups(self, batch: Batch) -> Tensor:
        """Return the video of each clip."""
        return batch.video[:, None].expand(batch.clips.shape[:2])
