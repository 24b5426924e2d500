"""`vidssl quickstart` runs the other commands, goes on where it was stopped, and takes in more."""

import json
import shutil
import signal

import pytest

from commands import parse
from vidssl_cli.base.signals import Stopped
from vidssl_cli.cli import app, quickstart
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import load
from vidssl_cli.search import build

TINY = [
    *("--recipe", "small/instance", "--set", "train.batch_videos=4", "--set", "train.epochs=2"),
    *("--set", "backbone={name: r3d, depth: 10, width: 4}", "--device", "cpu"),
    *("--minutes", "0.01", "--no-serve"),
]


@pytest.fixture
def place(toy_videos, tmp_path, monkeypatch):
    """The working directory, with a folder of videos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my videos").mkdir()
    for video in toy_videos:
        shutil.copy(video.path, tmp_path / "my videos")
    return tmp_path


def test_it_prints_the_commands_that_it_runs_and_takes_in_new_videos(place, capsys, monkeypatch):
    words = ["quickstart", "my videos", *TINY]
    monkeypatch.setattr(quickstart, "FEW", 100)
    assert run(app, words) == 0
    said = capsys.readouterr().err.splitlines()
    told = [parse(line) for line in said if line.startswith("    vidssl ")]
    assert [each.name for each in told] == ["data scan", "data pack", "pretrain", "index", "serve"]
    assert told[0].given["source"] == "my videos"
    assert not any(line.startswith("next: ") for line in said)
    assert any("12 videos can teach a network next to nothing" in line for line in said)
    out = place / "my videos.search"
    trained = (out / "run" / "metrics.jsonl").read_bytes()

    more = next(iter((place / "my videos").glob("*.mp4")))
    shutil.copy(more, more.with_name("one more.mp4"))
    assert run(app, words) == 0
    printed = capsys.readouterr()
    assert "is trained already" in printed.err
    assert "--minutes changes nothing any more" in printed.err
    assert "(1 added, 0 changed)" in " ".join(printed.out.split())
    assert (out / "run" / "metrics.jsonl").read_bytes() == trained


def test_stopped_it_goes_on_with_the_same_training(place, capsys, monkeypatch):
    def stop(*_, **__):
        raise Stopped(signal.SIGINT)

    words = ["quickstart", "my videos", "--out", "here", *TINY]
    with monkeypatch.context() as patch:
        patch.setattr("vidssl_cli.training.loop._Loop._end_epoch", stop)
        assert run(app, words) == 130
    told = capsys.readouterr().err
    assert told.endswith("hint: the same command again goes on from here\n")
    lines = [line for line in told.splitlines() if "vidssl pretrain" in line]
    assert run(app, words) == 0
    again = capsys.readouterr().err.splitlines()
    assert not any("data scan" in line for line in again)
    assert [line for line in again if "vidssl pretrain" in line] == lines
    assert build.open_index(place / "here" / "index")

    with monkeypatch.context() as patch:
        patch.setattr("vidssl_cli.cli.serve._wait", stop)
        assert run(app, [*words, "--serve"]) == 130
    assert capsys.readouterr().err.endswith("error: stopped by SIGINT\n")  # all is done


@pytest.mark.parametrize(
    ("change", "what"),
    [(["--set", "train.seed=1"], "--set"), (["--recipe", "small/pace"], "--rec")],
)
def test_another_quickstart_is_not_mixed_with_it(place, capsys, change, what):
    (place / "here").mkdir()
    (place / "here" / quickstart.PLAN).write_text(
        json.dumps({"VIDEOS": str(place / "my videos"), "--recipe": "default", "--set": []})
    )
    assert run(app, ["quickstart", "my videos", "--out", "here", *change]) == 2
    assert f"is a quickstart with {what}" in capsys.readouterr().err


def test_a_mistyped_name_leaves_nothing(place, capsys):
    assert run(app, ["quickstart", "my vidoes", *TINY]) == 2
    assert "does not exist" in capsys.readouterr().err
    (place / "none").mkdir()
    assert run(app, ["quickstart", "none", "--out", "here", *TINY]) == 2
    assert sorted(path.name for path in place.iterdir()) == ["my videos", "none"]
    (place / "file").touch()
    assert run(app, ["quickstart", "my videos", "--out", "file", *TINY]) == 2
    assert "file is no folder" in capsys.readouterr().err


def test_a_folder_of_other_things_is_left_alone(place, capsys):
    assert run(app, ["quickstart", "my videos", "--out", "my videos"]) == 2
    assert "holds no quickstart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("videos", "passes", "settings"),
    [
        (100, 200, ["train.repeats=20"]),
        (100, 10, ["train.repeats=1"]),
        (100, 4.7, ["train.epochs=4", "train.repeats=1"]),
        (3, 200, ["train.repeats=20"]),
        (3, 10, ["train.epochs=1", "train.repeats=6"]),
        (1, 84, ["train.epochs=5", "train.repeats=16"]),
        (3, 1, ["train.epochs=1", "train.repeats=6"]),
        (100_000, 0.13, ["train.epochs=1", "train.repeats=1", "share=1/8"]),
        (100, 0.01, ["train.epochs=1", "train.repeats=1", "share=1/6"]),
    ],
)
def test_the_length_suits_the_time_and_fills_batches(videos, passes, settings):
    recipe = load("demo", ["train.epochs=10", "train.batch_videos=16"])
    assert quickstart.length_settings(recipe, videos, passes) == settings
    chosen = load("demo", ["train.epochs=10", "train.batch_videos=16", *settings])
    count, of = map(int, chosen.share.split("/"))
    assert videos * count // of * chosen.train.repeats >= 16
