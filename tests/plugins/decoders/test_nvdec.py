"""`nvdec` asks torchcodec for what is wanted, and leaves to PyAV what a GPU does not decode."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.media.decode import read_planes
from vidssl_cli.testing import check_decoder
from vidssl_plugins.decoders import nvdec
from vidssl_plugins.decoders.hooks import Nvdec

OPTIONS = Nvdec(name="nvdec")


@pytest.fixture
def torchcodec(monkeypatch):
    """A stand-in whose GPU decodes as PyAV does; yields what files it opened and frames it read."""
    calls = SimpleNamespace(opened=[], read=[], fallback=None, missing=0)

    class VideoDecoder:
        def __init__(self, source, *, stream_index, device):
            from vidssl_cli.media.probe import probe

            calls.opened.append((source, stream_index, device))
            self.video, self.cpu_fallback = probe(source), calls.fallback

        def __len__(self):
            return self.video.frames - calls.missing

        def get_frames_at(self, indices):
            calls.read.append(indices)
            whole = self.video.height, self.video.width
            return SimpleNamespace(data=torch.from_numpy(read_planes(self.video, indices, whole)))

    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = VideoDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return calls


def test_it_passes_the_check(torchcodec, tmp_path):
    check_decoder(OPTIONS, tmp_path, "cuda")


def test_a_long_video_is_decoded_in_parts(torchcodec, toy_videos, monkeypatch):
    monkeypatch.setattr(nvdec, "_AT_ONCE", 16)
    decode = OPTIONS.build("cuda:1")
    assert decode(toy_videos[0], range(40), (24, 32)).shape == (40, 3, 24, 32)
    assert torchcodec.opened == [(toy_videos[0].path, toy_videos[0].track, "cuda:1")]
    assert [len(indices) for indices in torchcodec.read] == [16, 16, 8]


def test_pictures_that_have_the_size_stay_as_they_are(torchcodec, toy_videos):
    video = toy_videos[0]
    found = OPTIONS.build("cuda")(video, [0, 7], (video.height, video.width))
    assert np.array_equal(found, read_planes(video, [0, 7], (video.height, video.width)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fallback": "Video not supported"}, "not supported"),
        ({"missing": 1}, "39 frames, and not"),
    ],
)
def test_what_the_gpu_does_not_decode_is_refused(change, told, torchcodec, toy_videos):
    vars(torchcodec).update(change)
    with pytest.raises(ValueError, match=told):
        OPTIONS.build("cuda")(toy_videos[0], [0], (24, 32))


def test_it_is_for_gpus():
    with pytest.raises(UsageError, match="nvdec decodes on a GPU, and this computes on cpu"):
        OPTIONS.build("cpu")


def test_without_torchcodec_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(VidsslError) as refused:
        OPTIONS.build("cuda")
    assert "torchcodec" in str(refused.value)
    assert "vidssl[nvdec]" in refused.value.hint
