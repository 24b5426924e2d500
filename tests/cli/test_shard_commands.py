"""`--shard` and `vidssl merge` on the command line."""

import json

import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data.manifest import write_manifest


@pytest.fixture
def command(toy_videos, toy_encoder, tmp_path):
    """Return the words that make an index, but for its folder."""
    toy_encoder().export(tmp_path / "model")
    write_manifest(tmp_path / "videos.jsonl", toy_videos)
    data = ["--data", str(tmp_path / "videos.jsonl"), "--device", "cpu"]
    return ["index", str(tmp_path / "model"), *data, "--out"]


def document(capfd, *words):
    assert run(app, [*words, "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_jobs_make_what_one_process_makes(command, tmp_path, capfd):
    one, many = str(tmp_path / "one"), str(tmp_path / "many")
    whole = document(capfd, *command, one, "--part", "train")
    for number in (1, 2, 3):
        made = document(capfd, *command, many, "--part", "train", "--shard", f"{number}/3")
        assert made.items() >= {"shard": f"{number}/3", "of": 8, "broken": []}.items()
    assert run(app, ["retrieve", many, "#0"]) == 2
    assert f"hint: its shards are not merged yet: vidssl merge {many}" in capfd.readouterr().err
    assert document(capfd, "merge", many) == whole | {"index": many}
    queries = ["#0", "#5", "--device", "cpu"]
    assert document(capfd, "retrieve", many, *queries) == document(capfd, "retrieve", one, *queries)


def test_what_a_shard_has_done_is_said(command, tmp_path, capfd):
    assert run(app, [*command, str(tmp_path / "i"), "--shard", "1/2"]) == 0
    told = capfd.readouterr().out
    assert "shard 1/2 has 6 videos of 12, " in told
    assert told.endswith(f"once all shards are done: vidssl merge {tmp_path / 'i'}\n")
    assert run(app, [*command, str(tmp_path / "i"), "--part", "test"]) == 0
    assert "has shards that are not merged yet, by: vidssl merge" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--overwrite", "--prune", "--watch"])
def test_what_is_about_the_whole_index_is_refused(command, tmp_path, capfd, option):
    assert run(app, [*command, str(tmp_path / "i"), "--shard", "1/2", option]) == 2
    told = capfd.readouterr().err
    assert f"{option} is about the whole index, and --shard about a part of it" in told
    assert not (tmp_path / "i").exists()


def test_a_part_that_no_video_is_in_is_refused(command, tmp_path, capfd):
    assert run(app, [*command, str(tmp_path / "i"), "--shard", "1/2", "--part", "val"]) == 2
    assert "is in the part 'val'" in capfd.readouterr().err


def test_a_scan_is_shared(toy_videos, tmp_path, capfd):
    (tmp_path / "list.txt").write_text("".join(f"{video.path}\n" for video in toy_videos))
    scan = ["data", "scan", str(tmp_path / "list.txt"), "--out", str(tmp_path / "m.jsonl")]
    assert run(app, [*scan, "--shard", "2/2"]) == 0
    assert "m.jsonl: shard 2/2 has 6 videos, 0 left out" in capfd.readouterr().out
    found = document(capfd, *scan, "--shard", "1/2")
    assert (found["shard"], found["videos"]) == ("1/2", 6)
    assert not (tmp_path / "m.jsonl").exists()
    assert run(app, scan) == 0
    assert "12 of 12 files have not changed since the last scan" in capfd.readouterr().err
