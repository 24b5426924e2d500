"""Options of `same_pace`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ContrastOptions


class SamePace(ContrastOptions):
    """Contrasts clips at one pace with clips at other paces (Wang, thesis 2020, section 4.2.3)."""

    needs: ClassVar[frozenset[str]] = frozenset({"pace"})

    name: Literal["same_pace"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, if there is one."""
        from vidssl_plugins.pretexts.same_pace import SamePacePretext

        return SamePacePretext(self, context)
