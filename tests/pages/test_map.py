"""`vidssl map`: vectors on a plane, and the page that shows them."""

import json
import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.pages.map import sample, write_map
from vidssl_cli.pages.projection import lay_out
from vidssl_cli.search.build import build_index
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.store import open_index

HOSTILE = """<script>alert(1)<'"& $title .mp4"""


class Page(HTMLParser):
    """Collects the points, the tags and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.points, self.tags, self.text = [], Counter(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        kinds = (dict(attributes).get("class") or "").split()
        if "dot" in kinds:
            self.points.append((kinds, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def places(self):
        styles = (attributes["style"] for _, attributes in self.points)
        return [tuple(map(float, re.findall(r"[\d.]+", style))) for style in styles]


@pytest.fixture(scope="module")
def index(toy_encoder, toy_videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    hostile = folder / HOSTILE
    shutil.copyfile(toy_videos[0].path, hostile)
    odd = replace(toy_videos[0], path=str(hostile), label="<b>&'\"")
    plain = replace(toy_videos[1], label=None)
    build_index(toy_encoder(), [odd, plain, *toy_videos[2:]], folder / "index")
    return folder / "index"


def test_pca_is_that_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    random = np.random.default_rng(0)
    for shape in ((60, 20), (15, 80), (400, 64)):
        vectors = random.normal(size=shape) * np.geomspace(3, 0.1, shape[1])
        model = decomposition.PCA(2).fit(vectors)
        expected = model.transform(vectors)
        plane = lay_out(vectors, "pca")
        assert np.abs(plane.points) == pytest.approx(np.abs(expected), abs=1e-6)
        assert plane.variance == pytest.approx(model.explained_variance_ratio_.sum())


def test_pca_lies_the_same_way_every_time():
    vectors = np.random.default_rng(0).normal(size=(30, 8))
    first, again = (lay_out(vectors, "pca").points for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (5, 1)])
def test_few_videos_and_few_dimensions_have_a_map(shape):
    vectors = np.random.default_rng(0).normal(size=shape)
    plane = lay_out(vectors, "pca")
    assert plane.points.shape == (len(vectors), 2)
    assert np.isfinite(plane.points).all()
    assert (plane.variance is None) == (len(vectors) == 1)


def test_equal_vectors_lie_at_one_place():
    plane = lay_out(np.ones((4, 3)), "pca")
    assert not plane.points.any()
    assert plane.variance is None


def test_umap_is_asked_for_cosine_and_one_seed(monkeypatch):
    asked = {}

    class UMAP:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    vectors = np.random.default_rng(0).normal(size=(40, 5))
    plane = lay_out(vectors, "umap")
    assert plane.points == pytest.approx(vectors[:, :2])
    assert plane.variance is None
    assert (asked["metric"], asked["random_state"]) == ("cosine", 0)
    with pytest.raises(UsageError, match="a map of 29 videos"):
        lay_out(vectors[:29], "umap")


@given(st.lists(st.sampled_from(["a", "b", "c", None])), st.integers(0, 30))
def test_a_sample_is_even_over_classes(labels, count):
    chosen = sample(labels, count).tolist()
    assert len(chosen) == min(count, len(labels))
    assert chosen == sorted(set(chosen))
    taken, there = Counter(labels[item] for item in chosen), Counter(labels)
    for one in there:
        for other in there:
            assert taken[one] >= min(there[one], taken[other] - 1)


def test_a_sample_is_spread_over_a_class():
    assert sample(["a"] * 10, 5).tolist() == [0, 2, 4, 6, 8]


def test_every_video_is_a_point_where_its_vector_lies(index, tmp_path):
    page = tmp_path / "map.html"
    summary = write_map(page, open_index(index), projection="pca", moving=100)
    found = Page(page)
    assert (summary.videos, summary.points, summary.moving) == (12, 12, 12)
    assert len(found.points) == 12
    assert found.tags["img"] == 12
    opened = open_index(index)
    points = lay_out(opened.level("video").vectors(np.arange(12)), "pca").points
    across, down = np.array(found.places()).T
    for shown, meant in ((across, points[:, 0]), (-down, points[:, 1])):
        assert np.corrcoef(shown, meant)[0, 1] == pytest.approx(1, abs=1e-4)
    assert (np.array(found.places()) >= 0).all()
    assert (np.array(found.places()) <= 100).all()


def test_points_of_a_class_have_its_colour_and_the_legend_says_so(index, tmp_path):
    page = tmp_path / "map.html"
    write_map(page, open_index(index), projection="pca", moving=0)
    videos = open_index(index).gallery.videos
    kinds = {}
    for video, (found, _) in zip(videos, Page(page).points, strict=True):
        kinds.setdefault(video.label, set()).add(tuple(found))
    assert all(len(found) == 1 for found in kinds.values())
    assert len(set.union(*kinds.values())) == len(kinds) == 5
    assert kinds[None] == {("dot", "none")}
    assert Page(page).tags["input"] == 1 + 4  # all of them, and each class


def test_names_are_text_and_nothing_runs(index, tmp_path):
    for moving in (0, 100):
        page = tmp_path / f"{moving}.html"
        write_map(page, open_index(index), projection="pca", moving=moving)
        found = Page(page)
        assert found.tags["script"] == 0
        assert not re.search(r"\son\w+=", re.sub(r'"[^"]*"', "", page.read_text()))
        assert "<b>&'\"" in "".join(found.text)
    assert HOSTILE in "".join(found.text)


def test_what_does_not_move_is_said(index, tmp_path, capsys):
    out = tmp_path / "map.html"
    arguments = ["map", str(index), "--out", str(out), "--moving", "4"]
    assert run(app, [*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["points"], document["moving"]) == (12, 4)
    found = Page(out)
    assert found.tags["img"] == 4
    assert "8 show their names only" in "".join(found.text)
    assert run(app, arguments) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_video_that_is_gone_is_named(index, tmp_path, capsys):
    moved = tmp_path / "index"
    shutil.copytree(index, moved)
    opened = open_index(moved)
    gallery = opened.gallery
    gone = replace(gallery.videos[3], path=str(tmp_path / "gone.mp4"))
    opened.gallery = Gallery(gallery.segments, gallery.removed, {3: gone})
    summary = write_map(tmp_path / "map.html", opened, projection="pca", moving=100)
    assert [row["path"] for row in summary.broken] == [str(tmp_path / "gone.mp4")]
    assert summary.moving == 11
    assert len(Page(tmp_path / "map.html").points) == 12


def test_umap_that_is_not_installed_is_said(index, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)
    arguments = ["map", str(index), "--out", str(tmp_path / "m.html"), "--projection", "umap"]
    assert run(app, arguments) == 2
    assert "UMAP is not installed" in capsys.readouterr().err
