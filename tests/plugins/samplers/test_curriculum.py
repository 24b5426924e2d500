"""The pacing of a curriculum, and training that goes from easy clips to all."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import Preempted, UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Augment, Input, Step
from vidssl_cli.contract.clips import Course
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.motion_scores import Scoring
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.training.optimizer import lr_factor
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_cli.training.step import Stepper
from vidssl_plugins.samplers.curriculum import ranking
from vidssl_plugins.samplers.hooks import Curriculum

SCORING = Scoring(flow="dis", resize=(24, 32), crop=16, frames=16)
PIECES = {"name": "consecutive", "start": "pieces"}


def curriculum(scores=None, sampler=PIECES, **options):
    name = None if scores is None else str(scores)
    return Curriculum(name="curriculum", sampler=sampler, scores=name, **options)


# Pacing


def usable(pacing, steps, clips=1000, **course):
    """Return how many clips a pacing draws on at each of the steps."""
    options = curriculum(order="random", pacing=pacing)
    found = options.pacing.shares(**{"epoch_steps": 10, "epochs": 4} | course)
    return [int(max(s for s in found if s[0] <= step)[1] * clips) for step in steps]


@pytest.mark.parametrize(
    ("pacing", "steps", "clips"),
    [
        ({"name": "single", "length": 100}, (0, 99, 100, 500), [500, 500, 1000, 1000]),
        (
            {"name": "fixed_exponential", "length": 100},
            (0, 99, 100, 200, 300, 900),
            [125, 125, 250, 500, 1000, 1000],
        ),
        (
            {"name": "varied_exponential", "lengths": [50, 100, 200]},
            (0, 49, 50, 150, 350),
            [125, 125, 250, 500, 1000],
        ),
        ({"name": "constant"}, (0, 5000), [500, 500]),
        ({"name": "fixed_exponential", "length": 7, "start": 1}, (0, 7, 70), [1000] * 3),
    ],
)
def test_printed_paces(pacing, steps, clips):
    unit = {} if pacing["name"] == "constant" else {"unit": "steps"}
    assert usable(pacing | unit, steps) == clips


def test_lengths_in_epochs_and_half_of_the_run():
    assert usable({"name": "single"}, (0, 19, 20)) == [500, 500, 1000]
    assert usable({"name": "single", "length": 3}, (29, 30)) == [500, 1000]


@given(start=st.floats(0.01, 1), increase=st.floats(1.05, 9), step=st.integers(0, 5000))
def test_fixed_steps_follow_the_formula(start, increase, step):
    pacing = {"name": "fixed_exponential", "length": 7, "start": start, "increase": increase}
    expected = min(start * increase ** min(step // 7, 99), 1)  # 1.05^99 > 100
    assert usable(pacing | {"unit": "steps"}, [step], clips=10**6)[0] == pytest.approx(
        expected * 10**6, abs=2
    )


def test_equals_stay_in_order():
    assert ranking(np.array([0.2, 0.9, 0.5, 0.9])).tolist() == [1, 3, 2, 0]
    assert ranking(np.zeros(1000)).tolist() == [*range(1000)]


# The sampler


def course(videos, sampler, **changes):
    counts = [sampler.visits(video) for video in videos]
    number = np.concatenate([np.arange(count) for count in counts])
    video = np.repeat(np.arange(len(videos)), counts)
    return Course(videos, video, number, **{"epoch_steps": 2, "epochs": 4} | changes)


def test_pieces_have_scores_of_their_own(toy_videos, scored):
    path = scored([0.1, 0.8], [0.5, 0.3])
    built = curriculum(path).build()
    first, second = built.stages(course(toy_videos[:2], built))
    assert (first.first_step, second.first_step) == (0, 4)
    assert first.visits.tolist() == [1, 2]  # the second piece of the first, the first of the second
    assert second.visits.tolist() == [1, 2, 3, 0]
    hard = curriculum(path, order="hard").build()
    assert hard.stages(course(toy_videos[:2], hard))[1].visits.tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize(("score", "first"), [("middle", 0), ("mean", 1)])
def test_a_video_has_one_score_where_clips_are_anywhere(toy_videos, scored, score, first):
    path = scored([0.1, 0.8], [0.6, 0.7], [])
    built = curriculum(path, {"name": "consecutive"}, video_score=score).build()
    everything = built.stages(course(toy_videos[:3], built))[-1].visits.tolist()
    assert everything == [first, 1 - first, 2]


def test_scores_of_other_clips_are_refused(toy_videos, scored):
    path = scored(*[[0.1, 0.2, 0.3]] * 12)
    built = curriculum(path).build()
    with pytest.raises(UsageError, match=r"3 clips of 16 frames .* cuts 2 of 16"):
        built.stages(course(toy_videos, built))


def test_random_subsets_are_as_large_and_depend_on_the_seed(toy_videos):
    built = curriculum(order="random", pacing={"name": "constant"}).build()
    stages = [built.stages(course(toy_videos, built, seed=seed)) for seed in (0, 0, 1)]
    chosen = [stage.visits.tolist() for (stage,) in stages]
    assert [len(each) for each in chosen] == [12, 12, 12]
    assert chosen[0] == chosen[1] != chosen[2]


def loader(videos, path, **changes):
    options = curriculum(path, {"name": "consecutive", "start": "pieces"})
    order = Order(videos, options.build(), seed=1, batch_videos=4, epochs=4)
    pipeline = Pipeline(Input(resize=(24, 32), crop=16), Augment())
    return Loader(order, pipeline, workers=0, **changes)


def test_training_goes_from_easy_to_all(toy_videos, scored):
    feed = loader(toy_videos, scored(*[[0.9, 0.1]] * 12))
    assert feed.steps == 24 // 4
    starts = [
        {int(f) for batch in feed.epoch(epoch) for f in batch.frames[:, 0, 0]} for epoch in range(4)
    ]
    assert starts == [{0}, {0}, {0, 16}, {0, 16}]


def test_a_run_that_resumes_sees_the_same(toy_videos, scored):
    path = scored(*[[0.9, 0.1]] * 12)
    whole, rest = list(loader(toy_videos, path).epoch(1)), loader(toy_videos, path).epoch(1, 3)
    for one, other in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.video, other.video)


def test_interrupted_and_resumed_is_bit_identical(
    toy_videos, toy_recipe, scored, tmp_path, monkeypatch
):
    chosen = recipe(toy_recipe, epochs=2, scores=str(scored(*[[0.9, 0.1]] * 12)))
    pretrain(chosen, toy_videos, Session(tmp_path / "whole", device="cpu", workers=1))
    stepped = Stepper.__call__

    def stop(self, batch, step):
        if step == 4:  # of 6 in the first epoch and in the first stage
            os.kill(os.getpid(), signal.SIGTERM)
        return stepped(self, batch, step)

    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "__call__", stop)
        with pytest.raises(Preempted):
            pretrain(chosen, toy_videos, Session(tmp_path / "run", device="cpu", workers=1))
    session = Session(tmp_path / "run", device="cpu", workers=1, resume=True)
    pretrain(chosen, toy_videos, session)
    runs = [
        [json.loads(row) for row in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "run")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 12 + 2


def test_other_scores_do_not_go_on_with_a_run(toy_videos, toy_recipe, scored, tmp_path):
    path = scored(*[[i / 12, 0.1] for i in range(12)])
    chosen = recipe(toy_recipe, epochs=1, scores=str(path))
    pretrain(chosen, toy_videos, Session(tmp_path / "run", device="cpu", workers=1))
    scored(*[[1 - i / 12, 0.1] for i in range(12)])
    session = Session(tmp_path / "run", device="cpu", workers=1, resume=True)
    with pytest.raises(UsageError, match="their scores have changed since"):
        pretrain(chosen, toy_videos, session)


def test_processes_plan_the_same_batches(toy_videos, scored):
    path = scored(*[[i / 12, 0.1] for i in range(12)])
    whole = loader(toy_videos, path)
    parts = [loader(toy_videos, path, rank=rank, processes=2) for rank in range(2)]
    for epoch in (0, 3):
        for batch, *halves in zip(*(feed.epoch(epoch) for feed in (whole, *parts)), strict=True):
            assert torch.equal(torch.cat([half.clips for half in halves]), batch.clips)


def test_no_clip_is_repeated_within_a_pass_or_has_the_address_of_another(toy_videos, scored):
    path = scored(*[[0.1, i / 12] for i in range(12)])  # the second one is the middle
    options = curriculum(path, {"name": "consecutive"})
    run = Order(toy_videos, options.build(), seed=0, batch_videos=3, epochs=4)
    seen = [(draw.video, draw.epoch) for step in range(30) for draw in run.visits(step)[1]]
    assert len(set(seen)) == len(seen)
    for first in range(0, 8, 2):  # passes over the easier half
        assert {video for video, _ in seen[first * 3 : (first + 2) * 3]} == set(range(6, 12))


# Recipes


def recipe(toy_recipe, epochs=8, **sampler):
    document = toy_recipe(epochs=epochs) | {"pretext": {"name": "statistics"}}
    return PretrainRecipe.model_validate(
        document | {"sampler": {"name": "curriculum", "sampler": PIECES} | sampler}
    )


def test_any_sampler_fits_and_is_written_as_it_is_read(toy_recipe):
    read = recipe(toy_recipe, scores="s.jsonl", sampler={"name": "pace", "paces": [1, "1/2"]})
    assert read.sampler.labels() == {"pace": 2}
    again = PretrainRecipe.model_validate(read.model_dump(mode="json"))
    assert again == read
    assert recipe(toy_recipe, scores="s").sampler.build().frames == 16


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "order easy needs scores"),
        ({"order": "hard"}, "order hard needs scores"),
        ({"scores": "s", "sampler": {"name": "consecutive", "start": "here"}}, "random"),
        (
            {"scores": "s", "sampler": {"name": "curriculum", "sampler": PIECES, "scores": "s"}},
            "cannot be the sampler of a curriculum",
        ),
        ({"scores": "s", "pacing": {"name": "fixed_exponential", "length": 3, "increase": 1}},
         "greater than 1"),
    ],
)  # fmt: skip
def test_refuses(toy_recipe, options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        recipe(toy_recipe, **options)


def test_the_rate_restarts_where_it_is_told():
    schedule = Step(name="step", every=2, restarts=(5,))
    factors = [lr_factor(schedule, step, 1, 10) for step in range(10)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 1, 1, 0.1, 0.1, 0.01])
