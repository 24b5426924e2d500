"""Probes of time, on made-up networks that see order and motion or do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.contract.metrics import confusion
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.evaluate import evaluate
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.model.card import Card
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.run_directory import read_facts
from vidssl_plugins.backbones.hooks import R3D
from vidssl_plugins.evaluators.hooks import BeforeAfter, Still, Sync
from vidssl_plugins.evaluators.shared.time_task import accuracy
from vidssl_plugins.evaluators.sync import chance_errors, mean_error
from vidssl_plugins.samplers.before_after import swapped_halves
from vidssl_plugins.samplers.sync import paired_starts

FC = {"hidden": [16], "norm": False, "epochs": 20, "lr": 0.02}
"""Layers that are learned in no time."""
DIM = 32


def noise(look):
    """Return (clips, D) that belong to the video, whatever its clips show."""
    random = np.random.default_rng([*look.video.path.encode()])
    return np.tile(0.1 * random.normal(size=DIM), (len(look.frames), 1))


def sees(quantity):
    """Make a network whose run weights see a quantity of the frames (clips, T), beside noise."""

    def answer(weights, look, reading):
        assert reading.pool == "flatten"
        features = noise(look)
        if weights == "run":
            features[:, 0] += quantity(look)
        return features

    return answer


def unlabelled(split, number, frames=100):
    return [Video(f"{split}{i}.mp4", split=split, frames=frames, fps=25.0) for i in range(number)]


def study(answer, train=30, test=15, **settings):
    return MadeUpStudy(answer, unlabelled("train", train), unlabelled("test", test), **settings)


def test_sync_scores():
    """T-EV5."""
    true, given = np.array([-6, 0, 3, 6]), np.array([-5, 0, 3, 2])
    counts = confusion(true + 6, given + 6, 13)
    assert (accuracy(counts), mean_error(counts)) == (0.5, 1.25)
    errors = chance_errors(6)
    assert errors["always 0"] == pytest.approx(3.2308, abs=1e-4)
    assert errors["random guesses"] == pytest.approx(4.3077, abs=1e-4)


@given(
    delays=st.lists(st.integers(-6, 6), min_size=1),
    room=st.integers(1, 100),
    seed=st.integers(0, 2**32),
)
def test_both_clips_lie_in_the_video(delays, room, seed):
    starts = paired_starts(np.array(delays), 6 + room, np.random.default_rng(seed))
    assert (np.diff(starts)[:, 0] == delays).all()
    assert starts.min() >= 0
    assert starts.max() < 6 + room


def test_every_place_of_a_clip_can_be_drawn():
    starts = paired_starts(np.repeat([-2, 0, 2], 200), 4, np.random.default_rng(0))
    assert {tuple(pair) for pair in starts.tolist()} == {
        *((2, 0), (3, 1)),
        *((0, 0), (1, 1), (2, 2), (3, 3)),
        *((0, 2), (1, 3)),
    }


@pytest.mark.parametrize("stride", [1, 2])
def test_sync_sees_a_clock(stride):
    """Features that tell the time also tell delays; those that belong to the video do not."""
    clock = sees(lambda look: look.frames[:, 0] / 10)
    options = Sync(name="sync", fc=FC, stride=stride)
    report = options.build()(study(clock))
    run, random = report.rows
    assert run["accuracy"] > 0.5
    assert random["accuracy"] < 0.2
    assert report.chance == pytest.approx(0.0769, abs=1e-4)
    (table,) = report.tables
    errors = dict(table.rows)
    assert errors["run"] < 1 < 2.5 < errors["random"]
    assert errors["always 0"] == pytest.approx(3.2308)
    figure, _ = report.figures
    assert np.sum(figure.counts) == report.facts["test"] == 150
    assert np.trace(figure.counts) / 150 == pytest.approx(run["accuracy"])
    assert figure.classes[::6] == ["-6", "0", "+6"]


def test_sync_shows_pairs_of_overlapping_clips():
    toys = study(sees(lambda look: 0), train=2, test=1)
    Sync(name="sync", fc=FC, pairs=40, stride=2).build()(toys)
    for looks, _, crops in toys.asked:
        assert crops == "centre"  # the same square of both clips
        for look in looks:
            assert look.frames.shape == (80, 16)
            assert (np.diff(look.frames) == 2).all()
            assert look.frames.min() >= 0
            assert look.frames.max() < 100
            delays = look.frames[1::2, 0] - look.frames[::2, 0]
            assert set(delays) <= set(range(-12, 13, 2))
            assert len(set(delays)) > 8


@pytest.mark.parametrize(
    "options", [Sync(name="sync", fc=FC), BeforeAfter(name="before_after", fc=FC)]
)
def test_draws_belong_to_the_seed(options):
    def frames(seed):
        toys = study(sees(lambda look: 0), train=3, test=2)
        options.model_copy(update={"seed": seed}).build()(toys)
        return [look.frames for looks, *_ in toys.asked for look in looks]

    first, again, other = frames(0), frames(0), frames(1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not any((a == b).all() for a, b in zip(first, other, strict=True))
    assert not (first[0] == first[1]).all()  # each video has draws of its own
    assert not (first[0] == first[3]).all()  # and so has each split


@given(count=st.integers(16, 60), seed=st.integers(0, 2**32))
def test_halves_do_not_overlap(count, seed):
    clips = swapped_halves(count, 16, 5, np.random.default_rng(seed))
    assert clips.shape == (10, 16)
    before, after = clips[::2], clips[1::2]
    assert (before[:, :8] == after[:, 8:]).all()
    assert (before[:, 8:] == after[:, :8]).all()
    assert (before[:, 7] < before[:, 8]).all()
    assert (np.diff(before[:, :8]) == 1).all()
    assert (np.diff(before[:, 8:]) == 1).all()
    assert before.min() >= 0
    assert before.max() < count


def test_before_after_sees_order():
    """A difference of the halves tells their order; a mean over all frames does not."""
    options = BeforeAfter(name="before_after", fc=FC)
    order = sees(lambda look: np.sign(look.frames[:, -1] - look.frames[:, 0]))
    no_order = sees(lambda look: look.frames.mean(1) / 10)
    report = options.build()(study(order))
    assert report.rows[0]["accuracy"] > 0.95
    assert report.rows[1]["accuracy"] == 0.5  # one answer for both orders
    assert report.chance == 0.5
    assert options.build()(study(no_order)).rows[0]["accuracy"] == 0.5


def test_clips_without_halves():
    with pytest.raises(UsageError, match="clips of 15 frames have no halves"):
        BeforeAfter(name="before_after").build()(study(sees(lambda look: 0), frames=15))


@pytest.mark.parametrize(
    ("options", "needs"),
    [(Sync(name="sync", fc=FC), 22), (BeforeAfter(name="before_after", fc=FC), 16)],
)
def test_short_videos_are_counted_and_left_out(options, needs):
    toys = study(sees(lambda look: 0), train=4, test=2)
    toys.train = [*toys.train, *unlabelled("train", 3, frames=needs - 1)]
    toys.test = [*toys.test, *unlabelled("test", 1, frames=needs)]
    report = options.build()(toys)
    assert report.facts["videos too short"] == 3
    assert [len(looks) for looks, *_ in toys.asked[:2]] == [4, 3]
    toys.test = unlabelled("test", 2, frames=needs - 1)
    with pytest.raises(UsageError, match=rf"none of the 2 videos .* 'test' has {needs} frames"):
        options.build()(toys)


def test_videos_without_a_split_are_no_examples():
    toys = study(sees(lambda look: 0))
    toys.test = [Video("a.mp4", frames=100)]
    with pytest.raises(UsageError, match="none of the 0 videos of the split 'test'"):
        Sync(name="sync").build()(toys)


def moves(look):
    return np.ptp(look.frames, axis=1) > 0


def test_still_tells_motion_from_appearance():
    """A class that is seen only while something moves is lost on still clips; a look is not."""
    by_motion = sees(lambda look: moves(look) * 3.0 * (int(look.video.label) - 1))
    by_looks = sees(lambda look: 3.0 * (int(look.video.label) - 1))
    options = Still(name="still", fc=FC)
    parts = {"train": labelled("train", 12), "test": labelled("test", 6)}
    report = options.build()(MadeUpStudy(by_motion, **parts))
    run, random = report.rows
    assert run["accuracy"] > 0.9
    assert run["still"] < 0.67
    assert random["accuracy"] < 0.67
    assert report.chances == {"accuracy": pytest.approx(1 / 3), "still": pytest.approx(1 / 3)}
    gaps = dict(report.tables[0].rows)
    assert gaps["run"] == pytest.approx(100 * (run["accuracy"] - run["still"]), abs=0.1)
    run, _ = options.build()(MadeUpStudy(by_looks, **parts)).rows
    assert run["accuracy"] > 0.9
    assert run["still"] > 0.9


def test_still_clips():
    toys = MadeUpStudy(sees(lambda look: 0))
    report = Still(name="still", fc=FC, clips=3).build()(toys)
    assert report.facts["still clips"] == "repeat one frame"
    moving_train, moving_test, still_train, still_test = (looks for looks, *_ in toys.asked[:4])
    assert all(moves(look).all() for look in [*moving_train, *moving_test])
    assert not any(moves(look).any() for look in [*still_train, *still_test])
    assert [look.frames[:, 0].tolist() for look in still_test[:2]] == [[8, 50, 92]] * 2
    assert {look.frames.shape for look in still_train} == {(3, 16)}
    drawn = [look.frames[:, 0].tolist() for look in still_train]
    assert drawn[0] != drawn[1]
    assert 0 <= np.min(drawn) < 20 < 80 < np.max(drawn) < 100


def test_still_says_what_residual_input_makes_of_it():
    report = Still(name="still", fc=FC).build()(MadeUpStudy(sees(lambda look: 0), residual=True))
    assert "all zeros" in report.facts["still clips"]


def test_still_needs_classes():
    toys = MadeUpStudy(train=labelled("train", 4, classes=1))
    with pytest.raises(UsageError, match="4 training videos of 1 class"):
        Still(name="still").build()(toys)


@pytest.mark.parametrize("kind", [Sync, BeforeAfter, Still])
def test_a_tap_that_is_not_there(kind):
    name = kind.model_fields["name"].annotation.__args__[0]
    with pytest.raises(UsageError, match="no tap 'conv9'"):
        kind(name=name, tap="conv9").build()(MadeUpStudy())


@pytest.fixture(scope="module")
def encoder(toy_encoder):
    return toy_encoder()


def test_videos_need_no_labels(encoder, toy_videos):
    """Neither for the tasks nor for the network with random weights."""
    unlabelled = [replace(video, label=None) for video in toy_videos]
    report = evaluate(encoder, unlabelled, BeforeAfter(name="before_after", pairs=2, fc=FC))
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    assert (report.facts["train"], report.facts["test"]) == (32, 16)


def test_a_still_clip_says_nothing_to_a_network_of_differences(encoder, toy_videos):
    report = evaluate(encoder, toy_videos, Still(name="still", clips=2, fc=FC))
    assert "all zeros" in report.facts["still clips"]
    assert {row["still"] for row in report.rows} <= {0, 0.25, 0.5}  # one class for all videos


def test_still_is_tested_on_all_sub_sequences():
    """Of 20 frames, 16 make 5, whose middle frames are repeated; the training has as many clips."""
    parts = {name: labelled(name, 4, frames=20) for name in ("train", "test")}
    toys = MadeUpStudy(sees(lambda look: 0), **parts)
    report = Still(name="still", fc=FC, clips=2, windows="overlap", hop=1).build()(toys)
    moving_train, moving_test, still_train, still_test = (looks for looks, *_ in toys.asked[:4])
    assert {len(look.frames) for look in [*moving_train, *still_train]} == {2}
    assert {tuple(look.frames[:, 0]) for look in moving_test} == {(0, 1, 2, 3, 4)}
    assert {tuple(look.frames[:, 0]) for look in still_test} == {(8, 9, 10, 11, 12)}
    assert (report.facts["windows"], report.facts["hop"]) == ("overlap", 1)


# All layers.

QUICK = ("train.epochs=1", "train.batch_videos=4", "train.precision=fp32", "pretext.0.hidden=[8]")


def test_sync_of_all_layers_counts_by_hand():
    """Half of the answers are right and half one off, but where the delay is the least of 13."""
    toys = study(sees(lambda look: 0))
    report = Sync(name="sync", freeze=False, pairs=3, set=["train.epochs=2"]).build()(toys)
    run, random = report.rows
    assert run["accuracy"] == pytest.approx((12 + 2) / 26)
    assert random["accuracy"] == pytest.approx(1 / 13)
    errors = dict(report.tables[0].rows)
    assert errors["run"] == round(12 / 26, 4)
    assert errors["random"] == errors["always 0"]
    assert np.sum(report.figures[0].counts) == 13 * 2 * 3
    assert report.facts["recipe"] == "papers/temporal-transforms-sync"
    assert report.facts["set"] == ["train.epochs=2"]
    assert toys.asked == []  # no features of a frozen network


def test_what_does_not_apply_is_refused():
    for wrong in ({"set": ["train.epochs=1"]}, {"freeze": False, "tap": "conv5"}):
        with pytest.raises(ValidationError, match="freeze=false"):
            Sync(name="sync", **wrong)
    with pytest.raises(ValidationError, match="fc says how layers learn from a frozen network"):
        BeforeAfter(name="before_after", freeze=False, fc=FC)


@pytest.mark.parametrize("kind", [Sync, BeforeAfter])
def test_all_layers_need_long_videos_of_both_splits(kind):
    name = kind.model_fields["name"].annotation.__args__[0]
    toys = study(sees(lambda look: 0), train=3, test=2)
    toys.train = [*toys.train, *unlabelled("train", 2, frames=15)]
    report = kind(name=name, freeze=False).build()(toys)
    assert report.facts["videos too short"] == 2
    toys.test = unlabelled("test", 2, frames=15)
    with pytest.raises(UsageError, match=r"none of the 2 videos of the split 'test' has"):
        kind(name=name, freeze=False).build()(toys)


@pytest.mark.parametrize(
    ("options", "classes", "clips"),
    [
        (Sync(name="sync", freeze=False, reach=2, pairs=3, set=QUICK), 5, 3),
        (BeforeAfter(name="before_after", freeze=False, pairs=3, set=QUICK), 2, 6),
    ],
    ids=["sync", "before_after"],
)
def test_all_layers_learn_from_the_weights_of_the_run(
    encoder, toy_videos, tmp_path, options, classes, clips
):
    """From the run's, or from random ones; and only once."""
    report = evaluate(encoder, toy_videos, options, tmp_path)
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    trained = {path.name.split("-")[0]: path for path in tmp_path.iterdir() if path.is_dir()}
    assert sorted(trained) == ["learned", "scratch"]
    assert read_facts(trained["learned"])["weights"] == encoder.digest
    assert "weights" not in read_facts(trained["scratch"])
    recipe = load(trained["learned"] / "recipe.yaml")
    assert (recipe.backbone, recipe.input) == (encoder.card.backbone, encoder.card.input)
    assert recipe.sampler.frames == encoder.card.frames
    tested = sum(video.split == "test" for video in toy_videos)
    if classes == 5:
        assert {np.shape(figure.counts) for figure in report.figures} == {(5, 5)}
        assert {np.sum(figure.counts) for figure in report.figures} == {clips * tested}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = evaluate(encoder, toy_videos, options, tmp_path)
    assert again.rows == report.rows
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} == {tmp_path / "report.json"}


