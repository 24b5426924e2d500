"""DATA in, videos with facts out; what is broken is named and left out."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import scan as module
from vidssl_cli.data.manifest import read_manifest, write_manifest
from vidssl_cli.data.scan import open_data


@pytest.fixture
def tree(tmp_path, make_video):
    """Two classes in two splits, and a text file with a video's name."""
    folder = tmp_path / "data"
    for name in ("train/run/a.mp4", "train/jump/b.mp4", "test/run/c d.mp4"):
        make_video(folder / name)
    (folder / "train" / "jump" / "broken.mp4").write_text("hello")
    return folder


def test_facts_and_labels_are_there_and_broken_files_are_named(tree, capfd):
    videos, broken = open_data(tree)
    assert [(v.path, v.label, v.split, v.frames) for v in videos] == [
        (str(tree / "test/run/c d.mp4"), "run", "test", 24),
        (str(tree / "train/jump/b.mp4"), "jump", "train", 24),
        (str(tree / "train/run/a.mp4"), "run", "train", 24),
    ]
    (error,) = broken
    assert error.where == str(tree / "train/jump/broken.mp4")
    assert capfd.readouterr().err.count("broken.mp4") == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tree, workers):
    assert open_data(tree, workers=workers)[0] == open_data(tree)[0]


def test_facts_of_a_manifest_are_believed_and_missing_ones_found(tree, tmp_path, monkeypatch):
    known, other, _ = open_data(tree)[0]
    manifest = tmp_path / "m.jsonl"
    write_manifest(manifest, [replace(known, frames=7), Video(other.path, label="mine")])
    probed = []
    honest = module.probe
    monkeypatch.setattr(module, "probe", lambda path: probed.append(path) or honest(path))
    videos, _ = open_data(manifest)
    assert videos == [replace(known, frames=7), replace(other, label="mine", split=None)]
    assert probed == [other.path]


def test_nothing_that_can_be_read_is_an_error(tmp_path):
    (tmp_path / "broken.mp4").write_text("hello")
    with pytest.raises(UsageError, match="none of the 1 videos"):
        open_data(tmp_path)


STILLS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n", "HEIC": b"\0\0\0\x18ftypheic"}


@pytest.mark.parametrize("kind", STILLS)
def test_a_still_picture_is_refused_as_what_it_is(tree, kind, capfd):
    """Alone and in a folder, whatever it is named."""
    path = tree / "train" / "jump" / "still.mp4"
    path.write_bytes(STILLS[kind] + bytes(50))
    with pytest.raises(UsageError, match="none of the 1 videos"):
        open_data(path)
    _, broken = open_data(tree)
    reason = f"is a still picture ({kind}), not a video"
    assert [str(error) for error in broken if error.where == str(path)] == [reason]
    assert capfd.readouterr().err.count(f"{path}: {reason}") == 2


def vidssl(capfd, *arguments):
    """Run a command line; return its status and what it printed."""
    status = run(app, [str(argument) for argument in arguments])
    return status, *capfd.readouterr()


def test_the_command_writes_a_manifest_that_works_as_data(tree, tmp_path, capfd):
    out = tree / "m.jsonl"
    status, text, _ = vidssl(capfd, "data", "scan", tree, "--out", out, "--json")
    broken = {"path": str(tree / "train/jump/broken.mp4")}
    document = json.loads(text)
    broken["reason"] = document["broken"][0]["reason"]
    splits = {"train": 2, "test": 1}
    found = {"videos": 3, "splits": splits, "broken": [broken], "problems": []}
    assert document == {"manifest": str(out), **found, "passed_over": {}}
    assert status == 0
    assert open_data(out) == (open_data(tree)[0], [])
    assert read_manifest(out)[0].path == str(tree / "test/run/c d.mp4")
    assert '"path": "test/run/c d.mp4"' in out.read_text()


def test_names_that_are_not_utf8_survive(tmp_path, make_video, capfd):
    folder = tmp_path / "data"
    make_video(folder / "caf\udce9.mp4")
    (folder / "b\udce9.mp4").write_text("hello")
    _, text, _ = vidssl(capfd, "data", "scan", folder, "--out", tmp_path / "m.jsonl", "--json")
    assert json.loads(text)["broken"][0]["path"] == str(folder / "b\udce9.mp4")
    assert read_manifest(tmp_path / "m.jsonl")[0].path == str(folder / "caf\udce9.mp4")
    assert open_data(tmp_path / "m.jsonl")[0][0].frames == 24


def test_people_get_a_summary(tree, tmp_path, capfd):
    _, text, _ = vidssl(capfd, "data", "scan", tree, "--out", tmp_path / "m.jsonl")
    assert "3 videos, 1 left out" in " ".join(text.split())
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("  t")] == [
        ["train", "2"],
        ["test", "1"],
    ]


@pytest.fixture
def cut_short(tree, make_video):
    """Cut the end off one of the videos."""
    path = make_video(tree / "train" / "jump" / "cut.avi", codec="mpeg4", options={"g": "8"})
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"00dc", 0, content.index(b"idx1")) + 20])
    (tree / "train" / "jump" / "broken.mp4").unlink()
    return path


