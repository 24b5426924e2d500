"""Options of `pace`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ClassifyOptions


class Pace(ClassifyOptions):
    """Classifies the pace of a clip (Wang, thesis 2020, section 4.2.2; Wang, Jiao, Liu 2020)."""

    needs: ClassVar[frozenset[str]] = frozenset({"pace"})

    name: Literal["pace"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.classify import ClassifyPretext

        return ClassifyPretext(self, context, "pace")
