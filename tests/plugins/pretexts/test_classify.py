"""Telling free labels: worked values, what applies, and heads over clips or whole videos."""

import math

import pytest
import torch
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import ABSENT, Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.hooks import Classify
from vidssl_plugins.pretexts.shared.classification import masked_cross_entropy
from vidssl_plugins.pretexts.shared.taps import clip_vectors

CONTEXT = PretextContext(6, {"feat": 6, "conv5": 6}, {"speed": 4, "order": 3, "rate": 0}, 2, 5)


def batch():
    labels = {"speed": torch.tensor([[0, 1], [2, ABSENT]]), "order": torch.tensor([0, 2])}
    return Batch(torch.zeros(2, 2, 3, 4, 8, 8), labels, torch.arange(2), torch.empty(0))


def features():
    generator = torch.Generator().manual_seed(0)
    return {
        "feat": torch.randn(2, 2, 6, generator=generator),
        "conv5": torch.randn(2, 2, 6, 2, 3, 3, generator=generator),
    }


def zeroed(options):
    pretext = options.build(CONTEXT)
    for parameter in pretext.parameters():
        torch.nn.init.zeros_(parameter)
    return pretext


@pytest.mark.parametrize(
    ("label", "over", "classes"), [("speed", "clip", 4), ("order", "video", 3)]
)
def test_a_head_that_knows_nothing_loses_the_logarithm_of_the_classes(label, over, classes):
    options = Classify(name="classify", label=label, over=over, hidden=[5])
    terms, _ = zeroed(options)(features(), batch())
    assert terms["loss"].item() == pytest.approx(math.log(classes), abs=1e-6)


def test_absent_labels_do_not_count():
    logits = torch.tensor([[5.0, 0], [0, 5], [5, 0]])
    loss, accuracy = masked_cross_entropy(logits, torch.tensor([0, 1, ABSENT]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-5)), rel=1e-5)
    assert accuracy.item() == 1
    nothing, _ = masked_cross_entropy(logits, torch.full((3,), ABSENT))
    assert nothing.item() == 0


def test_a_label_of_the_video_is_told_from_all_views():
    pretext = Classify(name="classify", label="order", over="video").build(CONTEXT)
    assert [tuple(p.shape) for p in pretext.parameters()] == [(3, 12), (3,)]


def test_a_quantity_has_no_classes():
    with pytest.raises(UsageError, match="rate is a quantity"):
        Classify(name="classify", label="rate").build(CONTEXT)


def test_maximum_over_space_is_averaged_over_time():
    tap = features()["conv5"]
    found = clip_vectors({"conv5": tap}, "conv5", "max_space")
    expected = torch.stack([tap[..., t, :, :].flatten(-2).max(-1).values for t in (0, 1)]).mean(0)
    torch.testing.assert_close(found, expected)


def test_hidden_layers_are_rectified_and_the_last_is_not():
    kinds = [type(layer).__name__ for layer in mlp([4, 5, 6, 7], norm=True)]
    block = ["Linear", "SyncBatchNorm1d", "ReLU"]
    assert kinds == [*block, *block, "Linear"]


def test_a_recipe_whose_sampler_lacks_the_label_is_refused(toy_recipe):
    with pytest.raises(ValidationError, match="classify needs the label speed"):
        PretrainRecipe.model_validate(
            toy_recipe() | {"pretext": {"name": "classify", "label": "speed"}}
        )


def test_a_difference_is_the_first_view_less_the_second():
    """With the identity for a head, logits are differences; 0.5 less 2 and so on, by hand."""
    context = PretextContext(2, {"feat": 2}, {"delay": 2}, 2, 5)
    pretext = Classify(name="classify", label="delay", over="difference").build(context)
    pretext.head[0].weight.data = torch.eye(2)
    pretext.head[0].bias.data.zero_()
    views = {"feat": torch.tensor([[[0.5, 1], [2, -1]], [[4, 0], [1, 1]]])}
    labels = {"delay": torch.tensor([1, 1])}
    two = Batch(torch.zeros(2, 2, 3, 4, 8, 8), labels, torch.arange(2), torch.empty(0))
    logits, true = pretext.logits(views, two)
    assert logits.tolist() == [[-1.5, 2], [3, -1]]
    assert true.tolist() == [1, 1]
    terms, metrics = pretext(views, two)
    expected = (math.log(1 + math.exp(-3.5)) + math.log(1 + math.exp(4))) / 2
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert metrics["accuracy"].item() == 0.5


def test_a_difference_needs_two_views():
    context = PretextContext(2, {"feat": 2}, {"delay": 2}, 3, 5)
    with pytest.raises(UsageError, match="difference is that of two views; the sampler plans 3"):
        Classify(name="classify", label="delay", over="difference").build(context)