def test_learning_begins_at_the_weights_of_the_run(encoder, toy_videos, tmp_path):
    """At a rate of next to nothing the backbone stays what it was."""
    still = (*QUICK, "train.optimizer.lr=1e-30", "train.optimizer.weight_decay=0")
    options = Sync(name="sync", freeze=False, reach=2, pairs=2, set=still)
    evaluate(encoder, toy_videos, options, tmp_path)
    (run,) = tmp_path.glob("learned-*")
    learned = dict(Encoder.load(run, "cpu").backbone.named_parameters())
    for name, weight in encoder.backbone.named_parameters():
        torch.testing.assert_close(learned[name], weight, rtol=0, atol=1e-20)


def test_all_layers_need_a_folder(encoder, toy_videos):
    with pytest.raises(UsageError, match="a folder to train in"):
        evaluate(encoder, toy_videos, Sync(name="sync", freeze=False, reach=2, set=QUICK))


@pytest.mark.slow
def test_all_layers_learn_what_the_videos_show(tmp_path):
    """Every video grows lighter by the same step, so that the order of its parts can be seen."""
    light = (40 + 4 * np.arange(40)).astype(np.uint8)[:, None, None, None]
    videos = []
    for number in range(8):
        path = tmp_path / f"{number}.mp4"
        write_mp4(path, np.broadcast_to(light, (40, 24, 32, 3)), 25)
        videos.append(replace(probe(str(path)), split="train" if number < 6 else "test"))
    backbone = R3D(name="r3d", width=4)
    seen = Input(resize=(24, 32), crop=16)
    card = Card(backbone=backbone, input=seen, frames=8, evaluation=Evaluation(), seed=0)
    torch.manual_seed(0)
    rgb = Encoder(card, backbone.build(), torch.device("cpu"))
    more = ("train.epochs=20", "train.repeats=4", "train.batch_videos=6", "train.optimizer.lr=0.01")
    options = BeforeAfter(name="before_after", freeze=False, set=(*QUICK, *more))
    report = evaluate(rgb, videos, options, tmp_path / "found")
    assert {row["accuracy"] for row in report.rows} == {1}
