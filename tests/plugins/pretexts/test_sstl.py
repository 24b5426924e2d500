"""SSTL against its worked examples: the sampler, the temporal memory bank, the losses."""

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.contract.clips import Batch, Draw
from vidssl_cli.contract.draws import Draws
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_plugins.pretexts.hooks import SSTL as Pretext
from vidssl_plugins.pretexts.sstl_bank import CellUpdate, TemporalBank
from vidssl_plugins.samplers.hooks import SSTL as Sampler
from vidssl_plugins.samplers.sstl import apart, cut, distort_rate, drop

# The sampler.


def plan(frames=300, epoch=0, **options):
    return (
        Sampler(name="sstl", **options).build().plan(Video("v", frames=frames), Draw(0, epoch, 0))
    )


def test_the_worked_example():
    draws = np.array([0.9, 0.1, 0.5, 0.15, 0.7, 0.3, 0.25, 0.95] * 3 + [0.5] * 4)
    kept = np.flatnonzero(distort_rate(draws, 1.25, 8))
    assert kept.tolist() == [
        0, 2, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27,
    ]  # fmt: skip
    left = np.delete(kept, [2, 7, 11, 15])
    frames = distort_rate(draws[None], 1.25, 8)
    assert np.flatnonzero(drop(frames, np.array([[2, 7, 11, 15]]))).tolist() == left.tolist()
    few = drop(frames, np.array([[2, 7, 11, 15]]))
    assert cut(few, np.array([1]), 16).tolist() == [left[1:17].tolist()]
    assert left.tolist() == [0, 2, 5, 6, 7, 8, 12, 13, 14, 16, 18, 20, 22, 23, 24, 25, 26, 27]
    assert left[1:17].tolist() == [2, 5, 6, 7, 8, 12, 13, 14, 16, 18, 20, 22, 23, 24, 25, 26]


@pytest.mark.parametrize(("rate", "drops"), [(1.0, 0), (1.1, 2.55), (1.25, 5.6)])
def test_expected_drops(rate, drops):
    draws = np.random.default_rng(0).random((4000, 28))
    dropped = (~distort_rate(draws, np.full(4000, rate), 28)).sum(1)
    assert np.mean(dropped) == pytest.approx(drops, abs=0.2)


def test_no_more_is_dropped_than_allowed():
    assert np.flatnonzero(distort_rate(np.zeros(28), 1.25, 8)).tolist() == list(range(8, 28))


def test_frames_apart_are_drawn_uniformly():
    apart_of_7 = [c for c in combinations(range(7), 3) if c[1] - c[0] > 1 and c[2] - c[1] > 1]
    assert len(apart_of_7) == comb(5, 3)
    draws = Draws.of([Draw(0, 0, video) for video in range(4000)], "dropout")
    seen = Counter(map(tuple, apart(draws, np.full(4000, 7), 3).tolist()))
    assert seen.keys() == set(apart_of_7)
    assert min(seen.values()) > 330  # of 400 expected; 3.7 standard deviations


@given(
    count=st.integers(1, 400),
    frames=st.integers(2, 40),
    dropout=st.integers(0, 5),
    room=st.integers(0, 12),
    rate=st.tuples(st.floats(1, 3), st.floats(1, 3)),
    seed=st.integers(0, 2**32),
)
def test_both_views_are_ordered_parts_of_one_base(count, frames, dropout, room, rate, seed):
    buffer = min(dropout, frames + 1) + room
    options = Sampler(
        name="sstl",
        frames=frames,
        buffer=buffer,
        dropout=min(dropout, frames + 1),
        rate=sorted(rate),
    )
    made = options.build().plan(Video("v", frames=count), Draw(seed, 0, 0))
    for view in made.views:
        assert view.frames.shape == (frames,)
        assert 0 <= view.frames.min() <= view.frames.max() < count
    if count >= frames + buffer:
        for view in made.views:
            assert (np.diff(view.frames) > 0).all()
        everything = np.concatenate([view.frames for view in made.views])
        assert np.ptp(everything) < frames + buffer
    rates = made.labels["rate"]
    assert (sorted(rate)[0] - 1e-6 <= rates).all()
    assert (rates <= sorted(rate)[1] + 1e-6).all()
    positions = made.labels["position"]
    assert positions[0] == positions[1]
    assert 0 <= positions[0] < 1


