"""What a run takes the classes of its own tasks for, on videos that it was not trained on."""

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.registry import offered
from vidssl_cli.contract.reports import PretextScores
from vidssl_cli.evaluation.evaluate import show
from vidssl_cli.evaluation.held_out import pretext_scores
from vidssl_cli.evaluation.made_up import MadeUpStudy
from vidssl_cli.testing import noise_batch
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.evaluators.hooks import Pretext
from vidssl_plugins.pretexts.hooks import Classify, Order, Pace, TemporalTransforms
from vidssl_plugins.samplers import hooks as samplers


def test_confusions_are_figures_and_tables(capsys):
    options = Pretext(name="pretext")
    report = options.build()(MadeUpStudy())
    (figure,) = report.figures
    assert (figure.title, figure.counts) == ("toy.kind", [[9, 1], [1, 9]])
    _, table = report.tables
    assert table.columns == ["", "a", "b", "right, %"]
    assert table.rows == [["a", 9, 1, 90.0], ["b", 1, 9, 90.0]]
    show(options, report)
    assert capsys.readouterr().out.startswith("pretext, percent")


def test_a_run_without_a_task_that_has_an_accuracy():
    class Quiet(MadeUpStudy):
        def pretext_scores(self, weights):
            return PretextScores({"loss": 1.0})

    with pytest.raises(UsageError, match="has an accuracy"):
        Pretext(name="pretext").build()(Quiet())


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        (Pace(name="pace"), samplers.Pace(name="pace")),
        (
            Classify(name="classify", label="order", over="video"),
            samplers.TimeEquivariant(name="time_equivariant"),
        ),
        (Order(name="order"), samplers.PlaybackSpeed(name="playback_speed", speeds=3)),
        (Order(name="order", orders="random"), samplers.ClipOrder(name="clip_order")),
        (
            TemporalTransforms(name="temporal_transforms"),
            samplers.TemporalTransforms(name="temporal_transforms"),
        ),
    ],
    ids=lambda options: options.name,
)
def test_predictions_are_those_that_accuracy_counts(options, sampler):
    torch.manual_seed(0)
    views = sampler.build().views
    context = PretextContext(16, {"feat": 16}, sampler.labels(), views, 12)
    task = options.build(context).eval()
    batch = noise_batch(sampler)
    features = {"feat": torch.randn(12, views, 16)}
    _, metrics = task(features, batch)
    accuracies = [value.item() for name, value in metrics.items() if name.endswith("accuracy")]
    told = task.predictions(features, batch).values()
    shares = [(p == t)[t >= 0].float().mean().item() for p, t in told]
    assert shares == pytest.approx(accuracies)
    assert 0 < min(shares) <= max(shares) < 1


def test_names_of_classes():
    names = {}
    for name, kind in offered("sampler").items():
        if name != "curriculum":
            names |= {f"{name}.{k}": list(v) for k, v in kind(name=name).classes().items()}
    assert names["temporal_transforms.speed"] == ["1x", "2x", "4x", "8x"]
    assert names["clip_order.permutation"] == ["123", "132", "213", "231", "312", "321"]
    assert names["rotation.rotation"][1] == "90°"
    wrapped = samplers.Pace(name="pace", paces=["1/3", 2, -3])
    curriculum = samplers.Curriculum(name="curriculum", sampler=wrapped, order="random")
    assert curriculum.classes() == {"pace": ("-3x", "1/3x", "2x")}  # by rank


def test_a_run_is_counted_over_all_held_out_clips(toy_videos, toy_recipe, tmp_path):
    order = {"name": "order", "hidden": 4, "dropout": 0}  # its label is none of the sampler's
    pretexts = [{"name": "pace"}, {"name": "same_context"}, order]
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1) | {"pretext": pretexts})
    pretrain(recipe, toy_videos[:8], Session(tmp_path / "run", device="cpu"))
    found = pretext_scores(tmp_path / "run", toy_videos[8:], trained=True, device="cpu")
    pace, orders = found.confusions
    assert (pace.title, list(pace.classes)) == ("pace.pace", ["1x", "2x", "3x"])
    counts = np.array(pace.counts)
    assert counts.sum() == 2 * 2 * 4  # visits, views, videos
    assert counts.trace() / counts.sum() == pytest.approx(found.values["pace.accuracy"])
    assert (orders.title, list(orders.classes)) == ("order.permutation", ["0", "1"])
    assert np.sum(orders.counts, 1).tolist() == [8, 8]


def test_all_visits_count_where_their_number_is_given(toy_videos, toy_recipe, tmp_path):
    """Three videos and five visits are 15, which batches of two would not hold."""
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1) | {"pretext": [{"name": "pace"}]})
    pretrain(recipe, toy_videos[:8], Session(tmp_path / "run", device="cpu"))
    about = {"trained": True, "device": "cpu", "visits": 5}
    first, again = (pretext_scores(tmp_path / "run", toy_videos[8:11], **about) for _ in range(2))
    assert np.sum(first.confusions[0].counts) == 5 * 3 * 2  # visits, videos, views
    assert first == again
