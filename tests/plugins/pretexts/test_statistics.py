"""Learning spatio-temporal statistics: the loss, what can be left out, and consecutive clips."""

import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import Batch, Draw
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_cli.testing import check_pretext
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.backbones.hooks import R3D, C3DLight
from vidssl_plugins.pretexts.hooks import Statistics
from vidssl_plugins.pretexts.statistics import regression
from vidssl_plugins.samplers.hooks import Consecutive


def batch(videos=2, streams=("pixels", "flow"), frames=5):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (videos, 1, 3, frames, 16, 16), generator=generator)
    return Batch(
        clips=torch.rand(videos, 1, 3, frames, 16, 16),
        labels={},
        video=torch.arange(videos),
        frames=torch.zeros(videos, 1, frames),
        pixels=pixels.to(torch.uint8) if "pixels" in streams else None,
        flow=torch.randn(videos, 1, 2, frames - 1, 16, 16, generator=generator)
        if "flow" in streams
        else None,
    )


def pretext(**options):
    context = PretextContext(6, {"feat": 6, "pool5": 4}, {}, 1, 2)
    return Statistics(name="statistics", **options).build(context)


def answer(built, **answers):
    """Let the heads say what they are told, whatever they see."""
    for signal, values in answers.items():
        head = built.heads[signal][-1]
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.as_tensor(values).float()


def test_the_two_forms_of_the_loss():
    motion_error, appearance_error = torch.zeros(1, 14), torch.zeros(1, 13)
    motion_error[0, :2] = torch.tensor([3.0, 4.0])
    appearance_error[0, 0] = 2
    for loss, expected in (("mse", 1.816484), ("l2norm", 5.2)):
        parts = [
            regression(error, torch.zeros_like(error), loss)
            for error in (motion_error, appearance_error)
        ]
        assert float(parts[0] + 0.1 * parts[1]) == pytest.approx(expected, abs=1e-6)


def test_terms_are_weighted_and_right_answers_are_counted():
    one = batch(videos=1)
    built = pretext()
    motion, appearance = (
        built.targets.labels(signal, one)[0] for signal in ("motion", "appearance")
    )
    assert (motion.shape, appearance.shape) == ((14,), (13,))
    features = {"feat": torch.zeros(1, 1, 6)}
    answer(built, motion=motion + 0.3, appearance=appearance - 2)
    terms, metrics = built(features, one)
    assert terms["motion"].item() == pytest.approx(0.09, abs=1e-5)
    assert terms["appearance"].item() == pytest.approx(0.1 * 4, abs=1e-5)
    assert {name: float(value) for name, value in metrics.items()} == {
        "motion_location_accuracy": 1, "motion_orientation_accuracy": 1, "motion_time_accuracy": 1,
        "appearance_location_accuracy": 0, "appearance_colour_accuracy": 0,
    }  # fmt: skip


def test_each_group_counts_its_own_labels():
    one = batch(videos=1)
    built = pretext(patterns=(1, 3))
    wrong = built.targets.labels("motion", one)[0]
    wrong[[1, 7]] += 1  # two of four orientations
    wrong[9] += 1  # one of two moments
    answer(built, motion=wrong)
    _, metrics = built({"feat": torch.zeros(1, 1, 6)}, one)
    found = [
        metrics[f"motion_{group}_accuracy"].item() for group in ("location", "orientation", "time")
    ]
    assert found == [1, 0.5, 0.5]


def test_labels_in_words():
    two = batch(videos=2)
    two.flow[:] = 0
    two.flow[1, 0, 0, 2, 4:8, 8:12] = 3  # the third block of the second row moves to the right
    two.pixels[:] = 255
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1, 1)
    two.pixels[1, 0, :, :, :4, 4:8] = red
    two.pixels[1, 0, :, 2, :4, 4:8] = 0  # and is black for a moment
    said = Statistics(name="statistics", patterns=[1]).own_labels(two)
    still, moves = said["motion, pattern 1"]
    assert still == "horizontal nowhere; vertical nowhere"
    assert re.fullmatch(r"horizontal in block 7, (\d+)–(\d+)°; vertical nowhere", moves)
    never, then = said["motion, whole"]
    assert never == "horizontal never; vertical never"
    assert then == "horizontal at field 3; vertical never"
    assert said["appearance, pattern 1"][1] == (
        "changes most in block 2, red; least in block 1, white"
    )
    assert said["appearance, whole"] == ["mostly white"] * 2


@pytest.mark.parametrize(
    ("options", "heads", "streams"),
    [
        ({}, {"motion": 14, "appearance": 13}, {"flow", "pixels"}),
        ({"appearance": 0}, {"motion": 14}, {"flow"}),
        ({"motion": 0}, {"appearance": 13}, {"pixels"}),
        ({"patterns": [2]}, {"motion": 6, "appearance": 5}, {"flow", "pixels"}),
        ({"patterns": []}, {"motion": 2, "appearance": 1}, {"flow", "pixels"}),
        ({"whole": False}, {"motion": 12, "appearance": 12}, {"flow", "pixels"}),
    ],
)
def test_what_is_left_out_is_neither_asked_for_nor_told(options, heads, streams):
    built = pretext(**options)
    assert Statistics(name="statistics", **options).streams() == streams
    assert {signal: head[-1].out_features for signal, head in built.heads.items()} == heads
    terms, _ = built({"feat": torch.zeros(2, 1, 6)}, batch(streams=streams))
    assert terms.keys() == heads.keys()


