"""Gradients of pretext decisions, on networks that are known to look at one place."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.pages.attention import visualize
from vidssl_cli.pages.attention_maps import Explainer, Settings
from vidssl_cli.pages.decisions import Heads, explain_decision
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.pretexts.hooks import Classify, Order, Pace, TemporalTransforms


class Halves(nn.Module):
    """Feature 0 is the rectified mean of the left half of a clip, feature 1 of the right half."""

    feature_dim = 2
    taps = {"feat": 2}  # noqa: RUF012

    def forward(self, clips):
        halves = torch.relu(clips).unflatten(-1, (2, -1)).mean((1, 2, 3, 5))
        return {"feat": halves}


class Net(PretrainLearner):
    """The halves with some pretext heads; no recipe is needed."""

    def __init__(self, *pretexts):
        nn.Module.__init__(self)
        self.backbone, self.pretexts = Halves(), nn.ModuleList(pretexts)
        self.precision = torch.float32


def heads(options, labels, views=1, weight=None, names=()):
    pretext = options.build(PretextContext(2, Halves.taps, labels, views, 4))
    if weight is not None:
        with torch.no_grad():
            pretext.head[-1].weight.copy_(torch.tensor(weight))
            pretext.head[-1].bias.zero_()
    return Heads(Net(pretext), dict(names), views)


def clips(count=1, seed=0):
    return torch.rand(count, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) + 0.1


EYE = [[1.0, 0.0], [0.0, 1.0]]


def test_the_gradient_of_a_class_lies_where_its_feature_comes_from():
    """The logit of a class is the mean of 3 x 4 x 8 x 4 values: each has 1/384 of it."""
    looks = heads(Pace(name="pace"), {"pace": 2}, weight=EYE, names={"pace": ("1x", "2x")})
    for place, name in enumerate(("1x", "2x")):
        ((gradient, said),) = explain_decision(looks, clips(), f"pace={name}")
        assert said.startswith(f"logit of pace {name}, probability 0.5")
        half = gradient.unflatten(-1, (2, -1))
        assert half[..., place, :].numpy() == pytest.approx(1 / 384)
        assert not half[..., 1 - place, :].any()


def test_without_a_class_it_is_the_one_that_is_decided_for():
    looks = heads(Pace(name="pace"), {"pace": 2}, weight=EYE)
    left, right = clips(2)
    left[..., 4:] /= 2
    right[..., :4] /= 2
    found = explain_decision(looks, torch.stack([left, right]), "pace")
    assert [said.partition(",")[0] for _, said in found] == ["logit of pace 0", "logit of pace 1"]
    assert not found[0][0][..., 4:].any()
    assert not found[1][0][..., :4].any()
    softmax = torch.relu(left).unflatten(-1, (2, -1)).mean((0, 1, 2, 4)).softmax(0)
    assert found[0][1].endswith(f"probability {softmax[0]:.2f}")


def test_what_lowers_a_logit_does_not_pass_a_rectifier():
    looks = heads(Pace(name="pace"), {"pace": 2}, weight=[[1.0, -1.0], [0.0, 0.0]])
    ((gradient, _),) = explain_decision(looks, clips(), "pace=0")
    assert gradient[..., :4].all()
    assert not gradient[..., 4:].any()  # the plain gradient is -1/384 here


def test_temporal_transformations_decide_about_the_type_and_the_speed():
    labels = {"transform": 2, "speed": 2}
    names = {"transform": ("speed", "warp"), "speed": ("1x", "2x")}
    weight = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]  # two types, then two speeds
    task = TemporalTransforms(name="temporal_transforms")
    looks = heads(task, labels, weight=weight, names=names)
    for decision, place in {"transform=warp": 1, "speed=1x": 1, "speed=2x": 0}.items():
        ((gradient, _),) = explain_decision(looks, clips(), decision)
        parts = gradient.unflatten(-1, (2, -1)).abs().sum((0, 1, 2, 4))
        assert parts[place] == pytest.approx(1, rel=1e-5)
        assert parts[1 - place] == 0


@pytest.mark.parametrize("views", [2, 3])
def test_a_decision_about_several_clips_is_propagated_to_all_of_them(views):
    """The weight of the first class on the left half of clip v is v."""
    weight = torch.zeros(2, 2 * views)
    weight[0, ::2] = torch.arange(views) * 1.0
    task = Classify(name="classify", label="order", over="video")
    looks = heads(task, {"order": 2}, views=views, weight=weight.tolist())
    found = explain_decision(looks, clips(views), "order=0")
    assert len({said for _, said in found}) == 1
    for v, (gradient, _) in enumerate(found):
        assert gradient[..., :4].numpy() == pytest.approx(v / 384)
        assert not gradient[..., 4:].any()
    with pytest.raises(
        UsageError, match=f"order is decided about {views} clips of a video together"
    ):
        explain_decision(looks, clips(1), "order")


def test_an_order_is_that_in_which_the_clips_are_given():
    torch.manual_seed(0)
    task = Order(name="order", dropout=0.5)
    looks = heads(task, {}, views=3)
    given = clips(3)
    features = looks.learner.encode(given[None], torch.float32)
    (pretext,) = looks.learner.pretexts
    every, ranks = pretext.logits(features, None)
    shown = {tuple(order): row for order, row in zip(pretext.orders.tolist(), every, strict=True)}
    assert len(ranks) == 6
    for order, row in shown.items():
        assert torch.allclose(looks.logits(given[list(order)], "permutation"), row, atol=1e-6)


@pytest.mark.parametrize(
    ("decision", "message", "hint"),
    [
        ("tempo", "decides nothing about 'tempo'", "it decides about pace"),
        ("pace=9x", "pace has no class '9x'", "it has 1x, 1"),
    ],
)
def test_a_decision_that_is_not_made(decision, message, hint):
    looks = heads(Pace(name="pace"), {"pace": 2}, names={"pace": ("1x",)})
    with pytest.raises(UsageError, match=message) as caught:
        explain_decision(looks, clips(), decision)
    assert caught.value.hint == hint


def test_labels_that_come_twice_are_numbered():
    one = Classify(name="classify", label="speed")
    context = PretextContext(2, Halves.taps, {"speed": 3}, 1, 4)
    net = Net(one.build(context), one.build(context))
    found = net.decisions(net.encode(clips()[None], torch.float32))
    assert list(found) == ["speed", "speed.2"]
    assert not torch.equal(found["speed"], found["speed.2"])


def test_a_map_is_brightest_where_the_decision_rests_on():
    looks = heads(Pace(name="pace"), {"pace": 2}, weight=EYE)
    explainer = Explainer(SimpleNamespace(backbone=looks.learner.backbone), looks)
    settings = Settings("guided_backprop", decision="pace=1", side=8)
    ((values, _),) = explainer.explain(clips() - 0.5, settings)
    lit = (clips() > 0.5).any(1)[0]  # somewhere, a channel that a rectifier lets through
    assert values[..., 4:][lit[..., 4:]].eq(1).all()
    assert values[..., :4].eq(0).all()


@pytest.fixture(scope="module")
def run(toy_videos, toy_recipe, tmp_path_factory):
    order = {"name": "order", "hidden": 4}
    document = toy_recipe(epochs=1)
    recipe = PretrainRecipe.model_validate(document | {"pretext": [{"name": "pace"}, order]})
    out = tmp_path_factory.mktemp("decisions") / "run"
    pretrain(recipe, toy_videos[:8], Session(out, device="cpu"))
    return out


def test_heads_come_from_the_checkpoint(run, toy_videos, tmp_path):
    texts = [toy_videos[0].path]
    settings = Settings("guided_backprop", decision="pace=2x", side=16, clips=2)
    drawings, _ = visualize(run, texts, tmp_path / "out", settings, device="cpu")
    encoder = Encoder.load(run, "cpu")
    _, learner = PretrainLearner.load(run, "last")
    learner.eval()
    said = {drawing.shown["run"] for drawing in drawings}
    assert all(each.startswith("logit of pace 2x, probability 0.") for each in said)
    from vidssl_cli.pages.attention_clips import read_clips

    (group,) = read_clips(encoder, texts, 2, [1], [], None)
    prepared = encoder.prepare([clip.decoded for clip in group])
    with torch.no_grad():
        logits = learner.decisions(learner.encode(prepared[None], torch.float32))["pace"][0]
    expected = [f"{p:.2f}" for p in logits.softmax(1)[:, 1].tolist()]
    assert [drawing.shown["run"][-4:] for drawing in drawings] == expected
    assert drawings[0].shown["run"] != drawings[0].shown["random"]


def test_strides_are_the_clips_of_an_order(run, toy_videos, tmp_path):
    settings = Settings("guided_backprop", decision="permutation", side=16, strides=(1, 3))
    drawings, _ = visualize(run, [toy_videos[0].path], tmp_path / "o", settings, device="cpu")
    assert len({drawing.shown["run"] for drawing in drawings}) == 1
    assert [np.diff(drawing.frames)[0] for drawing in drawings] == [1, 3]
    alone = Settings("guided_backprop", decision="permutation", side=16)
    with pytest.raises(UsageError, match="permutation is decided about 2 clips"):
        visualize(run, [toy_videos[0].path], tmp_path / "none", alone, device="cpu")
    assert not (tmp_path / "none").exists()


def test_an_exported_model_has_no_heads(toy_encoder, toy_videos, tmp_path):
    toy_encoder().export(tmp_path / "model")
    settings = Settings("guided_backprop", decision="pace", side=16)
    with pytest.raises(UsageError, match="it has no heads"):
        visualize(
            tmp_path / "model", [toy_videos[0].path], tmp_path / "out", settings, device="cpu"
        )


@pytest.mark.parametrize("more", [{"method": "attention"}, {"tap": "conv5"}])
def test_a_decision_is_not_of_attention_or_a_tap(more):
    with pytest.raises(UsageError, match="drawn by guided_backprop"):
        Settings(**{"method": "guided_backprop", "decision": "pace"} | more)
