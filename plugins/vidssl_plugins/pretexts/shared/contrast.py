"""The contrastive loss, over similarities with positive and negative pairs."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Denominator = Literal["global", "anchor", "single_log", "pair", "decoupled"]


def contrast(
    scores: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: float = 1.0,
    denominator: Denominator = "anchor",
) -> Tensor:
    """Contrast positive pairs with negative ones.

    With s the scores divided by the temperature, P the positive pairs and A the pairs of either
    kind, the loss is

    - ``anchor``: the sum over (i, j) in P of log sum_{k: (i, k) in A} exp s_ik - s_ij, divided by
      the anchors: InfoNCE (van den Oord et al. 2018), with one positive for each anchor its usual
      mean;
    - ``global``: the same with the sum over all of A, whatever the anchor (Wang, thesis 2020,
      section 4.2.3);
    - ``single_log``: -log of the ratio of sum_P exp s to sum_A exp s;
    - ``pair``: each positive pair by itself against the negatives of its anchor, whose other
      positives do not compete; the mean over the positives of an anchor, then over the anchors
      (Jenni, Jin 2021, equation 1). With one positive for each anchor this is ``anchor``;
    - ``decoupled``: ``anchor`` with the sum over the negatives alone, so that a pair that is close
      already does not weaken its own gradient (Yeh et al. 2022); anchors without a negative count
      as 0.

    Args:
        scores: (anchors, candidates) similarities. Candidates may be clips of the batch, cells of
            a bank or entries of a queue.
        positives: (anchors, candidates) bool; the positive pairs.
        negatives: (anchors, candidates) bool; the negative pairs. Pairs of neither kind, such as
            a clip with itself, are left out.
        temperature: Divides the scores.
        denominator: Over which pairs the denominator sums.

    Returns:
        A float32 scalar; 0 with zero gradient if no pair is positive.
    """
    scores = scores.float() / temperature
    # The lowest finite number instead of -inf: rows without any pair must not make NaN gradients.
    nothing = torch.finfo(scores.dtype).min
    if denominator == "pair":
        against = scores.masked_fill(~negatives, nothing).logsumexp(1, keepdim=True)
        shares = positives / positives.sum(1, keepdim=True).clamp(min=1)
        return (shares * F.softplus(against - scores)).sum() / len(scores)
    pairs = scores.masked_fill(~(positives | negatives), nothing)
    if denominator == "single_log":
        together = scores.masked_fill(~positives, nothing).flatten().logsumexp(0)
        loss = pairs.flatten().logsumexp(0) - together
        return torch.where(positives.any(), loss, loss.new_zeros(()))
    if denominator == "decoupled":
        against = scores.masked_fill(~negatives, nothing).logsumexp(1, keepdim=True)
        counted = positives & negatives.any(1, keepdim=True)
        return torch.where(counted, against - scores, 0).sum() / len(scores)
    dims = (0, 1) if denominator == "global" else (1,)
    losses = pairs.logsumexp(dims, keepdim=True) - scores
    return torch.where(positives, losses, losses.new_zeros(())).sum() / len(scores)


def view_pairs(video: Tensor, views: int, remembered: Tensor) -> tuple[Tensor, Tensor]:
    """Return which views of a batch are positive pairs, and which are negative.

    The views of one visit to a video are positive pairs, views of different videos negative ones. A
    view and itself, and views of two visits to one video, are neither: they may look alike, or not.

    Args:
        video: (B,) video of each visit.
        views: V.
        remembered: (M,) video of each further candidate, from a bank or a queue; none of them is
            positive.

    Returns:
        Positives and negatives, (B V, B V + M) bool.
    """
    anchors = video.repeat_interleave(views)
    visit = torch.arange(len(anchors), device=video.device) // views
    positives = (visit[:, None] == visit).fill_diagonal_(False)
    negatives = anchors[:, None] != torch.cat([anchors, remembered])
    return F.pad(positives, (0, len(remembered))), negatives


def retrieved(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the share of anchors with a positive pair whose highest score is positive."""
    nothing = torch.finfo(scores.dtype).min
    best = scores.masked_fill(~(positives | negatives), nothing).argmax(1, keepdim=True)
    anchors = positives.any(1)
    right = positives.gather(1, best).squeeze(1) & anchors
    return right.sum() / anchors.sum().clamp(min=1)


def similarity(anchors: Tensor, candidates: Tensor, *, normalise: bool) -> Tensor:
    """Return dot products (A, C) of rows, or cosines, in float32 even under autocast.

    Unnormalised products of long features overflow exp, and lose whole units, in half precision.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, candidates = anchors.float(), candidates.float()
        if normalise:
            anchors, candidates = F.normalize(anchors, dim=1), F.normalize(candidates, dim=1)
        return anchors @ candidates.T
