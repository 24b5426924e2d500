"""Samplers of synchronisation and before/after: delays and orders are those of the labels."""

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.hooks import BeforeAfter, Sync


def plans(options, frames, count=300):
    sampler, video = options.build(), Video("a.mp4", frames=frames)
    assert sampler.rejects(video) is None
    return [sampler.plan(video, Draw(0, epoch, 0)) for epoch in range(count)]


def alike(plan):
    """Tell whether all views share crop, mirroring and colours."""
    return all(
        {getattr(v, key) for v in plan.views} == {"video"} for key in ("crop", "flip", "colour")
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_the_label_is_the_delay_of_the_second_clip(stride):
    options, seen = Sync(name="sync", reach=3, stride=stride, frames=8), Counter()
    for plan in plans(options, 7 * stride + 1 + 3 * stride):
        first, second = (view.frames for view in plan.views)
        assert set(np.diff(first)) == set(np.diff(second)) == {stride}
        delay = int(plan.labels["delay"]) - 3
        assert second[0] - first[0] == stride * delay
        assert min(first[0], second[0]) >= 0
        assert max(first[-1], second[-1]) <= 10 * stride
        assert alike(plan)
        seen[delay] += 1
    assert sorted(seen) == [*range(-3, 4)]
    assert options.labels() == {"delay": 7}
    assert options.classes()["delay"] == ("-3", "-2", "-1", "0", "+1", "+2", "+3")


def test_the_label_is_the_order_of_the_halves():
    gaps = Counter()
    for plan in plans(BeforeAfter(name="before_after", frames=8), 11):
        before, after = (view.frames for view in plan.views)
        assert plan.labels["order"].tolist() == [0, 1]
        assert (before[:4] == after[4:]).all()
        assert (before[4:] == after[:4]).all()
        assert (np.diff(before[:4]) == 1).all()
        assert (np.diff(before[4:]) == 1).all()
        assert 0 <= before[0] < before[-1] <= 10
        assert alike(plan)
        gaps[int(before[4] - before[3]) - 1] += 1
    assert sorted(gaps) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "needs"), [(Sync, 22), (BeforeAfter, 16)], ids=["sync", "before_after"]
)
def test_short_videos(kind, needs):
    name = kind.model_fields["name"].annotation.__args__[0]
    short = Video("a.mp4", frames=needs - 1)
    assert f"needs at least {needs}" in kind(name=name).build().rejects(short)
    with pytest.raises(UsageError, match=f"needs at least {needs}"):
        kind(name=name, short_video="error").build().rejects(short)
    loop = kind(name=name, short_video="loop").build()
    assert loop.rejects(short) is None
    for epoch in range(50):
        for view in loop.plan(short, Draw(0, epoch, 0)).views:
            assert 0 <= view.frames.min() <= view.frames.max() < needs - 1


def test_a_clip_of_two_halves_has_an_even_number_of_frames():
    with pytest.raises(ValidationError, match="multiple of 2"):
        BeforeAfter(name="before_after", frames=15)
