"""The gallery page: self-contained, safe with hostile names, and whole when videos are not."""

import io
import re
import shutil
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.media.encode import encode_webp, write_mp4
from vidssl_cli.pages.gallery import Ranking, Thumbnail, write_gallery
from vidssl_cli.search.build import build_index

HOSTILE = """<script>alert(1)</script>"'onerror=x& $title ${x}.mp4"""


class Page(HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        if data.strip() and self.tags[-1] != "style":
            self.text.append(data.strip())

    def urls(self, name):
        return [value for _, key, value in self.attributes if key == name]


def pictures(url):
    """Decode the frames of a data URL with the parser of WebP's container."""
    content = b64decode(url.removeprefix("data:image/webp;base64,"))
    assert content[:4] == b"RIFF"
    assert content[8:12] == b"WEBP"
    return content.count(b"ANMF") or 1


@pytest.fixture
def ranking(toy_videos):
    query = Thumbnail(toy_videos[0], (0.5, 1.0))
    hits = [
        Thumbnail(video, (0.2, 0.6), f"#{rank}", rank, 1 - rank / 4, video.label == "class 0")
        for rank, video in enumerate(toy_videos[1:7], 1)
    ]
    return Ranking(query, hits)


def test_a_page_shows_what_was_found(ranking, tmp_path):
    write_gallery(tmp_path / "page.html", "Title", "subtitle", [ranking, ranking])
    page = Page(tmp_path / "page.html")
    assert page.tags.count("section") == 2
    assert page.tags.count("img") == 14
    assert page.tags.count("li") == 12
    for expected in ("Title", "subtitle", "0.750", "-0.500", "0.2–0.6 s · #1", "2 of 6 right"):
        assert expected in page.text
    marks = [text for text in page.text if text in "✓✗"]
    assert marks == ["✗", "✗", "✓", "✗", "✗", "✓"] * 2
    widths = re.findall(r"width:(\S+?)%", page.source)
    assert all(0 <= float(width) <= 100 for width in widths)


def test_pictures_move_and_have_a_still_for_those_who_want_none(ranking, tmp_path):
    write_gallery(tmp_path / "page.html", "", "", [ranking])
    page = Page(tmp_path / "page.html")
    # A toy video is 1.6 seconds at 25 frames per second, shown at 12.5.
    assert {pictures(url) for url in page.urls("src")} == {20}
    assert {pictures(url) for url in page.urls("srcset")} == {1}
    assert set(page.urls("media")) == {"(prefers-reduced-motion: reduce)"}
    assert page.urls("alt") == [f"{number}.mp4" for number in range(7)]


def test_a_page_needs_nothing_from_outside_and_runs_nothing(ranking, tmp_path):
    write_gallery(tmp_path / "page.html", "", "", [ranking])
    page = Page(tmp_path / "page.html")
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert {tag for tag, key, _ in page.attributes if key == "href"} == {"a"}  # load nothing
    assert all(url.startswith("data:") for url in page.urls("src") + page.urls("srcset"))
    outside = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", page.source)
    assert outside.count("://") == outside.count('<a href="file:///') == len(page.urls("href"))
    assert "url(" not in outside
    assert "@import" not in outside
    assert "default-src 'none'" in outside


def test_names_are_links_that_play_the_files_at_their_moments(ranking, toy_videos, tmp_path):
    write_gallery(tmp_path / "page.html", "", "", [ranking])
    links = Page(tmp_path / "page.html").urls("href")
    assert links[0] == f"file://{toy_videos[0].path}#t=0.50,1.00"
    assert links[1] == f"file://{toy_videos[1].path}#t=0.20,0.60"
    odd = Thumbnail(replace(toy_videos[0], path='/a b/caf\udce9"#?.mp4'))
    write_gallery(tmp_path / "page.html", "", "", [Ranking(odd, [])])
    assert Page(tmp_path / "page.html").urls("href") == ["file:///a%20b/caf%E9%22%23%3F.mp4"]


def test_names_are_shown_and_not_obeyed(toy_videos, tmp_path):
    path = tmp_path / HOSTILE.replace("/", "\u2215")
    shutil.copy(toy_videos[0].path, path)
    video = replace(toy_videos[0], path=str(path), label=HOSTILE)
    ranking = Ranking(Thumbnail(video), [Thumbnail(video, None, HOSTILE, 1, 0.5, True)], HOSTILE)
    write_gallery(tmp_path / "page.html", HOSTILE, HOSTILE, [ranking])
    page = Page(tmp_path / "page.html")
    assert "script" not in page.tags
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert page.tags.count("img") == 2
    assert "".join(page.text).count(HOSTILE) == 7
    assert str(path) in page.urls("title")


def test_a_name_that_is_not_utf8_does_not_stop_the_page(toy_videos, tmp_path):
    video = replace(toy_videos[0], label="caf\udce9")
    write_gallery(tmp_path / "page.html", "", "", [Ranking(Thumbnail(video), [])])
    assert "caf\\udce9" in Page(tmp_path / "page.html").text


def test_a_video_that_is_gone_is_shown_by_name(toy_videos, tmp_path):
    gone = replace(toy_videos[1], path=str(tmp_path / "gone.mp4"))
    ranking = Ranking(Thumbnail(toy_videos[0]), [Thumbnail(gone, None, "", 1, 0.5)])
    write_gallery(tmp_path / "page.html", "", "", [ranking])
    page = Page(tmp_path / "page.html")
    assert page.tags.count("img") == 1
    assert "gone.mp4" in page.text
    assert any("No such file" in text for text in page.text)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (2, 2, 64), (3, 90, 2)])
