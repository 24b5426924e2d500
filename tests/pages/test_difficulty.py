"""The page of clips from easy to hard: which clips, and pictures of what was scored."""

import io
import re
from base64 import b64decode
from html import unescape

import av
import numpy as np
import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.scores import read_scores
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.motion_scores import Scoring, motion_score, score_videos
from vidssl_cli.data.pack import pack
from vidssl_cli.pages.difficulty import SHOWN, write_ranking

SCORING = Scoring(flow="dis", resize=(24, 32), crop=16, frames=8)


@pytest.fixture(scope="module")
def scores(toy_videos, tmp_path_factory):
    return score_videos(toy_videos, tmp_path_factory.mktemp("s") / "s.jsonl", SCORING)[0]


@pytest.mark.parametrize("form", [None, "flow", "pictures"])
def test_what_is_drawn_is_what_was_scored(form, toy_videos, tmp_path):
    videos = toy_videos[:2]
    if form:
        flow = "dis" if form == "flow" else None
        videos = pack(videos, tmp_path / "set", resize=(24, 32), form="raw", flow=flow).videos
    rows, _ = score_videos(videos, tmp_path / "s.jsonl", SCORING)
    for video, row in zip(videos, rows, strict=True):
        assert len(row.scores) == 5
        for number, score in enumerate(row.scores):
            clip, pictures, flow = SCORING.see(video, number)
            assert clip == range(8 * number, 8 * number + 8)
            assert pictures.shape == (8, 16, 16, 3)
            assert flow.shape == (7, 2, 16, 16)
            assert motion_score(flow.sum(0)) == pytest.approx(score)


def test_clips_go_from_easy_to_hard(scores, toy_videos, tmp_path):
    write_ranking(tmp_path / "page.html", toy_videos, scores, SCORING)
    page = (tmp_path / "page.html").read_text()
    found = re.findall(r"(\d+) of 60: score (\d\.\d\d)</div>\n<h2>(\d+)\.mp4", page)
    ranks, drawn, names = zip(*found, strict=True)
    assert len(found) == SHOWN
    assert (ranks[0], ranks[-1]) == ("1", "60")
    assert len({*np.diff([*map(int, ranks)]).tolist()} - {5, 6}) == 0  # at even distances
    every = sorted((score for row in scores for score in row.scores), reverse=True)
    assert drawn == tuple(f"{every[int(rank) - 1]:.2f}" for rank in ranks)
    easiest = max(scores, key=lambda row: max(row.scores))
    assert easiest.path.endswith(f"/{names[0]}.mp4")


def test_a_clip_has_three_frames_two_fields_and_its_boundaries(scores, toy_videos, tmp_path):
    write_ranking(tmp_path / "page.html", toy_videos, scores[:1], SCORING)
    page = (tmp_path / "page.html").read_text()
    captions = [unescape(text) for text in re.findall(r"<figcaption>(.*?)</figcaption>", page)]
    assert len(captions) == 5 * 6
    clip = captions[:6]
    first = int(clip[0].split()[1])
    assert clip[:5] == [
        f"frame {first}",
        f"frame {first + 4}",
        f"frame {first + 7}",
        f"flow to frame {first + 1}",
        f"flow to frame {first + 4}",
    ]
    assert re.fullmatch("motion boundaries M_[uv]", clip[5])
    sources = re.findall('<figure><img src="data:image/webp;base64,(.*?)"', page)
    with av.open(io.BytesIO(b64decode(sources[0]))) as container:
        (frame,) = container.decode(video=0)
    _, pictures, _ = SCORING.see(toy_videos[0], first // 8)
    assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - pictures[0]).mean() < 25


def test_fewer_clips_than_a_page_has(scores, toy_videos, tmp_path):
    write_ranking(tmp_path / "none.html", toy_videos, [], SCORING)
    assert "0 of 0 clips" in (tmp_path / "none.html").read_text()
    write_ranking(tmp_path / "five.html", toy_videos, scores[:1], SCORING)
    assert (tmp_path / "five.html").read_text().count("<section>") == 5


def test_the_command_draws_what_it_scores(toy_videos, tmp_path, capsys):
    write_manifest(tmp_path / "v.jsonl", toy_videos[:3])
    arguments = ["data", "scores", str(tmp_path / "v.jsonl"), "--out", str(tmp_path / "s.jsonl")]
    arguments += ["--crop", "16", "--size", "24x32", "--data-root", "/"]
    assert run(app, [*arguments, "--page", str(tmp_path / "page.txt")]) == 2
    assert "is not a name for a page" in capsys.readouterr().err
    assert not (tmp_path / "s.jsonl").exists()
    assert run(app, [*arguments, "--page", str(tmp_path / "page.html")]) == 0
    assert f"page: {tmp_path / 'page.html'}" in capsys.readouterr().err
    _, rows = read_scores(tmp_path / "s.jsonl")
    assert (tmp_path / "page.html").read_text().count("<section>") == 3 * 2
    assert len(rows) == 3
