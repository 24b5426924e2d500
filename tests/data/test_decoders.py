"""A plugin decodes what it decodes as PyAV does, and faster; PyAV decodes the rest, and says so."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from vidssl_cli.base.errors import MediaError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.hooks import DecoderOptions
from vidssl_cli.data import decoders
from vidssl_cli.data.decoders import PYAV, FrameReader, choose_reader
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.media.decode import read_planes

SIZE = (24, 32)


class Made(DecoderOptions):
    """Decodes by a function."""

    name: Literal["made"] = "made"
    read: Callable[..., Any]

    def build(self, device):
        return self.read


def exact(video, frames, size):
    return read_planes(video, frames, size)


def noisy(video, frames, size):
    """26 dB: errors of 13 levels."""
    pictures = exact(video, frames, size)
    return np.where(pictures > 127, pictures - 13, pictures + 13).astype(np.uint8)


def late(video, frames, size):
    return np.roll(exact(video, frames, size), 1, axis=0)


def slow(video, frames, size):
    time.sleep(0.05)
    return exact(video, frames, size)


def broken(video, frames, size):
    raise RuntimeError("no such codec\nat line 7")


def large(video, frames, size):
    return exact(video, frames, (48, 64))


@pytest.fixture
def rates(monkeypatch):
    """The plugin is measured as the faster one; the decision depends on nothing else then."""
    monkeypatch.setattr(decoders, "_frames_per_second", lambda *_: [400.0, 300.0])


def chosen(read, videos, **more):
    return choose_reader(Made(read=read), videos, SIZE, "cpu", 2, **more)


def test_without_a_plugin_pyav_decodes(toy_videos):
    assert choose_reader(None, toy_videos, SIZE, "cpu") is PYAV


def test_a_plugin_that_is_right_and_faster_decodes(toy_videos, rates, capfd):
    reader = chosen(exact, toy_videos)
    assert reader.name == "made"
    assert "made decodes 400 frames a second, and PyAV 300" in capfd.readouterr().err
    found = reader(toy_videos[0], [0, 3, 39], 24)
    assert np.array_equal(found, read_planes(toy_videos[0], [0, 3, 39], 24))


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (noisy, "26 dB alike"),
        (late, "dB alike"),
        (broken, "RuntimeError: no such codec"),
        (large, "PluginError: it returns uint8 (16, 3, 48, 64), and not uint8 (16, 3, 24, 32)"),
        (lambda *_: None, "PluginError: it returns None None"),
    ],
)
def test_one_that_is_wrong_does_not(read, told, toy_videos, rates, capfd):
    assert chosen(read, toy_videos) is PYAV
    said = capfd.readouterr().err
    assert "PyAV decodes, since" in said
    assert told in said
    assert "line 7" not in said


def test_one_that_is_slow_does_not(toy_videos, capfd):
    assert chosen(slow, toy_videos) is PYAV
    assert capfd.readouterr().err.rstrip().endswith(": PyAV decodes")


def test_it_is_tried_over_the_whole_length_of_several_videos(toy_videos, rates):
    seen = {}

    def watch(video, frames, size):
        seen.setdefault(video.path, set()).update(frames)
        return exact(video, frames, size)

    chosen(watch, toy_videos)
    assert len(seen) == 4
    assert all({0, 39} <= frames for frames in seen.values())


def test_a_video_that_it_cannot_decode_is_for_pyav_and_named_once(toy_videos, capfd):
    calls = []

    def picky(video, frames, size):
        calls.append(video.path)
        return (broken if video.path == toy_videos[1].path else exact)(video, frames, size)

    reader = FrameReader("made", picky)
    for _ in range(2):
        for video in toy_videos[:3]:
            assert np.array_equal(reader(video, [5], SIZE), read_planes(video, [5], SIZE))
    assert calls.count(toy_videos[1].path) == 1
    assert calls.count(toy_videos[0].path) == 2
    assert capfd.readouterr().err.count("cannot decode") == 1


def never(*_):
    raise AssertionError("it is not for plugins")


@pytest.mark.parametrize("change", [{"problems": ("cut off: 3 frames",)}, {"height": None}])
def test_what_is_not_whole_is_for_pyav(change, toy_videos, rates, capfd):
    video = replace(toy_videos[0], **change)
    reader = FrameReader("made", never)
    assert reader(video, [5], SIZE).shape == (1, 3, *SIZE)
    assert chosen(never, [video]) is PYAV
    assert "no video for made to decode" in capfd.readouterr().err


def test_a_file_that_was_replaced_is_an_error(toy_videos):
    other = replace(toy_videos[0], bytes=toy_videos[0].bytes + 1)
    with pytest.raises(MediaError, match="when it was scanned"):
        FrameReader("made", exact)(other, [5], SIZE)


@pytest.fixture
def installed(monkeypatch):
    """Plugins that decode as their names say."""
    calls = []

    class Installed(DecoderOptions):
        name: Literal["exact", "noisy"]

        def build(self, device):
            read = {"exact": exact, "noisy": noisy}[self.name]
            return lambda *asked: calls.append(asked) or read(*asked)

    monkeypatch.setattr(
        "vidssl_cli.config.load.offered", lambda kind: {"exact": Installed, "noisy": Installed}
    )
    return calls


def call(*words):
    return run(app, [str(word) for word in words])


@pytest.mark.parametrize(("name", "used"), [("exact", True), ("noisy", False)])
@pytest.mark.parametrize("command", ["index", "embed"])
def test_embedding_by_a_plugin(
    command, name, used, installed, rates, toy_encoder, toy_videos, tmp_path
):
    toy_encoder().export(tmp_path / "model")
    write_manifest(tmp_path / "videos.jsonl", toy_videos)
    out = tmp_path / {"index": "index", "embed": "features.npz"}[command]
    assert call(command, tmp_path / "model", "--data", tmp_path / "videos.jsonl", "--out", out,
                "--device", "cpu", "--decoder", name) == 0  # fmt: skip
    assert len(installed) == (4 + len(toy_videos) if used else 4)


def test_training_by_a_plugin_is_noted(installed, rates, toy_recipe, toy_videos, tmp_path):
    (tmp_path / "recipe.yaml").write_text(json.dumps(toy_recipe(epochs=1)))
    write_manifest(tmp_path / "videos.jsonl", toy_videos)
    words = "pretrain", tmp_path / "recipe.yaml", "--data", tmp_path / "videos.jsonl"
    for name in ("exact", "pyav"):
        assert call(*words, "--out", tmp_path / name, "--device", "cpu", "--decoder", name) == 0
        assert json.loads((tmp_path / name / "run.json").read_text())["decoder"] == name
    losses = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("exact", "pyav")]
    assert losses[0] == losses[1]
    assert len(installed) > 4


def test_one_that_is_not_installed_is_refused(installed, tmp_path, capfd):
    assert call("pretrain", "demo", "--data", tmp_path, "--out", tmp_path / "run",
                "--decoder", "exakt") == 2  # fmt: skip
    assert "did you mean 'exact'?" in capfd.readouterr().err