def test_views_differ_and_have_their_own_rates():
    made = plan()
    assert made.views[0].frames.tolist() != made.views[1].frames.tolist()
    assert made.labels["rate"][0] != made.labels["rate"][1]


def test_without_augmentation_both_views_are_the_base():
    made = plan(buffer=0, dropout=0, rate=(1, 1))
    assert made.views[0].frames.tolist() == made.views[1].frames.tolist()
    assert (np.diff(made.views[0].frames) == 1).all()
    assert made.labels["rate"].tolist() == [1, 1]


def test_position_is_that_of_the_centre_of_the_base():
    made = plan(28)  # the base clip is the video
    assert made.labels["position"].tolist() == [0.5, 0.5]
    whole = plan(1000, buffer=0, dropout=0, rate=(1, 1))
    assert whole.labels["position"][0] == pytest.approx(whole.views[0].frames[8] / 1000)


def test_the_realised_rate_tells_what_was_dropped():
    made = plan(rate=(1.25, 1.25), dropout=0, max_drop=12, rate_target="realised")
    possible = {np.float32(28 / left) for left in range(16, 29)}
    assert set(made.labels["rate"]) <= possible
    assert plan(rate=(1, 1), rate_target="realised").labels["rate"].tolist() == [1, 1]


def test_spatial_parameters_are_shared_when_asked():
    assert {(v.crop, v.flip, v.colour) for v in plan().views} == {(None, None, None)}
    shared = plan(spatial_share="video").views
    assert {(v.crop, v.flip, v.colour) for v in shared} == {("video", "video", "video")}


def test_short_videos_loop_or_are_rejected():
    looping, skipping = (Sampler(name="sstl", short_video=s).build() for s in ("loop", "skip"))
    assert looping.rejects(Video("v", frames=3)) is None
    assert "needs at least 1" in looping.rejects(Video("v", frames=0))
    assert skipping.rejects(Video("v", frames=28)) is None
    assert skipping.rejects(Video("v", frames=27)) == "27 frames; needs at least 28"
    frames = plan(5, rate=(1, 1), dropout=0, max_drop=0).views[0].frames
    assert (np.diff(frames) % 5 == 1).all()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"buffer": 3}, "take up to 4 frames, the buffer has 3"),
        ({"max_drop": 9}, "take up to 13 frames, the buffer has 12"),
        ({"frames": 2}, "4 frames that are not adjacent do not fit among 2 others"),
        ({"rate": (1.2, 1.1)}, r"not 1\.2 before 1\.1"),
        ({"rate": (0.9, 1.1)}, "greater than or equal to 1"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Sampler(name="sstl", **options)


# The bank.


def rates(position, columns, neighbour="intended"):
    update = CellUpdate(columns, momentum=0.5, spread=0.6, neighbour=neighbour)
    return update.rates(torch.tensor([position]))[0].tolist()


@pytest.mark.parametrize(
    ("position", "columns", "neighbour", "expected"),
    [
        (0.30, 4, "intended", [0.2475, 0.5, 0.2025, 0.1275]),
        (0.30, 4, "printed", [0.7525, 0.5, 0.7975, 0.8725]),
        (0.30, 4, "none", [0, 0.5, 0, 0]),
        (0.30, 2, "intended", [0.5, 0.165]),
        (0.75, 2, "intended", [0.15, 0.5]),
        (0.50, 1, "intended", [0.5]),
    ],
)
def test_update_rates(position, columns, neighbour, expected):
    assert rates(position, columns, neighbour) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("frame", "cell"), [(0, 1), (24, 1), (25, 2), (30, 2), (50, 3), (99, 4), (100, 4)]
)
def test_cells_are_half_open(frame, cell):
    own = rates(frame / 100, 4, "none")
    assert own.index(0.5) == cell - 1


def bank(cells, **options):
    cells = torch.as_tensor(cells)
    options = {"momentum": 0.5, "spread": 0.6, "neighbour": "intended"} | options
    made = TemporalBank(len(cells), cells.shape[2], CellUpdate(cells.shape[1], **options))
    made.cells.copy_(cells)
    return made


