"""Contrast of clips by their pace (Wang, thesis 2020, section 4.2.3)."""

from __future__ import annotations

from torch import Tensor

from vidssl_cli.contract.clips import Batch
from vidssl_plugins.pretexts.shared.group_contrast import GroupContrast


class SamePacePretext(GroupContrast):
    """Groups clips by pace."""

    def groups(self, batch: Batch) -> Tensor:
        """Return the pace label of each clip."""
        return batch.labels["pace"]
