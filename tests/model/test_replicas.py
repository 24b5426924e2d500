"""Copies of a network on several devices: they compute at a time, and results keep their order."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from simulated_gpu.device import simulate
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data import views
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.replicas import spread

CPU = torch.device("cpu")


def places(count):
    return [SimpleNamespace(device=CPU, number=number) for number in range(count)]


def test_all_compute_at_a_time_and_results_come_in_order():
    together = threading.Barrier(3, timeout=20)  # passes only if three are in it at once

    def compute(network, item):
        together.wait()
        return network.number, item

    found = list(spread(places(3), compute, iter(range(6))))
    assert [item for _, item in found] == [*range(6)]
    assert {number for number, _ in found} == {0, 1, 2}


def test_few_items_are_taken_ahead_of_those_that_are_yielded():
    taken = []
    found = spread(places(2), lambda network, item: item, map(lambda n: taken.append(n) or n,
                                                              range(100)))  # fmt: skip
    assert next(found) == 0
    assert len(taken) < 5
    found.close()


def test_an_error_of_one_ends_all():
    def compute(network, item):
        if item == 3:
            raise ValueError("broken")
        return item

    found = spread(places(2), compute, iter(range(9)))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_copies_embed_as_one_network_does(toy_encoder, toy_videos):
    one, several = toy_encoder(), toy_encoder()
    several.devices = [CPU, CPU, CPU]
    expected, found = (list(embed(e, toy_videos, skipped=[])) for e in (one, several))
    assert [item.video for item in found] == list(toy_videos)
    for item, other in zip(found, expected, strict=True):
        assert np.array_equal(item.features, other.features)


def test_random_weights_are_spread_as_the_run_is(toy_encoder):
    encoder = toy_encoder()
    encoder.devices, encoder.workers = [CPU, CPU], 3
    random = encoder.randomised()
    assert (random.devices, random.workers) == ([CPU, CPU], 3)


@pytest.mark.parametrize(("device", "found"), [("auto", "cuda:0"), ("cuda", "cuda")])
def test_auto_takes_every_gpu(device, found, toy_encoder, tmp_path):
    toy_encoder().export(tmp_path / "model")
    with simulate():
        encoder = Encoder.load(tmp_path / "model", device, every_gpu=True)
        assert [str(each) for each in encoder.devices] == [found]
    assert Encoder.load(tmp_path / "model", every_gpu=True).devices == [CPU]


def test_a_gpu_is_sent_a_video_once_and_waits_for_its_features_alone(toy_encoder, toy_videos):
    with simulate() as counts:
        encoder = toy_encoder().on(torch.device("cuda"))
        before = counts.copy()
        found = list(embed(encoder, toy_videos, skipped=[]))
        waits, copies = (
            (counts - before).total(kind) / len(toy_videos) for kind in ("waits", "copies")
        )
    expected = list(embed(toy_encoder(), toy_videos, skipped=[]))
    for item, other in zip(found, expected, strict=True):
        assert item.features == pytest.approx(other.features, rel=0.05, abs=0.02)
    assert waits == 1
    assert copies == 3  # pictures, parameters, features


@pytest.mark.parametrize("command", ["index", "embed", "evaluate"])
def test_workers_are_as_many_as_asked(command, toy_encoder, toy_videos, tmp_path, monkeypatch):
    asked = []
    made = views.ThreadPoolExecutor
    monkeypatch.setattr(
        views, "ThreadPoolExecutor", lambda count, name: asked.append(count) or made(count, name)
    )
    toy_encoder().export(tmp_path / "model")
    write_manifest(tmp_path / "videos.jsonl", toy_videos)
    out = {"index": "index", "embed": "features.npz", "evaluate": "report"}[command]
    words = [command, tmp_path / "model", "--data", tmp_path / "videos.jsonl", "--workers", 3,
             "--device", "cpu", "--out", tmp_path / out]  # fmt: skip
    if command == "evaluate":
        words += ["--evaluator", "health"]
    assert run(app, [str(word) for word in words]) == 0
    assert set(asked) == {3}
