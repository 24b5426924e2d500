"""What masked modelling puts on a backbone: a narrow transformer that completes what was seen."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.hooks import Encode, PretextContext, TokenBackbone
from vidssl_plugins.backbones.vit import Block, initialise, sine_table


class Completion(nn.Module):
    """Predicts what is at masked places from the tokens of places that were seen.

    Args:
        width_in: D, numbers of a token that was seen.
        width_out: E, numbers that are predicted for each masked place.
        width: Numbers of a token inside.
        depth: Blocks.
        heads: Heads of attention.
        kinds: How many mask tokens there are.
    """

    def __init__(
        self, width_in: int, width_out: int, width: int, depth: int, heads: int, kinds: int = 1
    ) -> None:
        super().__init__()
        self.enter = nn.Linear(width_in, width)
        # Flat, for optimizers that spare vectors from weight decay.
        self.mask_tokens = nn.Parameter(torch.zeros(kinds * width))
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, 1e-6) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.leave = nn.Linear(width, width_out)
        initialise(self)
        nn.init.trunc_normal_(self.mask_tokens, std=0.02)

    def forward(
        self, tokens: Tensor, seen: Tensor, masked: Tensor, count: int, kind: int = 0
    ) -> Tensor:
        """Return (N, m, E) for the places ``masked`` (N, m).

        Args:
            tokens: (N, n, D) of the places that were seen.
            seen: (N, n) their numbers.
            masked: (N, m) numbers.
            count: how many numbers there are.
            kind: which mask token stands for what is predicted.
        """
        width = self.enter.out_features
        table = sine_table(count, width, tokens.device)
        mask = self.mask_tokens.view(-1, width)[kind]
        x = torch.cat([self.enter(tokens) + table[seen], mask + table[masked]], dim=1)
        for block in self.blocks:
            x = block(x)
        predicted: Tensor = self.leave(self.norm(x[:, tokens.shape[1] :]))
        return predicted


def token_backbone(context: PretextContext, task: str) -> tuple[TokenBackbone, Encode]:
    """Return the network that learns, and what runs it on a part of its tokens.

    Raises:
        UsageError: it has no tokens.
    """
    if not hasattr(context.backbone, "tubelet") or context.encode is None:
        raise UsageError(
            f"{task} needs a backbone that can leave out parts of a clip",
            where="backbone",
            hint="such as {name: vit, size: small}",
        )
    return cast(TokenBackbone, context.backbone), context.encode