def test_the_branches_of_chapter_two_have_the_printed_size():
    backbone = C3DLight(name="c3d_light", norm={"name": "none"})
    with torch.device("meta"):
        network = backbone.build()
        context = PretextContext(network.feature_dim, network.taps, {}, 1, 2)
        built = Statistics(name="statistics", hidden=[2048, 2048]).build(context)
    layers = [(layer.in_features, layer.out_features) for layer in built.heads["motion"][::2]]
    assert layers == [(4096, 2048), (2048, 2048), (2048, 14)]
    parameters = sum(p.numel() for part in (network, built) for p in part.parameters())
    assert parameters == 29_880_347


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": [16], "tap": "conv5", "loss": "l2norm"},
        {"iou": "joint8", "soft_bins": True},
        {"bins": 8, "patterns": [3, 1], "tap": "conv3"},
    ],
)
def test_other_options_keep_the_contract(options):
    check_pretext(Statistics(name="statistics", **options), Consecutive(name="consecutive"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"patterns": [], "whole": False}, "no labels are left"),
        ({"motion": 0, "appearance": 0}, "one of them must count"),
        ({"patterns": [1, 1]}, "not all different"),
        ({"patterns": [4]}, "1, 2 or 3"),
        ({"bins": 1}, "greater than or equal to 2"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Statistics(name="statistics", **options)


def test_a_tap_that_is_not_there():
    with pytest.raises(UsageError, match="no tap 'conv9'"):
        pretext(tap="conv9")


def sampler(**options):
    return Consecutive(name="consecutive", **options).build()


@pytest.mark.parametrize(("frames", "pieces"), [(16, 1), (31, 1), (32, 2), (186, 11)])
def test_pieces_do_not_overlap_and_an_epoch_visits_all(frames, pieces):
    built, video = sampler(start="pieces"), Video(path="v", frames=frames)
    assert built.visits(video) == pieces
    for epoch in range(2):
        draws = [Draw(0, epoch * pieces + visit, 0) for visit in range(pieces)]
        starts = [int(built.plan(video, draw).views[0].frames[0]) for draw in draws]
        assert starts == [16 * k for k in range(pieces)]


def test_random_starts_are_anywhere():
    built, video = sampler(), Video(path="v", frames=20)
    assert built.visits(video) == 1
    clips = [built.plan(video, Draw(0, epoch, 0)).views[0].frames for epoch in range(100)]
    assert {int(clip[0]) for clip in clips} == set(range(5))
    assert all((np.diff(clip) == 1).all() for clip in clips)


@pytest.mark.parametrize("start", ["pieces", "random"])
def test_short_videos_are_left_out(start):
    built = sampler(start=start)
    assert built.rejects(Video(path="v", frames=15)) == "15 frames; needs at least 16"
    assert built.rejects(Video(path="v", frames=16)) is None


def squares(seed):
    """Return a batch of squares that move right, above or below the middle, faster and faster."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((8, 1, 3, 8, 16, 16), np.uint8)
    flow = np.zeros((8, 1, 2, 7, 16, 16), np.float32)
    for clip in range(8):
        top, left = int(random.integers(2)) * 8 + 1, int(random.integers(5))
        for frame in range(8):
            place = np.s_[top : top + 6, left + frame // 2 : left + frame // 2 + 6]
            pixels[clip, 0, 2 * int(random.integers(2)), frame][place] = 255
            if frame < 7:
                flow[clip, 0, 0, frame][place] = 1 + frame
    pixels, flow = torch.from_numpy(pixels), torch.from_numpy(flow)
    return Batch(pixels.float() / 127 - 1, {}, torch.arange(8), torch.empty(0), pixels, flow)


def test_where_motion_is_can_be_learned():
    torch.manual_seed(0)
    network = R3D(name="r3d", depth=10, width=4).build()
    context = PretextContext(network.feature_dim, network.taps, {}, 1, 8)
    head = Statistics(name="statistics", hidden=[32]).build(context)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=5e-3)
    scores, losses = [], []
    for step in range(60):
        batch = squares(step)
        taps = network(batch.clips.flatten(0, 1))
        features = {name: tap.unflatten(0, (8, 1)) for name, tap in taps.items()}
        terms, metrics = head(features, batch)
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(terms["motion"].item())
        scores.append(metrics["motion_location_accuracy"].item())
    labels = torch.cat([head.targets.labels("motion", squares(step)) for step in range(20)])
    of_a_constant = labels.var(0).mean().item()
    assert np.mean(losses[-10:]) < 0.6 * of_a_constant
    assert np.mean(scores[-10:]) > 0.7


@pytest.mark.parametrize(
    ("share", "taken"),
    [
        ("3/4", [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14]),
        ("1/2", [0, 2, 4, 6, 8, 10, 12, 14]),
        ("1/16", [0]),
        ("1/1", list(range(16))),
    ],
)
def test_shares_of_the_data(toy_recipe, share, taken):
    recipe = PretrainRecipe.model_validate(toy_recipe() | {"share": share})
    videos = [Video(path=f"{i}") for i in range(16)]
    assert [int(video.path) for video in recipe.taken(videos)] == taken


@pytest.mark.parametrize("share", ["5/4", "0/3", "half", 0.5, "1/0"])
def test_refuses_other_shares(toy_recipe, share):
    with pytest.raises(ValidationError, match="share"):
        PretrainRecipe.model_validate(toy_recipe() | {"share": share})


def test_training_takes_its_share(toy_recipe, toy_videos, tmp_path):
    recipe = PretrainRecipe.model_validate(toy_recipe(batch_videos=2) | {"share": "1/4"})
    outcome = pretrain(recipe, toy_videos, Session(tmp_path, device="cpu", dry_run=True))
    assert outcome.cost.videos == 3