def test_odd_videos_have_pictures_too(tmp_path, frames, height, width):
    from vidssl_cli.media.probe import probe

    path = tmp_path / "odd.mp4"
    write_mp4(path, np.full((frames, height, width, 3), 128, np.uint8), 25)
    write_gallery(tmp_path / "page.html", "", "", [Ranking(Thumbnail(probe(str(path))), [])])
    assert Page(tmp_path / "page.html").tags.count("img") == 1


def test_a_moment_at_the_end_shows_the_end(tmp_path):
    from vidssl_cli.media.probe import probe

    # Dark for four seconds, then bright for one.
    frames = np.repeat(np.array([40] * 100 + [220] * 25, np.uint8), 32 * 32 * 3)
    write_mp4(tmp_path / "video.mp4", frames.reshape(125, 32, 32, 3), 25)
    ranking = Ranking(Thumbnail(probe(str(tmp_path / "video.mp4")), (4.2, 4.8)), [])
    write_gallery(tmp_path / "page.html", "", "", [ranking])
    (still,) = Page(tmp_path / "page.html").urls("srcset")
    with av.open(io.BytesIO(b64decode(still.partition(",")[2]))) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.mean() > 150


def test_a_still_is_the_picture_that_went_in():
    frames = np.zeros((1, 32, 48, 3), np.uint8)
    frames[:, :, 24:] = (200, 60, 30)
    with av.open(io.BytesIO(encode_webp(frames, 25, quality=90))) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(picture.astype(int) - frames[0]).mean() < 12


def test_the_same_frames_give_the_same_file(tmp_path):
    frames = np.zeros((40, 64, 64, 3), np.uint8)
    for number in range(40):
        frames[number, :, number : number + 9] = 200
    for name in ("one", "two", "three"):
        write_mp4(tmp_path / name, frames, 25)
    contents = {(tmp_path / name).read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1


def test_retrieve_writes_the_page(toy_encoder, toy_videos, tmp_path, capsys):
    build_index(toy_encoder(), toy_videos[:6], tmp_path / "index")
    command = ["retrieve", str(tmp_path / "index"), "#0", toy_videos[7].path, "--top", "3"]
    page = tmp_path / "new" / "page.html"
    assert run(app, [*command, "--gallery", str(page), "--json"]) == 0
    assert str(page) in capsys.readouterr().err
    found = Page(page)
    assert found.tags.count("img") == 8
    assert run(app, [*command, "--gallery", toy_videos[7].path]) == 2  # which is the query itself
    assert "Query #0" in found.text
