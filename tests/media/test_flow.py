"""Optical flow: what it measures, and packed sets that keep it."""

import json
import shutil
import sys

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.sections import Augment, Input
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.manifest import digest, read_manifest
from vidssl_cli.data.order import Order
from vidssl_cli.data.pack import pack
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.views import decode_views
from vidssl_cli.media import packed
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.flow import FlowEstimator, check_flow, flow_of_views, grey, stored_flow
from vidssl_cli.media.packed import FLOW_SCALE, encode_flow, read_packed_flow
from vidssl_cli.media.probe import probe
from vidssl_plugins.samplers.hooks import Consecutive

SIZE = (48, 64)


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    """Let every test check digests as a process of its own would."""
    monkeypatch.setattr(packed, "_intact", set())


def texture(height=48, width=64, seed=0):
    """Return smooth noise (H, W) that repeats at its borders."""
    noise = np.fft.rfft2(np.random.default_rng(seed).normal(size=(height, width)))
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    smooth = np.fft.irfft2(noise * np.exp(-60 * (x**2 + y**2)), (height, width))
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two videos of 12 and 9 frames that move 2 pixels to the right, and 1 pixel up, per frame."""
    folder = tmp_path_factory.mktemp("flow")
    videos = []
    for number, (frames, step) in enumerate([(12, (0, 2)), (9, (-1, 0))]):
        pictures = [np.roll(texture(), (k * step[0], k * step[1]), (0, 1)) for k in range(frames)]
        path = folder / f"{number}.mp4"
        write_mp4(path, np.stack(pictures)[..., None].repeat(3, -1), 25, crf=10)
        videos.append(probe(str(path)))
    return videos


def views_of(video, *frames):
    views = [np.array(numbers) for numbers in frames]
    return views, decode_views(video, views, SIZE).numpy()


@pytest.mark.parametrize("method", ["dis", "tvl1"])
@pytest.mark.parametrize(("u", "v"), [(2, 0), (-1, 1), (0, -2)])
def test_right_and_down_are_positive(method, u, v):
    before = texture()
    flow = FlowEstimator(method)(before, np.roll(before, (v, u), (0, 1)))
    assert flow.shape == (2, *SIZE)
    assert flow.dtype == np.float32
    assert np.median(flow, (1, 2)) == pytest.approx([u, v], abs=0.3)


def test_pictures_that_are_too_small_are_told():
    small = np.zeros((4, 8), np.uint8)
    with pytest.raises(UsageError, match="no optical flow of pictures of 4 x 8 pixels"):
        FlowEstimator("dis")(small, small)


def test_grey_is_luma():
    picture = np.array([255, 0, 0, 0, 255, 0, 0, 0, 255]).reshape(3, 3, 1).astype(np.uint8)
    assert grey(picture)[:, 0].tolist() == [76, 150, 29]


def test_flow_of_views_is_that_of_their_pairs(sources):
    views, pictures = views_of(sources[0], [0, 1, 2], [2, 1, 0], [5, 5, 9])
    flow = flow_of_views(sources[0], views, pictures, "dis")
    assert flow.shape == (3, 2, 2, *SIZE)
    middle = np.median(flow, (-2, -1))
    expected = [[[2, 0], [2, 0]], [[-2, 0], [-2, 0]], [[0, 0], [8, 0]]]
    np.testing.assert_allclose(middle[:2], expected[:2], atol=0.4)
    np.testing.assert_allclose(middle[2, 0], 0, atol=0.01)


def test_kept_flow_is_that_of_the_pictures_to_half_a_unit(sources, tmp_path):
    made = pack(sources, tmp_path / "set", resize=SIZE, form="raw", flow="dis")
    for source, video in zip(sources, made.videos, strict=True):
        views, pictures = views_of(source, np.arange(source.frames))
        expected = flow_of_views(source, views, pictures, "dis")
        found = flow_of_views(video, views, pictures, "dis")
        assert found.shape == (1, source.frames - 1, 2, *SIZE)
        np.testing.assert_allclose(found, expected.clip(-20, 20), atol=FLOW_SCALE / 2 + 1e-5)


def test_kept_flow_needs_no_opencv_and_other_pairs_do(sources, tmp_path, monkeypatch):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis").videos[0]
    monkeypatch.setitem(sys.modules, "cv2", None)
    views, pictures = views_of(video, [3, 4, 5], [4, 5, 6])
    flow = flow_of_views(video, views, pictures, "dis")
    np.testing.assert_array_equal(flow[0, 1], flow[1, 0])
    check_flow([video], "dis")
    views, pictures = views_of(video, [3, 5, 7])
    with pytest.raises(UsageError, match="needs OpenCV"):
        flow_of_views(video, views, pictures, "dis")


def test_smaller_pictures_have_less_flow(sources, tmp_path):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis").videos[0]
    small = stored_flow(video, [0, 1, 2], (24, 16))
    assert small.shape == (3, 2, 24, 16)
    assert np.median(small, (0, 2, 3)) == pytest.approx([2 / 4, 0], abs=0.1)


def test_flow_is_clipped_at_20_pixels():
    field = np.array([[[-90, -20.0]], [[20, 90]]], np.float32)
    units = np.frombuffer(packed.zlib.decompress(encode_flow(field)), np.int8)
    assert (units * FLOW_SCALE).tolist() == pytest.approx([-20, -20, 20, 20])


def test_a_set_says_what_it_keeps(sources, tmp_path):
    made = pack(sources, tmp_path / "set", resize=SIZE, flow="dis")
    about = json.loads((tmp_path / "set" / "pack.json").read_text())
    assert about["settings"]["flow"] == "dis"
    assert "opencv" in about["made_by"]
    found = open_data(tmp_path / "set")[0]
    assert found == made.videos
    assert [video.packed.flow.method for video in found] == ["dis", "dis"]
    plain = pack(sources, tmp_path / "plain", resize=SIZE)
    assert made.bytes > plain.bytes
    assert digest(made.videos) != digest(plain.videos)
    assert '"flow"' not in (tmp_path / "plain" / "videos.jsonl").read_text()
    # Pictures are the same, whether there is flow beside them or not.
    assert [v.packed.sha256 for v in made.videos] == [v.packed.sha256 for v in plain.videos]


def test_another_method_is_refused(sources, tmp_path):
    made = pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis")
    with pytest.raises(UsageError, match=r"flow dis, not with .*flow tvl1"):
        pack(sources[:1], tmp_path / "set", resize=SIZE, flow="tvl1")
    with pytest.raises(UsageError, match="packed with flow by dis, and the recipe asks for tvl1"):
        check_flow(made.videos, "tvl1")
    sampler = Consecutive(name="consecutive", frames=4).build()
    order = Order(made.videos, sampler, seed=0, batch_videos=1)
    settings = Input(resize=SIZE, crop=32)
    with pytest.raises(UsageError, match="flow by dis") as caught:
        Loader(order, Pipeline(settings, Augment(), frozenset({"flow"}), "tvl1"))
    assert caught.value.where == made.videos[0].path
    assert caught.value.hint == "set flow=dis, or pack with --flow tvl1"


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_damaged_flow_is_refused_and_repaired(sources, tmp_path, harm):
    out = tmp_path / "set"
    video = pack(sources, out, resize=SIZE, flow="dis").videos[1]
    fields = read_packed_flow(video, [1, 4])
    part = tmp_path / "set" / "part-00000.bin"
    content = bytearray(part.read_bytes())
    content[video.packed.flow.offset + 9] ^= 1
    part.unlink()
    part.write_bytes(content if harm == "flip" else content[:-3])
    packed._intact.clear()
    with pytest.raises(DamagedFileError, match="damaged"):
        read_packed_flow(video, [1])
    repaired = pack(sources, out, resize=SIZE, flow="dis").videos[1]
    np.testing.assert_array_equal(read_packed_flow(repaired, [1, 4]), fields)


def test_going_on_computes_nothing_twice(sources, tmp_path, monkeypatch):
    pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis")
    calls = []
    original = FlowEstimator.__call__
    monkeypatch.setattr(FlowEstimator, "__call__", lambda *a: calls.append(1) or original(*a))
    pack(sources, tmp_path / "set", resize=SIZE, flow="dis")
    of_the_new_one = sources[1].frames - 1
    assert of_the_new_one <= len(calls) < 2 * of_the_new_one  # with a few for the forecast


def test_flow_beyond_the_end_is_the_videos_fault(sources, tmp_path):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis").videos[0]
    with pytest.raises(MediaError, match="has no flow at frame 11; 11 are packed"):
        read_packed_flow(video, [11])


def test_a_single_frame_has_no_flow(sources, tmp_path):
    write_mp4(tmp_path / "one.mp4", np.zeros((1, 48, 64, 3), np.uint8), 25)
    source = probe(str(tmp_path / "one.mp4"))
    made = pack([source], tmp_path / "set", resize=SIZE, flow="dis")
    assert made.videos[0].packed.flow.bytes == 8  # the table's only offset
    assert pack([source], tmp_path / "set", resize=SIZE, flow="dis").videos == made.videos


def test_the_command_packs_flow(sources, tmp_path, capfd):
    folder = tmp_path / "videos"
    folder.mkdir()
    for source in sources:
        shutil.copy(source.path, folder)
    out = tmp_path / "set"
    words = ["data", "pack", str(folder), "--out", str(out), "--size", "48x64", "--flow", "dis"]
    assert run(app, words) == 0
    capfd.readouterr()
    assert [v.packed.flow.method for v in read_manifest(out / "videos.jsonl")] == ["dis", "dis"]


def test_packing_flow_without_opencv_fails_before_it_starts(sources, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="needs OpenCV"):
        pack(sources, tmp_path / "set", resize=SIZE, flow="dis")
    assert not (tmp_path / "set").exists()