@pytest.mark.parametrize(
    ("neighbour", "expected"),
    [
        ("intended", [[0.894427, 0.447214], [0.101846, 0.994800]]),
        ("none", [[0.894427, 0.447214], [0, 1]]),
    ],
)
def test_the_bank_moves(neighbour, expected):
    made = bank([[[1.0, 0.0], [0.0, 1.0]]], neighbour=neighbour)
    made.update(torch.tensor([0]), torch.tensor([0.3]), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(made.cells[0], torch.tensor(expected), rtol=0, atol=1e-6)


visits = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 1, width=32), st.integers(0, 2**31)),
    min_size=1,
    max_size=8,
)


def columns(rows):
    video, position, seeds = zip(*rows, strict=True)
    vectors = [torch.randn(4, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.tensor(video), torch.tensor(position), F.normalize(torch.stack(vectors), dim=1)


@given(visits, st.sampled_from(["intended", "printed", "none"]), st.integers(1, 4))
def test_bank_invariants(rows, neighbour, cells):
    torch.manual_seed(0)
    made = bank(F.normalize(torch.randn(6, cells, 4), dim=2), neighbour=neighbour)
    before = made.cells.clone()
    made.update(*columns(rows))
    torch.testing.assert_close(made.cells.norm(dim=2), torch.ones(6, cells))
    others = sorted(set(range(6)) - {row[0] for row in rows})
    assert torch.equal(made.cells[others], before[others])
    if neighbour == "none":
        visited = {
            (video, min(cells - 1, int(cells * np.float32(position))))
            for video, position, _ in rows
        }
        changed = {tuple(cell) for cell in (made.cells != before).any(2).nonzero().tolist()}
        assert changed <= visited
    again = bank(before, neighbour=neighbour)
    again.update(*columns(rows[::-1]))
    torch.testing.assert_close(again.cells, made.cells)


@given(st.floats(0, 1, width=32), st.integers(1, 8), st.floats(0, 0.99), st.floats(0, 1))
def test_the_own_cell_takes_in_most(position, cells, momentum, spread):
    update = CellUpdate(cells, momentum, spread, "intended")
    made = update.rates(torch.tensor([position]))[0]
    own = min(cells - 1, int(cells * torch.tensor(position)))
    assert made[own] == made.max()
    assert made.min() >= 0


def test_a_video_seen_twice_moves_by_both():
    cells = torch.tensor([[[1.0, 0.0]]])
    once, twice = bank(cells), bank(cells)
    vectors = torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    place = torch.tensor([0.5, 0.5])
    twice.update(torch.tensor([0, 0]), place, vectors)
    expected = F.normalize(cells[0] / 2 + vectors.mean(0) / 2, dim=1)
    torch.testing.assert_close(twice.cells[0], expected)
    once.update(torch.tensor([0, 0]), place, vectors[[0, 0]])
    torch.testing.assert_close(once.cells[0], F.normalize(torch.tensor([[0.8, 0.4]]), dim=1))


NONE = torch.empty(0, dtype=torch.int64)


def filled(videos, columns=2):
    """Return a bank whose cells all differ."""
    return bank(F.normalize(torch.randn(videos, columns, 4), dim=2))


def test_samples_are_new_after_each_update_and_never_repeat_a_cell():
    torch.manual_seed(0)
    made = filled(10)
    cells, videos, drawn = made.sample(7, NONE)
    assert cells.shape == (7, 4)
    assert drawn.all()
    assert len({tuple(cell.tolist()) for cell in cells}) == 7
    assert all(
        (cell == made.cells[video]).all(1).any() for cell, video in zip(cells, videos, strict=True)
    )
    assert torch.equal(made.sample(7, NONE)[0], cells)
    made.update(torch.tensor([0]), torch.tensor([0.5]), torch.ones(1, 4))
    assert not torch.equal(made.sample(7, NONE)[1], videos)
    assert len(made.sample(2048, NONE)[0]) == 20
    assert made.sample(0, NONE)[0].shape == (0, 4)


@given(
    columns=st.integers(1, 3),
    count=st.integers(1, 30),
    left_out=st.lists(st.integers(0, 11), max_size=14),
    seed=st.integers(0, 2**31),
)
def test_videos_are_left_out_before_cells_are_drawn(columns, count, left_out, seed):
    """The draw is the first of all cells in a random order that are of other videos."""
    torch.manual_seed(seed)
    made = filled(12, columns)
    cells, videos, drawn = made.sample(count, torch.tensor(left_out, dtype=torch.int64))
    others = (12 - len(set(left_out))) * columns
    assert len(cells) == min(count, 12 * columns)
    assert drawn.sum() == min(count, others)
    assert torch.equal(drawn, torch.tensor([int(video) not in left_out for video in videos]))
    assert len(torch.unique(cells, dim=0)) == len(cells)
    every = made.sample(12 * columns, NONE)[1].tolist()
    first = [video for video in every if video not in left_out][:count]
    assert videos[drawn].tolist() == first


def test_cells_have_equal_chances():
    made, times = filled(6), Counter()
    for seed in range(3000):
        made.seed.fill_(seed)
        _, videos, _ = made.sample(4, torch.tensor([1, 4, 1]))
        times.update(videos.tolist())
    assert set(times) == {0, 2, 3, 5}
    assert max(times.values()) < 1.06 * min(times.values())


# The losses.


def pretext(videos=2, dim=2, **options):
    given = {"proj_dim": None, "proj_hidden": [], "rate_hidden": 1, **options}
    context = PretextContext(dim, {"feat": dim}, {"rate": 0, "position": 0}, 2, videos)
    return Pretext(name="sstl", **given).build(context)


def batch(video, rate=1.0, position=0.3):
    shape = (len(video), 2)
    labels = {"rate": torch.full(shape, rate), "position": torch.full(shape, position)}
    return Batch(torch.empty(shape), labels, torch.tensor(video), torch.empty(0))


VIEWS = torch.tensor([[[1, 0], [0.8, 0.6]], [[0.0, 1], [-0.6, 0.8]]])


def test_contrast_without_a_bank():
    made = pretext(bank_negatives=0, video_weight=0, rate_weight=0)
    terms, metrics = made({"feat": VIEWS}, batch([0, 1]))
    assert terms.keys() == {"contrast"}
    assert terms["contrast"].item() == pytest.approx(0.063780, abs=1e-6)
    assert metrics["accuracy"] == 1
    assert not list(made.buffers())


def test_contrast_with_cells_of_other_videos():
    """Every clip competes with the two cells of the other video, never with its own."""
    made = pretext(video_weight=0, rate_weight=0, bank_from="others")
    made.bank.cells.copy_(torch.tensor([[[1, 0], [0.8, -0.6]], [[0.0, 1], [0.6, 0.8]]]))
    terms, _ = made({"feat": VIEWS}, batch([0, 1]))
    assert terms["contrast"].item() == pytest.approx(0.520949, abs=1e-6)


def test_contrast_with_cells_of_videos_outside_the_batch():
    """Section 3.2: negatives are of the rest of the videos, apart from the input ones."""
    made = pretext(4, video_weight=0, rate_weight=0, bank_negatives=5)
    others = F.normalize(torch.tensor([[[1.0, 2], [3, 1]], [[-1, 2], [2, -3]]]), dim=2)
    made.bank.cells.copy_(torch.stack([others[0], F.normalize(VIEWS[0]), VIEWS[1], others[1]]))
    terms, _ = made({"feat": VIEWS}, batch([2, 1]))
    z = VIEWS.flatten(0, 1)
    s = (z @ torch.cat([z, others.flatten(0, 1)]).T / 0.1).exp()
    expected = [-(s[i, i ^ 1] / (s[i].sum() - s[i, i])).log() for i in range(4)]
    assert terms["contrast"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)
    within, _ = made({"feat": VIEWS}, batch([2, 1]))
    assert torch.equal(within["contrast"], terms["contrast"])


def test_a_batch_of_all_videos_competes_with_no_cell():
    made = pretext(video_weight=0, rate_weight=0)
    terms, _ = made({"feat": VIEWS}, batch([0, 1]))
    assert terms["contrast"].item() == pytest.approx(0.063780, abs=1e-6)


def test_two_visits_to_a_video_do_not_compete():
    made = pretext(bank_negatives=0, video_weight=0, rate_weight=0)
    features = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    with_twin, _ = made({"feat": features}, batch([0, 1, 1]))
    z = F.normalize(features.flatten(0, 1), dim=1)
    s = (z @ z.T / 0.1).exp()
    # The first two views compete with all, the others only with the first two.
    expected = [-(s[i, i ^ 1] / (s[i].sum() - s[i, i])).log() for i in (0, 1)]
    expected += [-(s[i, i ^ 1] / (s[i, i ^ 1] + s[i, :2].sum())).log() for i in (2, 3, 4, 5)]
    assert with_twin["contrast"].item() == pytest.approx(
        torch.stack(expected).mean().item(), rel=1e-4
    )


def test_distance_to_the_video_and_error_of_the_rate():
    made = pretext(1, bank_negatives=0)
    made.bank.cells.copy_(torch.tensor([[[0.8, 0.6], [0, 1]]]))
    torch.nn.init.zeros_(made.rate_head[-1].weight)
    torch.nn.init.constant_(made.rate_head[-1].bias, 1.05)
    feature = torch.tensor([[[1.0, 0], [1, 0]]])
    terms, metrics = made({"feat": feature}, batch([0], rate=1.2))
    assert terms["video"].item() == pytest.approx(0.2 * 0.552786, abs=1e-6)
    assert terms["rate"].item() == pytest.approx(0.1 * 0.01125, abs=1e-7)
    assert metrics["rate_error"].item() == pytest.approx(0.15, abs=1e-6)


def test_the_weights_of_the_paper():
    options = Pretext(name="sstl")
    weights = options.contrast_weight, options.rate_weight, options.video_weight
    assert np.dot(weights, (0.9, 0.01125, 0.3)) == pytest.approx(0.961125)


def test_losses_come_before_the_update_and_the_bank_gets_no_gradient():
    made = pretext()
    before = made.bank.cells.clone()
    features = VIEWS.clone().requires_grad_()
    terms, _ = made({"feat": features}, batch([0, 1]))
    sum(terms.values()).backward()
    assert torch.equal(made.bank.cells, before)
    assert not made.bank.cells.requires_grad
    made.after_step()
    mean = F.normalize(VIEWS.mean(1), dim=1)
    expected = F.normalize(0.5 * before[:, 0] + 0.5 * mean, dim=1)
    torch.testing.assert_close(made.bank.cells[:, 0], expected)
    settled = made.bank.cells.clone()
    made.after_step()
    assert torch.equal(made.bank.cells, settled)


def test_a_batch_in_parts_moves_the_bank_as_a_whole_one():
    whole, parts = pretext(3), pretext(3)
    parts.load_state_dict(whole.state_dict())
    features = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    whole({"feat": features}, batch([2, 0, 2]))
    for part in (slice(0, 2), slice(2, 3)):
        parts({"feat": features[part]}, batch([2, 0, 2][part]))
    whole.after_step()
    parts.after_step()
    assert torch.equal(whole.bank.cells, parts.bank.cells)
    assert whole.bank.seed == parts.bank.seed


def test_held_out_videos_meet_no_bank_and_leave_nothing():
    """Their numbers, which may be larger than any of the data set, mean other videos."""
    made = pretext().eval()
    before = made.bank.cells.clone()
    terms, metrics = made({"feat": VIEWS}, batch([0, 7]))
    assert terms.keys() == {"contrast", "rate"}
    assert metrics.keys() == {"accuracy", "rate_error"}
    assert terms["contrast"].item() == pytest.approx(0.063780, abs=1e-6)
    made.after_step()
    assert torch.equal(made.bank.cells, before)


@given(st.permutations(range(4)), st.integers(0, 2**31))
def test_the_order_of_a_batch_changes_nothing(order, seed):
    torch.manual_seed(seed)
    made = pretext(4)
    features = torch.randn(4, 2, 2)
    one, _ = made({"feat": features}, batch([0, 1, 2, 3]))
    other, _ = made({"feat": features[list(order)]}, batch(list(order)))
    for name, term in one.items():
        torch.testing.assert_close(other[name], term, rtol=1e-4, atol=1e-5)


def test_at_equal_similarities_the_contrast_is_the_log_of_the_candidates():
    made = pretext(3, video_weight=0, rate_weight=0, bank_from="others")
    made.bank.cells.copy_(torch.tensor([1.0, 0]).expand(3, 2, 2))
    terms, _ = made({"feat": VIEWS[:1, :1].expand(3, 2, 2)}, batch([0, 1, 2]))
    # The other view, four views of two other videos, four cells of theirs.
    assert terms["contrast"].item() == pytest.approx(np.log(9), abs=1e-6)


def test_labels_are_required_where_a_loss_needs_them():
    def required(**options):
        return Pretext(name="sstl", **options).required()

    assert required() == {"rate", "position"}
    assert required(rate_weight=0) == {"position"}
    assert required(bank_negatives=0, video_weight=0) == {"rate"}
