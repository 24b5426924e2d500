"""Options of `order`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions


class Order(PretextOptions):
    """Classifies the order in which the views of a video are shown, from their features.

    Views are in a canonical order: clips by ascending speed (Cho et al. 2020), or by time (clip
    order prediction, Xu et al. 2019). The head compares all pairs of clips.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["order"]
    tap: str = "feat"
    """Layer that the head reads; a map is averaged over time and space."""
    hidden: PositiveInt = 512
    """Numbers that each pair of clips is mapped to."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of these numbers that is dropped before the classifier."""
    orders: Literal["all", "random"] = "all"
    """Show every order of the clips in each step (Cho et al.), which costs the head alone, or the
    one that the sampler drew as its label ``permutation`` (Xu et al.)."""

    def required(self) -> frozenset[str]:
        """Return the label of the drawn order, if one is drawn."""
        return frozenset({"permutation"}) if self.orders == "random" else frozenset()

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.order import OrderPretext

        return OrderPretext(
            context, tap=self.tap, hidden=self.hidden, dropout=self.dropout, shown=self.orders
        )
