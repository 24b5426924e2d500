"""Batches are the same whatever loads them; unreadable videos leave a named gap."""

import threading
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import MediaError, PluginError, UsageError, VidsslError
from vidssl_cli.config.sections import Augment, Colour, Input
from vidssl_cli.contract.clips import ClipPlan, View
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.loader import Loader, Throughput, check_plan
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.data.views import PREFETCH, decode_views
from vidssl_cli.media.decode import read_planes
from vidssl_cli.training.step import split_batch
from vidssl_plugins.samplers.hooks import Pace, TimeEquivariant
from vidssl_plugins.samplers.pace import PaceSampler

SETTINGS = Input(resize=(24, 32), crop=16)
AUGMENT = Augment(grey=0.2, colour=Colour(brightness=0.4, hue=0.1, per="frame"))


def loader(videos, batch_videos=4, repeats=1, **changes):
    sampler = Pace(name="pace", views=2, frames=4).build()
    order = Order(videos, sampler, seed=7, batch_videos=batch_videos, repeats=repeats)
    return Loader(order, Pipeline(SETTINGS, AUGMENT), **{"on_skip": fail, "workers": 0} | changes)


def fail(error):
    raise error


def batches(loader, epoch=0, first_step=0):
    return list(loader.epoch(epoch, first_step))


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.video, b.video)
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.clips, b.clips)
        assert a.labels.keys() == b.labels.keys()
        assert all(torch.equal(a.labels[name], b.labels[name]) for name in a.labels)


