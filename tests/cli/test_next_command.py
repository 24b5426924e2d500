"""Every command names the next one, as a shell takes it."""

import shlex
import shutil

import pytest

from vidssl_cli.cli import app, next_command
from vidssl_cli.cli.failures import run

SMALL = [
    *("--set", "train.epochs=1", "--set", "train.repeats=1", "--set", "train.batch_videos=4"),
    *("--set", "backbone={name: r3d, depth: 10, width: 4}", "--device", "cpu"),
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_following_what_commands_say_leads_from_a_folder_to_the_search_page(
    toy_videos, place, monkeypatch, capsys
):
    monkeypatch.setattr("vidssl_cli.cli.serve._wait", lambda: None)  # it serves until stopped
    monkeypatch.delenv("DISPLAY", raising=False)
    (place / "my videos").mkdir()
    for video in toy_videos:
        shutil.copy(video.path, place / "my videos")
    words, taken = ["data", "scan", "my videos", "--out", "my videos.jsonl"], []
    while words[0] != "serve":
        taken.append(words[0])
        assert run(app, [*words, *(SMALL if words[0] == "pretrain" else [])]) == 0
        out, said = capsys.readouterr()
        assert "next: " not in out
        last = said.splitlines()[-1]
        assert last.startswith("next: vidssl ")
        words = shlex.split(last)[2:]
    assert taken == ["data", "data", "pretrain", "index"]
    assert run(app, words) == 0


def test_json_is_not_followed_by_advice(toy_videos, place, capsys):
    words = ["data", "scan", str(next(iter(toy_videos)).path), "--out", "v.jsonl", "--json"]
    assert run(app, words) == 0
    assert "next: " not in capsys.readouterr().err


def test_a_new_run_has_a_folder_of_its_own(place):
    assert str(next_command.new_run("small/pace")) == "runs/small-pace"
    (place / "runs" / "small-pace").mkdir(parents=True)
    assert str(next_command.new_run("small/pace")) == "runs/small-pace-2"
    assert str(next_command.new_run("recipes/mine.yaml")) == "runs/mine"


def test_where_the_search_page_cannot_be_served_hits_are_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(next_command, "find_spec", lambda name: None)
    words = next_command.search_of(tmp_path / "my.index")
    assert next_command.command_line(*words) == (
        f"vidssl retrieve {tmp_path}/my.index '#0' --gallery {tmp_path}/my.html --overwrite"
    )
