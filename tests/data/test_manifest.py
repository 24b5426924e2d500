"""Manifests say exactly what was meant, or where they do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import digest, read_manifest, write_manifest

FULL = {
    "label": "wave",
    "split": "train",
    "group": "g1",
    "frames": 30,
    "fps": 29.97,
    "width": 64,
    "height": 48,
    "duration": 1.001,
    "declared": 31,
    "timing": "steady",
    "keyframes": ((12, 1200), (24, -5)),
}


def manifest(folder, *rows):
    path = folder / "m.jsonl"
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_needs_only_a_path(tmp_path):
    path = manifest(tmp_path, '{"path": "a b/é.mp4"}', "", '{"path": "/elsewhere/c.mp4"}')
    assert read_manifest(path) == [
        Video(str(tmp_path / "a b" / "é.mp4")),
        Video("/elsewhere/c.mp4"),
    ]


def test_what_is_written_is_read(tmp_path):
    below, outside = str(tmp_path / "data" / "x" / "a.mp4"), str(tmp_path / "b\udcff.mp4")
    videos = [Video(below, **FULL), Video(outside, "\udce9")]
    path = tmp_path / "data" / "m.jsonl"
    write_manifest(path, videos)
    assert read_manifest(path) == videos
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0]["path"] == "x/a.mp4"
    assert rows[1] == {"path": outside, "label": "\udce9"}


def test_a_manifest_may_move_with_its_videos(tmp_path):
    write_manifest(tmp_path / "old" / "m.jsonl", [Video(str(tmp_path / "old" / "a.mp4"))])
    os.rename(tmp_path / "old", tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "m.jsonl") == [Video(str(tmp_path / "new" / "a.mp4"))]


def test_numbers_may_stand_for_classes(tmp_path):
    assert read_manifest(manifest(tmp_path, '{"path": "a.mp4", "label": 3}'))[0].label == "3"


def test_keys_with_an_underscore_are_the_users_own(tmp_path):
    assert read_manifest(manifest(tmp_path, '{"path": "a.mp4", "_note": [1]}'))[0].label is None


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"path": "a.mp4"', "is not JSON"),
        ("[1]", "a row is an object"),
        ("{}", "path: is missing"),
        ('{"path": ""}', "path: a name is a string that is not empty, not ''"),
        ('{"path": "a.mp4", "lable": "x"}', "lable: unknown key; did you mean label?"),
        ('{"path": "a.mp4", "start": 3}', "start: unknown key"),
        ('{"path": "a.mp4", "split": "dev"}', "split: must be train, val or test, not 'dev'"),
        ('{"path": "a.mp4", "frames": "many"}', "frames: .*not 'many'"),
        ('{"path": "a.mp4", "frames": 0}', "frames: "),
        ('{"path": "a.mp4", "fps": NaN}', "fps: "),
        ('{"path": "a.mp4", "keyframes": [[-1, 5]]}', "keyframes.0.0: "),
        ('{"path": "https://example.org/a.mp4"}', "path: .* is a URL"),
    ],
)
def test_problems_are_located(tmp_path, row, problem):
    path = manifest(tmp_path, '{"path": "fine.mp4"}', row)
    with pytest.raises(DamagedFileError, match=rf"^{path}:2: {problem}") as caught:
        read_manifest(path)
    assert caught.value.where == str(path)


def test_all_problems_are_told_at_once(tmp_path):
    path = manifest(tmp_path, "{", '{"path": "a", "split": "x", "fps": 0}', '{"file": "a"}')
    with pytest.raises(DamagedFileError) as caught:
        read_manifest(path)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "2", "3", "3"]


def test_the_digest_is_of_the_data_not_of_its_place():
    one = [Video("/a/x/1.mp4", "x", "train", frames=9), Video("/a/y/2.mp4", "y", frames=9)]
    other = [Video("/b/c/x/1.mp4", "x", "train", frames=9), Video("/b/c/y/2.mp4", "y", frames=9)]
    assert digest(one) == digest(other)
    assert len(digest([])) == 64


@pytest.mark.parametrize(
    "changed",
    [
        [Video("/a/1.mp4", "x", frames=9)],
        [Video("/a/2.mp4", "y", frames=9), Video("/a/1.mp4", "x", frames=9)],
        [Video("/a/1.mp4", "z", frames=9), Video("/a/2.mp4", "y", frames=9)],
        [Video("/a/1.mp4", "x", "test", frames=9), Video("/a/2.mp4", "y", frames=9)],
        [Video("/a/1.mp4", "x", frames=8), Video("/a/2.mp4", "y", frames=9)],
        [Video("/a/3.mp4", "x", frames=9), Video("/a/2.mp4", "y", frames=9)],
    ],
)
def test_the_digest_sees_every_change_that_matters(changed):
    before = [Video("/a/1.mp4", "x", frames=9), Video("/a/2.mp4", "y", frames=9)]
    assert digest(changed) != digest(before)


def test_videos_are_light():
    heavy = "{'av', 'numpy', 'torch'}"
    code = f"import sys, vidssl_cli.data.layouts; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_video_that_has_two_rows_is_used_once(tmp_path, capsys):
    row = '{"path": "a.mp4", "label": "run"}'
    path = manifest(tmp_path, row, '{"path": "b.mp4"}', row.replace("a.mp4", "./a.mp4"))
    assert [video.label for video in read_manifest(path, once=True)] == ["run", None]
    assert f"{path}:3: 1 row names a video that another names too" in capsys.readouterr().err


def test_two_rows_that_contradict_each_other_are_refused(tmp_path):
    path = manifest(tmp_path, '{"path": "a.mp4", "label": "run"}', '{"path": "a.mp4"}')
    with pytest.raises(DamagedFileError, match=r"m\.jsonl:2: label: .* None, and 'run' in line 1"):
        read_manifest(path, once=True)
    assert len(read_manifest(path)) == 2
