"""Scores of clips: what they measure, what is kept, and files that do not fit."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.scores import read_scores, scores_of
from vidssl_cli.data.motion_scores import Scoring, motion_score, score_videos
from vidssl_cli.data.pack import pack
from vidssl_cli.files.sealed_folder import note_of
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_plugins.pretexts.statistics_motion import derivatives
from vidssl_plugins.pretexts.statistics_partitions import partition

SCORING = Scoring(flow="dis", resize=(24, 32), crop=16, frames=16)


def test_motion_in_one_place_is_easiest():
    total = np.zeros((2, 112, 112), np.float32)
    total[0, 30:50, 33:51] = 4  # inside a block of 28 x 28
    assert motion_score(total) == 1


def test_motion_everywhere_is_hardest():
    ramp = np.broadcast_to(np.arange(114, dtype=np.float32), (2, 112, 114))
    assert motion_score(ramp[:, :, 1:-1]) == pytest.approx(1 / 16, rel=0.05)


def test_no_motion_is_0():
    assert motion_score(np.full((2, 112, 112), 3.3, np.float32)) == 0


@given(seed=st.integers(0, 1000), height=st.integers(8, 40), width=st.integers(8, 40))
def test_scores_are_of_the_labels_boundaries(seed, height, width):
    flow = torch.randn(5, 2, height, width, generator=torch.Generator().manual_seed(seed)).double()
    blocks = partition(1, height, width, torch.device("cpu"))
    expected = 0.0
    for component in flow.unbind(1):
        magnitude = torch.hypot(*(d.sum(1)[0] for d in derivatives(component[None])))
        means = [magnitude[blocks == b].mean() for b in range(16)]
        sums = [magnitude[blocks == b].sum() for b in range(16)]
        expected = max(expected, float(sums[int(np.argmax(means))] / sum(sums)))
    assert motion_score(flow.sum(0).numpy()) == pytest.approx(expected)


def test_a_score_for_each_clip(toy_videos, tmp_path):
    rows, broken = score_videos(toy_videos, tmp_path / "s.jsonl", SCORING, workers=2)
    assert not broken
    assert [row.path for row in rows] == [video.path for video in toy_videos]
    assert all(len(row.scores) == 40 // 16 for row in rows)
    assert all(1 / 16 <= score <= 1 for row in rows for score in row.scores)
    settings, found = read_scores(tmp_path / "s.jsonl")
    assert settings == SCORING.as_document()
    assert list(found.values()) == rows


def test_packed_flow_gives_nearly_the_same_scores(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    ground, patch = (random.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in (48, 16))
    frames = np.repeat(ground[None], 16, 0)
    for number, frame in enumerate(frames):  # a patch that crosses the picture
        frame[16:32, 2 * number : 2 * number + 16] = patch
    write_mp4(tmp_path / "a.mp4", frames, 25, crf=10)
    scoring = replace(SCORING, resize=(48, 48), crop=48)
    video = probe(str(tmp_path / "a.mp4"))
    ((row,), _) = score_videos([video], tmp_path / "s.jsonl", scoring)
    packed = pack([video], tmp_path / "set", resize=(48, 48), form="raw", flow="dis").videos
    monkeypatch.setattr("vidssl_cli.data.motion_scores.FlowEstimator", None)
    ((other,), _) = score_videos(packed, tmp_path / "p.jsonl", scoring)
    assert row.scores[0] > 0.12
    assert other.scores == pytest.approx(row.scores, abs=0.05)  # flow is rounded
    assert (row.sha256, row.path) == (other.sha256, other.path)


def test_packed_pictures_are_scored_where_there_is_no_flow(toy_videos, tmp_path):
    rows, _ = score_videos(toy_videos[:2], tmp_path / "s.jsonl", SCORING)
    packed = pack(toy_videos[:2], tmp_path / "set", resize=(24, 32), form="raw").videos
    again, _ = score_videos(packed, tmp_path / "p.jsonl", SCORING)
    assert [row.scores for row in again] == [row.scores for row in rows]


def test_what_is_scored_is_not_scored_again(toy_videos, tmp_path, monkeypatch):
    out = tmp_path / "s.jsonl"
    rows, _ = score_videos(toy_videos[:3], out, SCORING)
    seen = []
    original = Scoring.__call__
    monkeypatch.setattr(
        Scoring, "__call__", lambda self, video: seen.append(video) or original(self, video)
    )
    assert score_videos(toy_videos[1:5], out, SCORING)[0][:2] == rows[1:]
    assert seen == [*toy_videos[3:5]]
    score_videos(toy_videos[:1], out, replace(SCORING, crop=20))  # other settings, other scores
    assert seen[2:] == [toy_videos[0]]


def test_an_interruption_loses_nothing(toy_videos, tmp_path, monkeypatch):
    out = tmp_path / "s.jsonl"
    known, _ = score_videos(toy_videos[4:6], out, SCORING)
    original = Scoring.__call__

    def interrupted(self, video):
        if video == toy_videos[2]:
            raise KeyboardInterrupt
        return original(self, video)

    monkeypatch.setattr(Scoring, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_videos(toy_videos[:6], out, SCORING, workers=1)
    rows = read_scores(out)[1]
    assert [*rows] == [video.path for video in (*toy_videos[4:6], *toy_videos[:2])]
    assert [*rows.values()][:2] == known
    with pytest.raises(UsageError, match="a square of 30 does not fit"):
        score_videos(toy_videos, out, replace(SCORING, crop=30))
    assert read_scores(out)[1] == rows


def test_an_unreadable_video_is_told_and_left_out(toy_videos, tmp_path):
    lost = replace(toy_videos[1], path=str(tmp_path / "lost.mp4"))
    rows, broken = score_videos([toy_videos[0], lost], tmp_path / "s.jsonl", SCORING)
    assert [error.where for error in broken] == [lost.path]
    assert len(rows) == 1


def test_the_command(toy_videos, tmp_path, capfd):
    folder = os.path.dirname(toy_videos[0].path)
    out = tmp_path / "scores.jsonl"
    words = ["data", "scores", folder, "--out", str(out), "--size", "24x32", "--crop", "16"]
    assert run(app, [*words, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document == {"scores": str(out), "videos": 12, "clips": 24, "broken": []}
    assert scores_of(out, toy_videos)[0] == 16
    assert run(app, [*words, "--crop", "28"]) == 2
    assert "a square of 28 does not fit" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("harm", "complaint"), [("missing", "is not in"), ("stale", "has changed since")]
)
def test_missing_and_stale_scores_are_told(toy_videos, tmp_path, scored, harm, complaint):
    path = scored(*[[0.1, 0.2]] * (11 if harm == "missing" else 12))
    if harm == "stale":
        lines = path.read_text().splitlines()
        row = json.loads(lines[-1]) | {"bytes": 1, "sha256": "0" * 64}
        path.write_text("\n".join([*lines[:-1], json.dumps(row)]))
        note_of(path).unlink()
    with pytest.raises(UsageError, match=complaint) as caught:
        scores_of(path, toy_videos)
    assert caught.value.where == str(path)
    assert toy_videos[11].path in str(caught.value)
    assert "vidssl data scores" in caught.value.hint


def test_a_packed_video_that_was_scored_before_it_changed(toy_videos, tmp_path, scored):
    path = scored([0.3, 0.4])
    (video,) = pack(toy_videos[:1], tmp_path / "set", resize=(24, 32)).videos
    other = replace(video, packed=replace(video.packed, source_sha256="0" * 64))
    with pytest.raises(UsageError, match="has changed since"):
        scores_of(path, [other])


def test_touched_and_packed_videos_keep_their_scores(toy_videos, tmp_path, scored):
    path = scored([0.3, 0.4])
    lines = path.read_text().splitlines()
    path.write_text(lines[0] + "\n" + json.dumps(json.loads(lines[1]) | {"mtime_ns": 5}))
    note_of(path).unlink()
    packed = pack(toy_videos[:1], tmp_path / "set", resize=(24, 32)).videos
    for videos in (toy_videos[:1], packed):
        assert scores_of(path, videos) == (16, [(0.3, 0.4)])


@pytest.mark.parametrize("content", ["", "{}", '{"settings": {}}\n{"path": 3}', "nonsense"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "s.jsonl").write_text(content)
    with pytest.raises(DamagedFileError, match="is no file of scores"):
        read_scores(tmp_path / "s.jsonl")
    with pytest.raises(UsageError, match=r"no file of scores .*none\.jsonl"):
        read_scores(tmp_path / "none.jsonl")
