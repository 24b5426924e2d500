"""The page of duplicates shows both videos, whatever they are called, and says what is left out."""

import re
import shutil
from types import SimpleNamespace

import pytest

from vidssl_cli.contract.videos import Video
from vidssl_cli.pages import duplicates as module
from vidssl_cli.pages.duplicates import write_duplicates
from vidssl_cli.search.duplicates import Found
from vidssl_cli.search.duplicates_groups import Group
from vidssl_cli.search.duplicates_overlap import Overlap, Part

HOSTILE = """<script>alert(1)</script>"'onerror=x& $title.mp4"""


class Gallery(SimpleNamespace):
    """As much of a gallery as a page needs."""

    def __len__(self):
        return len(self.videos)


@pytest.fixture
def gallery(toy_videos, tmp_path):
    copy = tmp_path / HOSTILE.replace("/", "-")
    shutil.copyfile(toy_videos[0].path, copy)
    return Gallery(videos=[*toy_videos[:2], Video(str(copy), frames=40, fps=25), Video("gone.mp4")])


def overlap(first, second, by="frames", **more):
    return Overlap(first, second, by, (Part((0.2, 1), (0, 0.8)),), (0.5, 1), **more)


def test_groups_and_pairs_are_shown(gallery, tmp_path):
    found = Found(
        [Group(0, [overlap(0, 2, mirrored=True)])],
        [overlap(0, 1)],
        [overlap(1, 3, "windows", score=0.9)],
        3,
        [],
        [],
    )
    page = tmp_path / "page.html"
    write_duplicates(page, found, gallery)
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert len(re.findall("<figure>", text)) == 6
    assert len(re.findall('class="missing"', text)) == 1
    assert "1 group of 4 videos · 1 copy" in text
    assert "0.2–1.0 s = 0.0–0.8 s" in text
    assert "mirrored" in text
    assert "about 0.2–1.0 s" in text
    assert "50% of the first, 100% of the second" in text


def test_no_duplicates(gallery, tmp_path):
    page = tmp_path / "page.html"
    write_duplicates(page, Found([], [], [], 0, [], []), gallery)
    assert "No two videos" in page.read_text()


def test_too_many_pairs_are_counted(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    page = tmp_path / "page.html"
    write_duplicates(page, Found([], [overlap(0, 1)] * 3, [], 3, [], []), gallery)
    text = page.read_text()
    assert "the first 2 of 3 pairs are shown" in text
    assert text.count("<li>") == 2
