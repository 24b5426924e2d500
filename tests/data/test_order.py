"""The order of visits is a pure function of seed and step, with and without stages."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ClipPlan, Draw, Sampler, Stage
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.order import Order


class Staged(Sampler):
    """Visits a video as often as it has frames, and draws on the first visits first."""

    views, frames = 1, 1

    def __init__(self, *stages):
        self.given = stages

    def visits(self, video):
        return video.frames

    def stages(self, course):
        assert len(course.video) == len(course.number)
        if not self.given:
            return super().stages(course)
        return [Stage(first, np.arange(count)) for first, count in self.given]

    def plan(self, video, draw):
        return ClipPlan(())


def videos(*frames):
    return [Video(path=f"{i}", frames=count) for i, count in enumerate(frames)]


def order(data, sampler, **changes):
    return Order(data, sampler, **{"seed": 3, "batch_videos": 4, "epochs": 2, **changes})


def visited(run, steps):
    """Return (video, address) of every visit."""
    out = []
    for step in steps:
        numbers, draws = run.visits(step)
        assert [draw.video for draw in draws] == numbers
        out += [(draw.video, draw.epoch) for draw in draws]
    return out


def test_one_visit_each_is_a_permutation_per_epoch():
    run = order(videos(*[1] * 9), Staged(), repeats=3)
    assert run.steps == 9 * 3 // 4
    for epoch in range(2):
        expected = Draw(3, epoch, -1)("order").permutation(27)
        steps = range(epoch * run.steps, (epoch + 1) * run.steps)
        assert visited(run, steps) == [(v % 9, epoch * 3 + v // 9) for v in expected[:24].tolist()]


def test_an_epoch_has_every_visit_once():
    run = order(videos(3, 1, 4), Staged())
    for epoch in range(3):
        seen = visited(run, [2 * epoch, 2 * epoch + 1])
        assert Counter(v for v, _ in seen) == {0: 3, 1: 1, 2: 4}
        # What a video is visited for is the visit's number within the epoch.
        assert Counter(visit % 4 for v, visit in seen if v == 2) == dict.fromkeys(range(4), 1)


def test_stages_draw_on_their_part_and_steps_per_epoch_stay():
    run = order(videos(*[1] * 16), Staged((0, 8), (6, 16)), epochs=4)
    assert run.steps == 4
    assert {v for v, _ in visited(run, range(6))} == set(range(8))
    assert {v for v, _ in visited(run, range(6, 10))} == set(range(16))


@given(
    counts=st.lists(st.integers(1, 4), min_size=4, max_size=10),
    repeats=st.integers(1, 3),
    stages=st.lists(st.tuples(st.integers(1, 9), st.integers(4, 10)), max_size=3),
    seed=st.integers(0, 99),
)
def test_no_visit_of_a_run_has_the_address_of_another(counts, repeats, stages, seed):
    total = sum(counts)
    firsts = np.cumsum([0, *(length for length, _ in stages)]).tolist()
    sizes = [min(size, total) for _, size in stages] + [total]
    sampler = Staged(*zip(firsts, sizes, strict=True))
    steps = range(4 * (total * repeats // 4) + 30)
    run = order(videos(*counts), sampler, repeats=repeats, seed=seed)
    seen = visited(run, steps)
    assert len(set(seen)) == len(seen)
    # A run that goes on somewhere in the middle sees what it would have seen.
    again = order(videos(*counts), sampler, repeats=repeats, seed=seed)
    assert visited(again, steps[17:]) == seen[17 * 4 :]


def test_without_a_run_everything_is_drawn_on():
    run = order(videos(*[1] * 16), Staged((0, 8), (6, 16)), epochs=None)
    assert {v for v, _ in visited(run, range(4))} == set(range(16))


def test_a_stage_that_fills_no_batch_is_an_error():
    with pytest.raises(UsageError, match=r"the 3 clips .* from step 0 on do not fill one batch"):
        order(videos(*[1] * 9), Staged((0, 3), (5, 9)))
    with pytest.raises(UsageError, match="do not fill one batch of 4"):
        order(videos(1, 1, 1), Staged())
