"""SIGReg: the test of Epps and Pulley, and agreement that does not collapse."""

import math

import pytest
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.model.learner import encode
from vidssl_plugins.backbones.hooks import R3D, ViT
from vidssl_plugins.pretexts.hooks import SIGReg
from vidssl_plugins.pretexts.sigreg import epps_pulley


def closed_form(x):
    """The integral over all t, which is a sum over pairs of samples."""
    n = len(x)
    pairs = (-((x[:, None] - x) ** 2) / 4).exp().mean() * math.sqrt(math.pi)
    single = (-(x**2) / 6).exp().mean() * math.sqrt(2 * math.pi / 3)
    return n * (pairs - 2 * single + math.sqrt(math.pi / 2))


@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (0.5, 1), (0, 0.2), (-1, 2)])
def test_the_integral(shift, scale):
    torch.manual_seed(0)
    x = shift + scale * torch.randn(50)
    torch.testing.assert_close(epps_pulley(x, 401), closed_form(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(epps_pulley(x), closed_form(x), rtol=0.06, atol=0)


def test_it_is_smallest_for_what_is_standard_normal():
    torch.manual_seed(0)
    normal = torch.randn(400, 20)
    own = epps_pulley(normal).mean()
    for other in (normal + 0.5, 2 * normal, 0.5 * normal, normal.sign(), torch.zeros_like(normal)):
        assert epps_pulley(other).mean() > 3 * own


def context(network=None):
    torch.manual_seed(0)
    if network is None:
        return PretextContext(6, {"feat": 6}, {}, 2, 9)
    backbone = network.build()

    def run(which, clips, keep=None):
        return encode(which, clips, torch.float32, keep)

    return PretextContext(backbone.feature_dim, backbone.taps, {}, 2, 4, backbone, run)


def build(given, **options):
    chosen = {"proj_dim": 8, "proj_hidden": [16], "proj_norm": False} | options
    return SIGReg(name="sigreg", **chosen).build(given)


def batch(videos, clips=None):
    clips = torch.zeros(videos, 2, 1) if clips is None else clips
    return Batch(clips, {}, torch.arange(videos), torch.empty(0))


def test_terms_are_weighted():
    pretext = build(context(), strength=0.25, directions=4000)
    features = {"feat": torch.randn(30, 2, 6)}
    found, _ = pretext(features, batch(30))
    z = pretext.projection(features["feat"])
    expected = (z[:, 0] - z[:, 1]).square().mean() / 4
    torch.testing.assert_close(found["invariance"], 0.75 * expected)
    torch.manual_seed(5)
    along = torch.nn.functional.normalize(torch.randn(8, 4000), dim=0)
    gaussian = 0.25 * epps_pulley(z @ along).mean()
    torch.testing.assert_close(found["gaussian"], gaussian, rtol=0.05, atol=0)


def test_agreement_does_not_collapse():
    pretext = build(context())
    optimizer = torch.optim.Adam(pretext.parameters(), lr=1e-2)
    torch.manual_seed(1)
    for _ in range(300):
        features = {"feat": torch.randn(32, 1, 6) + 0.3 * torch.randn(32, 2, 6)}
        found, metrics = pretext(features, batch(32))
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
    deviation = pretext.projection(features["feat"][:, 0]).std(0)
    assert deviation.min() > 0.4
    assert metrics["accuracy"] > 0.6


NETWORK = ViT(name="vit", width=24, depth=2, heads=2, tubelet=(2, 4, 4), clip=(8, 16, 16))


def test_tubelets_are_left_out():
    """A twentieth of 64 tubelets is 3; what is compared is the average of their tokens."""
    given = context(NETWORK)
    pretext = build(given, drop=0.95)
    clips = torch.randn(4, 2, 3, 8, 16, 16)
    seen = []
    given.backbone.register_forward_hook(lambda _, args, taps: seen.append(args[1]))
    found, _ = pretext({}, batch(4, clips))
    torch.stack(list(found.values())).sum().backward()
    (keep,) = seen
    assert keep.shape == (8, 3)
    assert len({tuple(row.tolist()) for row in keep}) == 8  # each at places of its own
    assert all(weight.grad is not None for weight in given.backbone.parameters())


def test_a_backbone_without_tokens_cannot_leave_any_out():
    with pytest.raises(UsageError, match="sigreg with drop needs a backbone"):
        build(context(R3D(name="r3d", depth=10, width=4)), drop=0.5)
