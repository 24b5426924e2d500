"""Where data loading holds training back, packing is what is said to do."""

import shutil

import pytest

from vidssl_cli.cli import app, packing
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import load
from vidssl_cli.data import loader

SMALL = [
    *("--set", "train.epochs=1", "--set", "train.repeats=1", "--set", "train.batch_videos=4"),
    *("--set", "backbone={name: r3d, depth: 10, width: 4}", "--device", "cpu"),
]


@pytest.fixture
def place(toy_videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "VIDEOS").mkdir()
    for video in toy_videos:
        shutil.copy(video.path, tmp_path / "VIDEOS")
    return tmp_path


@pytest.mark.parametrize("slow", [True, False])
def test_a_dry_run_that_waits_for_data_says_pack_first(place, slow, capsys, monkeypatch):
    monkeypatch.setattr(loader.Loader, "capacity", lambda _: 0.1 if slow else 1e9)
    words = ["pretrain", "demo", "--data", "VIDEOS", "--out", "runs/mine", *SMALL]
    assert run(app, [*words, "--dry-run"]) == 0
    said = capsys.readouterr().err
    advice = "pack first: vidssl data pack VIDEOS --out VIDEOS.packed --short-side 128\n"
    assert (advice in said) is slow
    assert run(app, ["data", "pack", "VIDEOS", "--out", "VIDEOS.packed"]) == 0
    words[3] = "VIDEOS.packed"
    assert run(app, [*words, "--dry-run"]) == 0
    assert "pack first" not in capsys.readouterr().err


def test_training_on_a_folder_offers_it(place, capsys):
    words = ["pretrain", "demo", "--data", "VIDEOS", "--out", "runs/mine", *SMALL]
    assert run(app, words) == 0
    assert "vidssl data pack VIDEOS --out VIDEOS.packed" in capsys.readouterr().err
    assert run(app, [*words, "--overwrite", "--json"]) == 0
    assert "data pack" not in capsys.readouterr().err


def test_pictures_are_of_a_size_for_the_recipe(place):
    assert packing.size_words(load("demo")) == ["--short-side", "128"]
    assert packing.size_words(load("demo", ["input.resize=200"])) == ["--short-side", "200"]
    assert packing.size_words(load("demo", ["input.resize=[128,171]"])) == ["--size", "128x171"]


def test_a_set_is_never_in_the_folder_of_the_videos(place):
    assert str(packing.packed_beside("VIDEOS/")) == "VIDEOS.packed"
    assert str(packing.packed_beside(".")) == f"{place.name}.packed"
    assert str(packing.packed_beside("lists/mine.jsonl")) == "lists/mine.packed"