def test_shapes_and_labels(toy_videos):
    batch = batches(loader(toy_videos, labels=np.arange(len(toy_videos)) * 10))[0]
    assert batch.clips.shape == (4, 2, 3, 4, 16, 16)
    assert batch.clips.dtype == torch.float32
    assert batch.labels["pace"].shape == (4, 2)
    assert torch.equal(batch.labels["class"], batch.video * 10)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_do_not_change_samples(toy_videos, workers):
    assert_same(batches(loader(toy_videos)), batches(loader(toy_videos, workers=workers)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_are_those_of_the_whole_batch(toy_videos, workers, count):
    feed = loader(toy_videos, workers=workers)
    whole = batches(loader(toy_videos))
    for parts, batch in zip(feed.in_parts(0, feed.steps, count), whole, strict=True):
        expected = list(split_batch(batch, count))
        assert (parts.videos, parts.clips) == (4, 8)
        for _ in range(2):  # a step that overflows in fp16 is taken again
            assert_same(list(parts), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_few_parts_exist_at_a_time(toy_videos, workers, monkeypatch):
    made, most = [], []

    def collate(self, samples, labels=None):
        batch = whole(self, samples, labels)
        made.append(weakref.ref(batch.clips))
        most.append(sum(clips() is not None for clips in made))
        return batch

    whole = Pipeline.collate
    monkeypatch.setattr(Pipeline, "collate", collate)
    feed = loader(toy_videos, batch_videos=6, repeats=2, workers=workers)
    for parts in feed.in_parts(0, feed.steps, 6):
        for part in parts:
            del part
    assert len(made) == 6 * feed.steps
    assert max(most) <= 4  # in use, the next one, and the first of the next batch; one is made


def test_resuming_inside_an_epoch_does_not_change_samples(toy_videos):
    assert_same(batches(loader(toy_videos))[2:], batches(loader(toy_videos), first_step=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_one_another_without_a_break(toy_videos, workers):
    feed = loader(toy_videos, workers=workers)
    apart = [*batches(feed, 0, 1), *batches(feed, 1)]
    assert_same(list(feed.batches(1, 2 * feed.steps)), apart)


def test_a_peek_shows_the_beginning_of_a_batch(toy_videos):
    feed = loader(toy_videos)
    samples, batch = feed.peek(1, 2, 3)
    whole = batches(feed, 1)[2]
    assert torch.equal(batch.clips, whole.clips[:3])
    assert torch.equal(batch.frames, whole.frames[:3])
    assert [sample.video for sample in samples] == whole.video[:3].tolist()
    with pytest.raises(UsageError, match="no step 3: an epoch has 3"):
        feed.peek(0, 3, 1)


def test_processes_share_the_global_batch(toy_videos):
    whole = batches(loader(toy_videos))
    parts = [batches(loader(toy_videos, rank=rank, processes=2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        joined = torch.cat([part[step].clips for part in parts])
        assert torch.equal(joined, batch.clips)


def test_a_process_plans_only_its_own_part(toy_videos, monkeypatch):
    planned = []

    def plan(sampler, video, draw, plan=PaceSampler.plan):
        planned.append(video.path)
        return plan(sampler, video, draw)

    monkeypatch.setattr(PaceSampler, "plan", plan)
    batch = next(loader(toy_videos, rank=1, processes=2).epoch(0))
    assert planned == [toy_videos[number].path for number in batch.video]


@pytest.mark.parametrize("plan", [{"relation": "balanced"}, {"equivariance": "spatial"}])
def test_parts_of_couples_are_those_of_the_batch(plan, toy_videos):
    sampler = TimeEquivariant(name="time_equivariant", frames=4, speeds=[0, 1], **plan).build()
    order = Order(toy_videos, sampler, seed=7, batch_videos=4)
    whole = Loader(order, Pipeline(SETTINGS, AUGMENT), workers=0)
    one, other = (
        Loader(order, Pipeline(SETTINGS, AUGMENT), workers=0, rank=rank, processes=2)
        for rank in range(2)
    )
    for batch, *parts in zip(*map(batches, (whole, one, other)), strict=True):
        for name, label in batch.labels.items():
            assert torch.equal(torch.cat([part.labels[name] for part in parts]), label)


def test_an_epoch_visits_every_video_once_and_epochs_differ(toy_videos):
    feed = loader(toy_videos)
    orders = [[v for b in batches(feed, epoch) for v in b.video.tolist()] for epoch in range(2)]
    assert all(sorted(order) == list(range(len(toy_videos))) for order in orders)
    assert orders[0] != orders[1]


def test_repeated_visits_draw_anew(toy_videos):
    feed = loader(toy_videos[:4], repeats=3)
    visits = Counter(number for step in range(3) for number, _, _ in feed.plan(0, step))
    assert set(visits.values()) == {3}
    plans = [feed.plan(epoch, step) for epoch in range(2) for step in range(3)]
    draws = {(number, draw.epoch) for plan in plans for number, draw, _ in plan}
    assert len(draws) == 4 * 3 * 2


def test_an_unreadable_video_leaves_a_gap_and_the_rest_alone(toy_videos, tmp_path):
    lost = 5
    videos = list(toy_videos)
    videos[lost] = replace(videos[lost], path=str(tmp_path / "lost.mp4"))
    skipped = []
    damaged = batches(loader(videos, on_skip=skipped.append))
    assert {error.where for error in skipped} == {videos[lost].path}
    for whole, rest in zip(batches(loader(toy_videos)), damaged, strict=True):
        kept = whole.video != lost
        assert torch.equal(whole.video[kept], rest.video)
        assert torch.equal(whole.clips[kept], rest.clips)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_that_fails_names_the_video(toy_videos, monkeypatch, workers):
    def run_out_of_memory(video, *_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr("vidssl_cli.data.samples.decode_views", run_out_of_memory)
    with pytest.raises(
        VidsslError, match=r"a worker failed at .*mp4: MemoryError: no room"
    ) as seen:
        batches(loader(toy_videos, workers=workers))
    assert seen.value.where in {video.path for video in toy_videos}
    for thread in threading.enumerate():  # nobody waited for them
        if thread.name.startswith("decode"):
            thread.join(60)
            assert not thread.is_alive()


def test_few_batches_are_ahead_of_the_one_in_use(toy_videos):
    feed = loader(toy_videos, repeats=20, workers=2)
    epoch, started = feed.epoch(0), []
    feed._load = lambda *item, load=feed._load: started.append(item) or load(*item)
    for step in range(1, 6):
        next(epoch)
        # In use are the first ones, up to step; the next is augmented, the rest is decoded.
        assert len(started) <= (step + 1 + PREFETCH) * feed.order.batch_videos
    epoch.close()


def test_capacity_is_measured_as_batches_are_made(toy_videos):
    feed = loader(toy_videos)
    assert feed.capacity() == 0
    clips = sum(batch.clips.shape[:2].numel() for batch in feed.epoch(0))
    assert feed.throughput.clips == clips
    assert feed.capacity() > 0


def test_capacity_is_that_of_the_slower_threads():
    measured = Throughput(clips=60, decoding=6, augmenting=4)
    assert measured.capacity(0) == 6
    assert measured.capacity(1) == 10
    assert measured.capacity(3) == 15
    assert replace(measured, planning=12).capacity(3) == 5
    assert replace(measured, planning=2).capacity(0) == 5


def test_a_batch_without_any_readable_video_is_an_error(toy_videos, tmp_path):
    videos = [replace(video, path=str(tmp_path / "lost.mp4")) for video in toy_videos]
    with pytest.raises(MediaError, match="no video of a batch of 4 can be read"):
        batches(loader(videos, on_skip=lambda error: None))


def test_a_batch_that_cannot_be_filled_or_shared_is_an_error(toy_videos):
    with pytest.raises(UsageError, match="do not fill one batch of 64"):
        loader(toy_videos, batch_videos=64)
    with pytest.raises(UsageError, match="3 processes cannot share"):
        loader(toy_videos, processes=3)


def test_views_gather_from_one_decode(toy_videos):
    views = [np.array([5, 3, 3, 9]), np.array([9, 8, 7, 5])]
    pixels = decode_views(toy_videos[0], views, (24, 32))
    for row, numbers in zip(pixels, views, strict=True):
        for picture, number in zip(row, numbers, strict=True):
            expected = read_planes(toy_videos[0], [int(number)], (24, 32))[0]
            np.testing.assert_array_equal(picture, expected)


def test_short_side_resizing(toy_videos):
    settings = Input(resize=20, crop=20)
    order = Order(toy_videos, Pace(name="pace", frames=4).build(), seed=0, batch_videos=4)
    feed = Loader(order, Pipeline(settings, Augment()), workers=0, on_skip=fail)
    for batch in feed.epoch(0):
        assert batch.clips.shape[-2:] == (20, 20)


def test_an_impossible_plan_is_refused_with_the_video():
    video = Video(path="a.mp4", frames=10, fps=25.0)
    with pytest.raises(PluginError, match=r"makes of a\.mp4 a int"):
        check_plan(3, video)
    beyond = ClipPlan((View(np.arange(5, 11)),))
    with pytest.raises(PluginError, match=r"plans frames 5 to 10 of a\.mp4, which has 10"):
        check_plan(beyond, video)
