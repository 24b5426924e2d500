"""Recordings stay whole, classes keep training videos, and names alone decide."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.hold_out import hold_out
from vidssl_cli.data.layouts import find_videos
from vidssl_cli.data.lists import Lists


def clips(sizes, label="run"):
    """Videos of one class, so many of each recording."""
    return [
        Video(f"/data/{label}/{group}_{number}.mp4", label, group=f"{label}/{group}")
        for group, size in enumerate(sizes)
        for number in range(size)
    ]


def held(videos):
    return [video.path for video in videos if video.split == "test"]


def test_a_share_of_every_class_is_held_out():
    split_up = hold_out([*clips([4] * 25), *clips([2] * 10, "jump"), *clips([1] * 5, "sit")], 0.2)
    counts = Counter((video.label, video.split) for video in split_up)
    assert counts == {
        ("run", "train"): 80, ("run", "test"): 20, ("jump", "train"): 16, ("jump", "test"): 4,
        ("sit", "train"): 4, ("sit", "test"): 1,
    }  # fmt: skip


groups = some.integers(0, 9)


@given(
    some.lists(some.tuples(groups, some.sampled_from("abc")), min_size=1, max_size=40),
    some.floats(0.01, 0.9),
)
def test_whatever_the_data(rows, share):
    videos = [
        Video(f"/d/{number}.mp4", label, group=str(group))
        for number, (group, label) in enumerate(rows)
    ]
    try:
        split_up = hold_out(videos, share)
    except UsageError:
        shared = Counter(label for _, label in {*rows})
        assert max(shared.values()) == 1 or len({group for group, _ in rows}) > 1
        return
    assert [replace(video, split=None) for video in split_up] == videos
    sides = {video.group: video.split for video in split_up}
    assert all(sides[video.group] == video.split for video in split_up)
    assert {v.label for v in split_up if v.split == "train"} == {v.label for v in videos}
    assert held(split_up)


def test_names_alone_decide(tmp_path):
    videos = [replace(video, group=None) for video in clips([1] * 30)]
    chosen = held(hold_out(videos, 0.3))
    shuffled = [*videos]
    Random(0).shuffle(shuffled)
    assert sorted(held(hold_out(shuffled, 0.3))) == sorted(chosen)
    moved = [replace(video, path=f"/mnt{video.path}", frames=9) for video in videos]
    assert held(hold_out(moved, 0.3)) == [f"/mnt{path}" for path in chosen]


def test_recordings_larger_than_the_share_are_held_out_at_the_least():
    assert len(held(hold_out(clips([9, 8, 3, 9]), 0.01))) == 3


def test_a_class_with_one_recording_is_not_tested_and_it_is_said(capsys):
    split_up = hold_out([*clips([2, 2]), *clips([7], "solo")], 0.5)
    assert {video.label for video in split_up if video.split == "test"} == {"run"}
    told = capsys.readouterr().err
    assert "held out: 2 of 11 videos, 1 of 3 recordings" in told
    assert "1 class is not tested, for want of a second recording: solo" in told


def test_videos_that_do_not_say_their_recording_are_told(capsys):
    hold_out([replace(video, group=None) for video in clips([1] * 5)], 0.2)
    assert "5 of 5 videos do not say which recording" in capsys.readouterr().err


def test_nothing_to_hold_out():
    with pytest.raises(UsageError, match="no class has two recordings"):
        hold_out(clips([5]), 0.2)


def test_data_with_splits_keep_them():
    videos = [*clips([1]), replace(clips([1, 1])[1], split="test")]
    with pytest.raises(UsageError, match="means nothing for DATA with splits"):
        hold_out(videos, 0.2)


def test_cuts_of_a_recording_in_a_folder_stay_together(tmp_path):
    for group in range(1, 11):
        for cut in (1, 2):
            (tmp_path / "Punch").mkdir(exist_ok=True)
            (tmp_path / "Punch" / f"v_Punch_g{group:02}_c{cut:02}.avi").touch()
    videos = find_videos(tmp_path, Lists(hold_out=0.2))
    assert Counter(video.split for video in videos) == {"train": 16, "test": 4}
    assert len({video.group for video in videos if video.split == "test"}) == 2


@pytest.mark.parametrize("command", ["scan", "pack"])
def test_manifests_and_packed_sets_keep_what_is_held_out(tmp_path, make_video, capfd, command):
    for number in range(5):
        make_video(tmp_path / "data" / "run" / f"{number}.mp4", frames=4)
    out = tmp_path / ("m.jsonl" if command == "scan" else "set")
    given = ["data", command, str(tmp_path / "data"), "--out", str(out), "--hold-out", "0.4"]
    assert run(app, [*given, "--json"]) == 0
    output = capfd.readouterr()
    assert "held out: 2 of 5 videos" in output.err
    if command == "scan":
        assert json.loads(output.out)["splits"] == {"train": 3, "test": 2}
    assert Counter(video.split for video in find_videos(out)) == {"train": 3, "test": 2}
