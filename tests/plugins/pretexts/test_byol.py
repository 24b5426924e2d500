"""BYOL: its loss by hand, the slow copy, and that the predictor prevents collapse."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.hooks import BYOL


class Backbone(nn.Module):
    """Clips (N, 6) to the tap ``feat`` (N, 6)."""

    feature_dim = 6

    def __init__(self):
        super().__init__()
        self.taps = {"feat": 6}
        self.layer = nn.Linear(6, 6)

    def forward(self, clips):
        return {"feat": self.layer(clips)}


def encode(network, clips):
    return {"feat": network(clips.flatten(0, 1))["feat"].view(*clips.shape[:2], 6)}


def build(views=2, **options):
    torch.manual_seed(0)
    backbone = Backbone()
    context = PretextContext(6, backbone.taps, {}, views, 8, backbone, encode)
    chosen = {"proj_dim": 4, "proj_hidden": [8], "predictor_hidden": [8]} | options
    return backbone, BYOL(name="byol", **chosen).build(context)


def batch(videos, views=2):
    return Batch(torch.randn(videos, views, 6), {}, torch.arange(videos), torch.empty(0))


@pytest.mark.parametrize("views", [2, 3])
def test_the_loss_is_the_papers(views):
    """Equation 2: the square distance of unit vectors, for every ordered couple of views."""
    backbone, pretext = build(views, proj_norm=False)
    with torch.no_grad():
        backbone.layer.weight += 0.5  # unlike the copy
    given = batch(5, views)
    found, metrics = pretext(encode(backbone, given.clips), given)
    online = pretext.predictor(pretext.projection(backbone(given.clips)["feat"]))
    slow_backbone, slow_projection = pretext.slow.copy
    target = slow_projection(slow_backbone(given.clips)["feat"])
    p, z = F.normalize(online, dim=2), F.normalize(target, dim=2)
    couples = [(i, j) for i in range(views) for j in range(views) if i != j]
    expected = [(p[:, i] - z[:, j]).square().sum(1).mean() for i, j in couples]
    torch.testing.assert_close(found["loss"], torch.stack(expected).mean())
    assert 0 <= metrics["accuracy"] <= 1


def test_gradients_reach_what_learns_and_the_copy_follows():
    backbone, pretext = build(momentum=0.75)
    given = batch(5)
    pretext(encode(backbone, given.clips), given)[0]["loss"].backward()
    assert all(p.grad is not None for p in [*pretext.predictor.parameters(), backbone.layer.weight])
    assert not any(p.requires_grad for p in pretext.slow.parameters())
    before = pretext.slow.copy[0].layer.weight.clone()
    with torch.no_grad():
        backbone.layer.weight += 1
    pretext.after_step()
    torch.testing.assert_close(pretext.slow.copy[0].layer.weight, before + 0.25)


def test_clips_of_a_video_agree_and_videos_stay_apart():
    wide = {"proj_dim": 16, "proj_hidden": [32], "predictor_hidden": [32]}
    backbone, pretext = build(momentum=0.9, **wide)
    optimizer = torch.optim.Adam([*backbone.parameters(), *pretext.parameters()], lr=1e-2)
    torch.manual_seed(1)
    for _ in range(300):
        given = batch(32)
        given.clips = torch.randn(32, 1, 6) + 0.3 * given.clips
        found, metrics = pretext(encode(backbone, given.clips), given)
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        pretext.after_step()
    assert found["loss"] < 0.3
    assert metrics["accuracy"] > 0.5
    vectors = F.normalize(pretext.projection(backbone(given.clips[:, 0])["feat"]), dim=1)
    assert (vectors @ vectors.T).fill_diagonal_(0).mean() < 0.3


def test_there_is_always_a_predictor():
    with pytest.raises(ValidationError, match="predictor_hidden"):
        BYOL(name="byol", predictor_hidden=[])