def test_a_video_with_problems_is_used_and_named(tree, cut_short, tmp_path, capfd):
    out = tmp_path / "m.jsonl"
    status, text, told = vidssl(capfd, "data", "scan", tree, "--out", out, "--json", "--strict")
    assert status == 5
    document = json.loads(text)
    assert (document["videos"], document["broken"]) == (4, [])
    (problem,) = document["problems"]
    assert problem["path"] == str(cut_short)
    assert "cut short: has" in problem["problems"][0]
    assert f"warning: {cut_short}: cut short" in told
    assert "1 of 4 videos has problems (cut short 1" in told
    (row,) = [video for video in read_manifest(out) if video.problems]
    assert row.frames < 24
    status, text, _ = vidssl(capfd, "data", "scan", out, "--out", tmp_path / "n.jsonl")
    assert status == 0
    assert "4 videos, 1 of them with problems, 0 left out" in " ".join(text.split())


def test_a_second_scan_says_what_the_first_did(tree, cut_short, tmp_path, capfd):
    (tree / "train" / "jump" / "broken.mp4").write_text("hello")
    (tree / "train" / "notes.txt").touch()
    command = ("data", "scan", tree, "--out", tmp_path / "m.jsonl", "--json")
    first, second = vidssl(capfd, *command), vidssl(capfd, *command)
    assert second[:2] == first[:2]
    told = [line for line in second[2].splitlines() if "have not changed since" not in line]
    assert told == first[2].splitlines()
    assert sum("cut.avi: cut short" in line or "broken.mp4" in line for line in told) == 2


def test_files_with_other_endings_are_counted(tree, capfd):
    strays = (".DS_Store", "Thumbs.db", "m.jsonl", "m.jsonl.sha256", "@eaDir/a.txt", "._a.mp4")
    for name in ("a.txt", "train/b.TXT", "train/run/a.srt", "README", *strays):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    _, text, told = vidssl(capfd, "data", "scan", tree, "--out", tree / "n.jsonl", "--json")
    assert json.loads(text)["passed_over"] == {".txt": 2, ".srt": 1, "none": 1}
    assert f"{tree}: 4 files with other endings were passed over (.txt 2, .srt 1, none 1)" in (
        " ".join(told.split())
    )


def test_a_video_with_problems_is_left_out_where_that_is_wanted(tree, cut_short, tmp_path, capfd):
    out = tmp_path / "m.jsonl"
    options = ("--damaged", "leave-out", "--json")
    _, text, _ = vidssl(capfd, "data", "scan", tree, "--out", out, *options)
    document = json.loads(text)
    assert (document["videos"], document["problems"]) == (3, [])
    assert document["broken"][0]["path"] == str(cut_short)


def test_strict_exits_with_5_and_one_document(tree, tmp_path, capfd):
    out = tmp_path / "m.jsonl"
    status, text, _ = vidssl(capfd, "data", "scan", tree, "--out", out, "--strict", "--json")
    assert status == 5
    assert json.loads(text)["videos"] == 3
    assert len(read_manifest(out)) == 3


@pytest.mark.parametrize("out", ["m.txt", "folder.jsonl"])
def test_a_bad_name_for_the_manifest_is_refused_at_once(tree, tmp_path, capfd, out):
    (tmp_path / "folder.jsonl").mkdir()
    status, _, error = vidssl(capfd, "data", "scan", tree, "--out", tmp_path / out)
    assert status == 2
    assert "is not a name for a manifest" in error


def test_a_damaged_manifest_exits_with_4(tmp_path, capfd):
    (tmp_path / "m.jsonl").write_text("{}\n")
    status, text, _ = vidssl(
        capfd, "data", "scan", tmp_path / "m.jsonl", "--out", tmp_path / "n.jsonl", "--json"
    )
    assert status == 4
    assert json.loads(text)["error"]["code"] == "damaged"


ODD = {
    "decord_corrupted.mp4": "undecodable packets: 1 of 50; damaged frames: 1 of 50",
    "streamio_weird_aspect.small.mpg": "damaged frames: 1 of 36",
}
NO_VIDEOS = {"gitlfs_pointer.mpg": "Git LFS pointer", "macos_._FrontView.avi": "macOS"}


def test_every_odd_file_is_read_or_named(real_data, capfd):
    videos, broken = open_data(real_data / "odd")
    assert len(videos) + len(broken) == len(list((real_data / "odd").iterdir()))
    reasons = {error.where.rpartition("/")[2]: str(error) for error in broken}
    assert reasons.keys() == NO_VIDEOS.keys()
    assert all(NO_VIDEOS[name] in reason for name, reason in reasons.items())
    found = {os.path.basename(v.path): "; ".join(v.problems) for v in videos if v.problems}
    assert found == ODD
    told = capfd.readouterr().err
    assert all(f"{name}: {problems}" in told for name, problems in ODD.items())
    assert "2 of 29 videos have problems (damaged frames 2, undecodable packets 1)" in told
    assert "2 of 29 files have several video streams" in told


PACKED_BITSTREAMS = {"packed_bitstream_a.avi": 121, "packed_bitstream_b.avi": 169}


def test_packed_bitstreams_are_whole(real_data):
    videos, broken = open_data(real_data / "refused")
    assert not broken
    assert {os.path.basename(v.path): v.frames for v in videos} == PACKED_BITSTREAMS
    assert not any(video.problems for video in videos)


def test_lists_of_relative_paths(real_data):
    lists = {f"{part}_list": real_data / f"yoga6_{part}.txt" for part in ("train", "test")}
    found = module.find_videos(
        real_data / "yoga6", module.Lists(train=lists["train_list"], test=lists["test_list"])
    )
    assert len(found) == 97
    assert "child_s pose" in {video.label for video in found}
