"""The contrastive loss against worked values (T-PACE2, T-TE3, T-TE4, T-SSTL3) and its users."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.hooks import Pace, SameContext, SamePace
from vidssl_plugins.pretexts.shared.contrast import contrast, retrieved, similarity

# Two clips of video A, two of video B; compared by dot product.
PACE = torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 1]])
# Time-equivariant: rows 0, 1 share a relation, and rows 2, 3.
RELATIONS = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0.6, 0.8]])
INSTANCES = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1.0], [-0.8, 0.6]])
# SSTL: views x, y, x, y of two clips, and two cells of a memory bank for each clip.
VIEWS = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1.0], [-0.6, 0.8]])
BANK = torch.tensor([[[0.0, 1], [0.6, 0.8]], [[1.0, 0], [0.8, -0.6]]])


def masks(groups):
    together = torch.tensor(groups)[:, None] == torch.tensor(groups)
    return together & ~torch.eye(len(groups), dtype=torch.bool), ~together


def pretext_loss(options, groups, views):
    """Send the four pace vectors through a pretext, as 4 / views videos."""
    batch = Batch(
        clips=torch.empty(4 // views, views, 3, 1, 1, 1),
        labels={"pace": torch.tensor(groups).view(-1, views)},
        video=torch.arange(4 // views),
        frames=torch.empty(0),
    )
    context = PretextContext(3, {"feat": 3}, {"pace": 4}, views, 4 // views)
    terms, _ = options.build(context)({"feat": PACE.view(-1, views, 3)}, batch)
    return terms["loss"].item()


@pytest.mark.parametrize(
    ("denominator", "expected"),
    [("global", 2.373580), ("anchor", 0.980304), ("single_log", 0.987286)],
)
def test_same_context(denominator, expected):
    options = SameContext(name="same_context", denominator=denominator)
    assert pretext_loss(options, [0, 1, 2, 3], views=2) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("denominator", "expected"), [("global", 4.060370), ("anchor", 1.911301)])
def test_same_pace(denominator, expected):
    options = SamePace(name="same_pace", denominator=denominator)
    assert pretext_loss(options, [0, 1, 1, 1], views=1) == pytest.approx(expected, abs=1e-5)


def test_same_pace_averaged_over_positive_pairs():
    """T-PACE2's third figure: over the six positive pairs instead of the thesis's four clips."""
    options = SamePace(name="same_pace", denominator="anchor")
    mean_over_pairs = pretext_loss(options, [0, 1, 1, 1], views=1) * 4 / 6
    assert mean_over_pairs == pytest.approx(1.274201, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "section"), [(Pace, "4.2.2"), (SameContext, "4.2.3"), (SamePace, "4.2.3")]
)
def test_methods_cite_the_section_that_has_their_equation(options, section):
    assert f"(Wang, thesis 2020, section {section}" in options.__doc__


@pytest.mark.parametrize("denominator", ["global", "anchor", "single_log", "pair", "decoupled"])
def test_without_a_positive_pair_the_loss_is_0_and_trains_nothing(denominator):
    vectors = PACE.clone().requires_grad_()
    scores = similarity(vectors, vectors, normalise=False)
    loss = contrast(scores, *masks([0, 1, 2, 3]), denominator=denominator)
    assert loss.item() == 0
    loss.backward()
    assert vectors.grad.eq(0).all()


@pytest.mark.parametrize("denominator", ["global", "anchor", "single_log", "pair"])
def test_without_any_pair_the_loss_is_0(denominator):
    scores = torch.ones(1, 1, requires_grad=True)
    neither = torch.zeros(1, 1, dtype=torch.bool)
    loss = contrast(scores, neither, neither, denominator=denominator)
    loss.backward()
    assert (loss.item(), scores.grad.item()) == (0, 0)


@pytest.mark.parametrize("denominator", ["anchor", "pair"])
@pytest.mark.parametrize(
    ("vectors", "temperature", "expected"),
    [
        (RELATIONS, 0.1, 0.230462),
        (RELATIONS, 0.5, 0.639934),
        (torch.ones(4, 3), 0.1, math.log(3)),
        (INSTANCES, 0.1, 1.064850),
        (INSTANCES, 0.5, 0.668040),
        (VIEWS, 0.1, 0.063780),
    ],
)
def test_one_positive_and_all_others(vectors, temperature, expected, denominator):
    scores = similarity(vectors, vectors, normalise=True)
    loss = contrast(scores, *masks([0, 0, 1, 1]), temperature=temperature, denominator=denominator)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_candidates_beside_the_batch():
    positives, negatives = masks([0, 0, 1, 1])
    cells = BANK.flatten(0, 1)
    theirs = torch.tensor([[True, True, False, False]] * 2 + [[False, False, True, True]] * 2)
    nobody = torch.zeros_like(theirs)
    loss = contrast(
        similarity(VIEWS, torch.cat([VIEWS, cells]), normalise=True),
        torch.cat([positives, nobody], 1),
        torch.cat([negatives, theirs], 1),
        temperature=0.1,
    )
    assert loss.item() == pytest.approx(0.520949, abs=1e-5)


@pytest.mark.parametrize("denominator", ["global", "anchor", "pair"])
@given(seed=st.integers(0, 1000), groups=st.lists(st.integers(0, 3), min_size=2, max_size=9))
def test_order_of_the_batch_does_not_matter(denominator, seed, groups):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(groups), 5, generator=generator)
    order = torch.randperm(len(groups), generator=generator)

    def loss(vectors, groups):
        scores = similarity(vectors, vectors, normalise=True)
        return contrast(scores, *masks(groups), temperature=0.5, denominator=denominator)

    shuffled = loss(vectors[order], [groups[i] for i in order])
    torch.testing.assert_close(shuffled, loss(vectors, groups))


@given(st.integers(1, 6), st.integers(1, 40))
def test_uniform_scores_cost_log_of_the_candidates(positives, negatives):
    kinds = torch.arange(positives + negatives) < positives
    loss = contrast(torch.full((1, len(kinds)), 7.0), kinds[None], ~kinds[None])
    assert loss.item() == pytest.approx(positives * math.log(len(kinds)), rel=1e-5)


@given(st.integers(1, 6), st.integers(1, 40))
def test_pairs_of_an_anchor_do_not_compete_and_are_averaged(positives, negatives):
    """At uniform scores each costs the log of itself and the negatives, however many there are."""
    kinds = torch.arange(positives + negatives) < positives
    scores = torch.full((1, len(kinds)), 7.0)
    loss = contrast(scores, kinds[None], ~kinds[None], denominator="pair")
    assert loss.item() == pytest.approx(math.log(1 + negatives), rel=1e-5)


def test_large_products_do_not_overflow():
    vectors = torch.full((4, 512), 3.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        scores = similarity(vectors, vectors, normalise=False)
        loss = contrast(scores, *masks([0, 0, 1, 1]), denominator="global")
    assert scores.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(12), rel=1e-4)


def test_retrieved_counts_anchors_that_have_a_positive():
    scores = torch.tensor([[9.0, 2, 1], [3, 9, 1], [5, 4, 9]])
    assert retrieved(scores, *masks([0, 0, 1])).item() == 1
    assert retrieved(scores, *masks([0, 1, 0])).item() == 0.5


def test_same_context_learns_to_tell_videos_apart():
    torch.manual_seed(0)
    videos, noise = torch.randn(16, 1, 32), torch.randn(16, 2, 32)
    options = SameContext(
        name="same_context", normalise=True, temperature=0.1, denominator="anchor", proj_dim=8
    )
    context = PretextContext(32, {"feat": 32}, {}, 2, 16)
    pretext = options.build(context)
    batch = Batch(torch.empty(16, 2, 3, 1, 1, 1), {}, torch.arange(16), torch.empty(0))
    features = {"feat": videos + noise}
    optimizer = torch.optim.Adam(pretext.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        terms, metrics = pretext(features, batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert losses[-1] < 0.3 * losses[0]
    assert metrics["accuracy"].item() > 0.8  # chance is 1 of 31


def test_an_unknown_tap_is_named():
    with pytest.raises(UsageError, match="no tap 'pool9'"):
        SameContext(name="same_context", tap="pool9").build(
            PretextContext(3, {"feat": 3}, {}, 2, 4)
        )
