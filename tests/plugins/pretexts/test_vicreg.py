"""VICReg: its three terms by hand, and that agreement alone collapses where they do not."""

import pytest
import torch

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.hooks import VICReg
from vidssl_plugins.pretexts.vicreg import terms


def by_hand(a, b):
    """The three terms of two views (B, D), written as in the paper's equations 1 to 5."""
    n, d = a.shape
    found = {"invariance": (a - b).square().sum(1).mean() / d, "variance": 0, "covariance": 0}
    for z in (a, b):
        found["variance"] += (1 - (z.var(0) + 1e-4).sqrt()).clamp(min=0).mean() / 2
        c = (z - z.mean(0)).T @ (z - z.mean(0)) / (n - 1)
        found["covariance"] += (c - c.diag().diag()).square().sum() / d
    return found


def test_the_terms_are_the_papers():
    torch.manual_seed(0)
    a = torch.randn(7, 5) * torch.tensor([0.1, 0.5, 1, 2, 3])
    b = a + 0.3 * torch.randn(7, 5)
    found = terms(torch.stack([a, b], 1))
    for name, value in by_hand(a, b).items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_what_is_perfect_costs_nothing():
    """Equal views, no covariance, and deviations of 1 and more."""
    z = torch.tensor([[2.0, 2], [2, -2], [-2, 2], [-2, -2]])
    found = terms(torch.stack([z, z, z], 1))
    assert [value.item() for value in found.values()] == pytest.approx([0, 0, 0], abs=1e-6)


def test_collapsed_vectors_miss_their_variance():
    found = terms(torch.ones(6, 2, 3))
    assert found["invariance"] == 0
    assert found["variance"].item() == pytest.approx(1 - 0.01)
    assert found["covariance"] == 0


def build(**options):
    torch.manual_seed(0)
    chosen = VICReg(name="vicreg", proj_dim=8, proj_hidden=[16], **options)
    return chosen, chosen.build(PretextContext(6, {"feat": 6}, {}, 2, 9))


def batch(videos):
    return Batch(torch.zeros(videos, 2, 1), {}, torch.arange(videos), torch.empty(0))


def test_terms_are_weighted():
    features = {"feat": torch.randn(9, 2, 6)}
    plain = build(invariance=1, variance=1, covariance=1)[1](features, batch(9))[0]
    weighted = build()[1](features, batch(9))[0]
    for name, weight in {"invariance": 25, "variance": 25, "covariance": 1}.items():
        torch.testing.assert_close(weighted[name], weight * plain[name])


@pytest.mark.parametrize(("options", "alive"), [({}, True), ({"variance": 0}, False)])
def test_variance_keeps_directions_alive(options, alive):
    """Both clips share what tells videos apart, with noise; deviations after training."""
    chosen, pretext = build(**options, proj_norm=False)
    optimizer = torch.optim.Adam(pretext.parameters(), lr=1e-2)
    torch.manual_seed(1)
    for _ in range(300):
        shared = torch.randn(32, 1, 6)
        features = {"feat": shared + 0.3 * torch.randn(32, 2, 6)}
        found, metrics = pretext(features, batch(32))
        optimizer.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        optimizer.step()
    deviation = pretext.projection(features["feat"][:, 0]).std(0)
    assert bool((deviation > 0.5).all()) == alive
    assert chosen.needs_views == 2
    if alive:
        assert metrics["accuracy"] > 0.6
