"""Pixels and flow go through the geometry of the clips, and through nothing else."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.sections import Augment, Blur, Colour, Input, ResizedCrop
from vidssl_cli.contract.clips import Batch
from vidssl_cli.data.augment import centre
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.data.streams import cut_flow, cut_pixels
from vidssl_cli.media.decode import read_planes
from vidssl_cli.training.step import split_batch
from vidssl_plugins.samplers.hooks import Consecutive, Pace

SETTINGS = Input(resize=(24, 32), crop=16, mode="residual")
BOTH = frozenset({"pixels", "flow"})


def loader(videos, augment, streams=BOTH, workers=0):
    sampler = Consecutive(name="consecutive", frames=5).build()
    order = Order(videos, sampler, seed=1, batch_videos=4)
    return Loader(order, Pipeline(SETTINGS, augment, streams), workers=workers)


def parameters(box=(2, 3, 8, 8), flip=False, turns=0):
    return replace(
        centre((8, 8), 8), box=np.array([box]), flip=np.array([flip]), turns=np.array([turns])
    )


def field(u=2.0, v=1.0):
    """Flow of frames of 16 x 16 that is larger to the right."""
    grow = torch.arange(16.0).expand(3, 16, 16)
    return torch.stack([u + grow, v + grow], 1)


def test_streams_of_a_batch(toy_videos):
    augment = Augment(flip=1, colour=Colour(brightness=0.9), grey=1, blur=Blur(probability=1))
    for batch in loader(toy_videos, augment).epoch(0):
        assert batch.clips.shape == (4, 1, 3, 5, 16, 16)
        assert batch.pixels.shape == (4, 1, 3, 5, 16, 16)
        assert batch.pixels.dtype == torch.uint8
        assert batch.flow.shape == (4, 1, 2, 4, 16, 16)
        assert batch.flow.dtype == torch.float32


def test_pixels_are_those_of_the_video(toy_videos):
    augment = Augment(crop="center", flip=1, colour=Colour(brightness=0.9), grey=1)
    batch = next(loader(toy_videos, augment).epoch(0))
    for video, frames, pixels in zip(batch.video, batch.frames, batch.pixels, strict=True):
        expected = read_planes(toy_videos[video], frames[0].tolist(), (24, 32))
        expected = expected[:, :, 4:20, 8:24][..., ::-1].transpose(1, 0, 2, 3)
        np.testing.assert_array_equal(pixels[0].numpy(), expected)


def test_nobody_asks_nothing_comes(toy_videos, monkeypatch):
    monkeypatch.setattr("vidssl_cli.data.samples.flow_of_views", None)
    batch = next(loader(toy_videos, Augment(), frozenset()).epoch(0))
    assert batch.pixels is None
    assert batch.flow is None


def test_streams_do_not_change_clips(toy_videos):
    plain = next(loader(toy_videos, Augment(), frozenset()).epoch(0))
    assert torch.equal(plain.clips, next(loader(toy_videos, Augment()).epoch(0)).clips)


def test_a_box_as_large_as_the_square_is_cut():
    flow = cut_flow([field()], parameters(), 8)[0]
    assert torch.equal(flow, field()[..., 2:10, 3:11].transpose(0, 1))


def test_mirrored_flow_goes_the_other_way():
    plain = cut_flow([field()], parameters(), 8)
    mirrored = cut_flow([field()], parameters(flip=True), 8)
    assert torch.equal(mirrored[:, 0], -plain[:, 0].flip(-1))
    assert torch.equal(mirrored[:, 1], plain[:, 1].flip(-1))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_flow_turns_along(turns):
    right = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 16, 16)
    flow = cut_flow([right], parameters(turns=turns), 8)[0, :, 0, 0, 0]
    assert flow.tolist() == {1: [0, -1], 2: [-1, 0], 3: [0, 1]}[turns]


def test_flow_is_measured_in_pixels_of_the_square():
    constant = torch.full((3, 2, 16, 16), 3.0)
    flow = cut_flow([constant], parameters(box=(0, 0, 4, 16)), 8)[0]
    torch.testing.assert_close(flow[0], torch.full_like(flow[0], 1.5))
    torch.testing.assert_close(flow[1], torch.full_like(flow[1], 6.0))


def test_scaled_pixels_are_rounded():
    picture = torch.tensor([0, 101], dtype=torch.uint8).repeat(8).expand(2, 3, 16, 16)
    pixels = cut_pixels([picture], parameters(box=(0, 0, 16, 16)), 8)
    assert pixels.dtype == torch.uint8
    assert set(pixels.unique().tolist()) == {43, 50, 58}  # of 43.3, 50.5 and 57.7


@pytest.mark.parametrize("crop", ["random", ResizedCrop(scale=(0.3, 1))])
def test_flow_moves_pixels_to_where_they_are_next(toy_videos, crop):
    """Frame k at x is frame k + 1 at x + flow: compare with no motion, in the middle."""
    settings = Augment(crop=crop)
    better = []
    for batch in loader(toy_videos, settings).epoch(0):
        pixels, flow = batch.pixels[:, 0].float(), batch.flow[:, 0]
        now, after = pixels[:, :, 1].mean(1, keepdim=True), pixels[:, :, 2].mean(1, keepdim=True)
        grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="xy"), -1)
        place = (grid + flow[:, :, 1].permute(0, 2, 3, 1)) * 2 / 15 - 1
        moved = torch.nn.functional.grid_sample(after, place, align_corners=True)
        middle = (slice(None), slice(None), slice(4, 12), slice(4, 12))
        errors = [(x - now)[middle].abs().mean((1, 2, 3)) for x in (moved, after)]
        better += (errors[0] < errors[1]).tolist()
    assert np.mean(better) > 0.8


def test_accumulationsplit_batchs_streams(toy_videos):
    batch = next(loader(toy_videos, Augment()).epoch(0))
    parts = list(split_batch(batch, 2))
    assert torch.equal(torch.cat([part.pixels for part in parts]), batch.pixels)
    assert torch.equal(torch.cat([part.flow for part in parts]), batch.flow)
    bare = Batch(batch.clips, {}, batch.video, batch.frames)
    assert [(part.pixels, part.flow) for part in split_batch(bare, 2)] == [(None, None)] * 2


def test_workers_do_not_change_streams(toy_videos):
    for one, other in zip(
        loader(toy_videos, Augment()).epoch(0),
        loader(toy_videos, Augment(), workers=3).epoch(0),
        strict=True,
    ):
        assert torch.equal(one.flow, other.flow)
        assert torch.equal(one.pixels, other.pixels)


def test_any_sampler_may_have_flow(toy_videos):
    sampler = Pace(name="pace", views=2, frames=4).build()
    order = Order(toy_videos, sampler, seed=0, batch_videos=4)
    feed = Loader(order, Pipeline(SETTINGS, Augment(), BOTH), workers=0)
    assert next(feed.epoch(0)).flow.shape == (4, 2, 2, 3, 16, 16)


def test_a_missing_opencv_is_told_at_once(toy_videos, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="needs OpenCV") as caught:
        loader(toy_videos, Augment())
    assert "pip install opencv-contrib-python-headless" in caught.value.hint
    loader(toy_videos, Augment(), frozenset({"pixels"}))
