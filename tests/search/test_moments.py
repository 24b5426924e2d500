"""Moments, filters and groups, against brute force over made-up features."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract import metrics
from vidssl_cli.contract.videos import Video
from vidssl_cli.model.embedding import Embedded
from vidssl_cli.search import entries
from vidssl_cli.search import retrieve as retrieve_module
from vidssl_cli.search.build import build_index
from vidssl_cli.search.levels import Level
from vidssl_cli.search.moments import find_moments
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index
from vidssl_cli.search.where import matching

DIMENSION, CLIPS, VIDEOS = 12, 6, 60


def features(number):
    return np.random.default_rng(number).normal(3, 1, (CLIPS, DIMENSION)).astype(np.float32)


SPANS = np.float32([[n, n + 1] for n in range(CLIPS)])


@pytest.fixture(scope="module", params=["Flat", "HNSW"])
def index(request, toy_encoder, tmp_path_factory):
    """Videos of six clips; every third is a, and two of them are removed."""
    folder = tmp_path_factory.mktemp("moments")
    videos = []
    for number in range(VIDEOS):
        path = folder / f"{number:02}.mp4"
        path.write_bytes(bytes(number + 1))
        videos.append(
            Video(
                str(path), "abc"[number % 3], group=f"g{number // 10}", frames=150, fps=25.0,
                width=64, height=48, duration=1.0 + number / 10,
            )
        )  # fmt: skip

    def embed(encoder, videos, **options):
        for video in videos:
            number = int(os.path.basename(video.path).partition(".")[0])
            yield Embedded(video, features(number), SPANS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "embed", embed)
        build_index(toy_encoder(), videos[:40], folder / "index", factory=request.param)
        build_index(toy_encoder(), videos, folder / "index")
        for number in (5, 41):
            os.unlink(videos[number].path)
        build_index(toy_encoder(), [], folder / "index", prune=True)
    return open_index(folder / "index")


def ask(index, *texts, **options):
    answers, broken = retrieve(index, texts, device="cpu", **{"exclude_self": False, **options})
    assert not broken
    return answers


def units(index, level):
    """Unit vectors (N, D) or (N, clips, D) of all videos, removed or not."""
    raw = np.stack([features(number) for number in range(VIDEOS)])
    return metrics.unit(raw.mean(1) if level == "video" else raw)


def whiten(index, rows):
    """Unit vectors of features (…, D) whose cosine is that of the index's Mahalanobis metric."""
    gallery = np.concatenate([features(item) for item in index.gallery.items]).astype(float)
    covariance = np.cov(gallery.T, bias=True)
    least = (0.1 + DIMENSION / len(gallery)) * np.trace(covariance) / DIMENSION
    values, vectors = np.linalg.eigh(covariance + least * np.eye(DIMENSION))
    return metrics.unit((rows - gallery.mean(0)) @ vectors / np.sqrt(values))


def kept(index, rule):
    gallery = index.gallery
    return [i for i in gallery.items.tolist() if rule(gallery.videos[i])]


RULES = [
    ("1", lambda v: True),
    ("label = 'a'", lambda v: v.label == "a"),
    ("label = 'a' and duration > 3", lambda v: v.label == "a" and v.duration > 3),
    ("group in (\"g1\", 'g4') or fps < 1 -- both", lambda v: v.group in ("g1", "g4")),
    ("path like '%/07.mp4'", lambda v: v.path.endswith("/07.mp4")),
    ("split is null and label <> 'group'", lambda v: True),
    ("frames * width > height and duration < 3.05", lambda v: v.duration < 3.05),
    ("label = 'group'", lambda v: False),
    ("label <> ')' and path not like '%)%' -- )", lambda v: True),
    (
        "case when (label in ('a', 'x') /* ) */) then (frames > 0) else ((0)) end",
        lambda v: v.label == "a",
    ),
    (
        "`group` = 'g1' or [group] = 'g4' or \"group\" = 'g2'",
        lambda v: v.group in ("g1", "g2", "g4"),
    ),
]


@pytest.mark.parametrize(("where", "rule"), RULES)
@pytest.mark.parametrize("level", ["video", "clip"])
@pytest.mark.parametrize("top", [1, 7, 1000])
def test_a_filter_answers_like_brute_force_over_what_is_left(index, where, rule, level, top):
    items = kept(index, rule)
    np.testing.assert_array_equal(matching(index.gallery, where), items)
    gallery = units(index, level)
    for query in (0, 30):
        (answer,) = ask(index, f"#{query}", where=where, level=level, top=top)
        scores = gallery[items] @ metrics.unit(features(query).mean(0))
        best = np.sort(scores.ravel())[::-1][:top]
        assert len(answer.hits) == len(best)
        np.testing.assert_allclose([hit.score for hit in answer.hits], best, atol=2e-6)
        assert {hit.item for hit in answer.hits} <= set(items)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("labl = 'a'", "no such column: labl"),
        ("label =", "syntax error"),
        ("1) union select 1 from videos where (1", "a bracket that it does not open"),
        ("1 union select 1 from videos", "syntax error|UNION"),
        ("path in (select path from videos)", "not authorized"),
        ("1) limit (2", "a bracket that it does not open"),
        ("1) -- (\nlimit (2", "a bracket that it does not open"),
        ("1 /* ( */) or (0", "a bracket that it does not open"),
        ("1)", "a bracket that it does not open"),
        ("(1", "incomplete input|syntax error"),
        ("1 /* open", "incomplete input|syntax error"),
        ("1); drop table videos; --", "a bracket that it does not open"),
        ("1; drop table videos", "syntax error|one statement"),
        ("exists (select * from sqlite_master)", "prohibited"),
        ("load_extension('x')", "not authorized"),
        ("a\0b", "null character"),
        ("label = zeroblob(2000000)", "too big"),
    ],
)
def test_a_bad_filter_is_refused_with_the_reason(index, where, reason):
    with pytest.raises(UsageError, match=reason) as refused:
        matching(index.gallery, where)
    assert refused.value.where == "--where"


def test_names_that_are_not_utf8_can_be_compared(index):
    gallery = index.gallery
    video = replace(gallery.videos[3], path="/odd/\udcff.mp4")
    gallery.changed = {**gallery.changed, 3: video}
    try:
        assert matching(gallery, "path like '/odd/%'").tolist() == [3]
    finally:
        gallery.changed = {}


@pytest.mark.parametrize("level", ["video", "clip", "moment"])
def test_groups_have_one_hit_each(index, level):
    whole = ask(index, "#4", level=level, top=1000)[0].hits
    for name, of in (("label", lambda hit: hit.label), ("video", lambda hit: hit.item)):
        first = {}
        for hit in whole:
            first.setdefault(of(hit), hit)
        for top in (1, 2, 1000):
            (answer,) = ask(index, "#4", level=level, group_by=name, top=top)
            found = [replace(hit, rank=0) for hit in answer.hits]
            assert found == [replace(hit, rank=0) for hit in [*first.values()][:top]]
            assert [hit.rank for hit in answer.hits] == [*range(1, len(found) + 1)]


def brute_moments(query, asked, gallery, spans):
    """Lay a query (N, D) over a video (M, D) at each quarter of the way from clip to clip.

    Of starts at which the same clips are compared, that counts at which these are nearest.
    """
    middles, length = spans.mean(1), asked.max() - asked.min()
    offsets, found = asked.mean(1) - asked.min(), {}
    for step in range(4 * len(spans) - 3):
        start = np.interp(step / 4, range(len(spans)), middles) - offsets[0]
        if step and start + offsets[-1] > middles[-1] + 1e-3:
            continue
        cosines, places, moved = [], [], 0.0
        for offset, vector in zip(offsets, query, strict=True):
            place = np.interp(start + offset, middles, range(len(spans)))
            low, high = int(np.floor(place)), int(np.ceil(place))
            share = place - low
            if spans[high, 0] > spans[low, 1] + 1e-3:
                share = round(share)
            shown = (1 - share) * gallery[low] + share * gallery[high]
            cosines.append(vector @ shown / np.linalg.norm(shown))
            places.append(low + share)
            moved += abs(low + share - place)
        shown = (moved, -np.mean(cosines), start)
        found[tuple(places)] = min(found.get(tuple(places), shown), shown)
    kept = []
    for score, start in sorted(each[1:] for each in found.values()):
        if all(abs(start - other) >= length / 2 for _, other in kept):
            kept.append((score, start))
    return [(-score, max(s, spans[0, 0]), min(s + length, spans[-1, 1])) for score, s in kept]


@pytest.mark.parametrize("hop", [0.25, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("clips", [1, 3, 30])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_query_is_laid_over_a_video(hop, clips, count):
    random = np.random.default_rng(clips)
    spans = (np.stack([np.arange(count) * hop, np.arange(count) * hop + 1], 1)).astype(np.float32)
    asked = np.stack([np.arange(clips) * 0.4 + 7, np.arange(clips) * 0.4 + 8], 1)
    gallery = metrics.unit(random.normal(size=(count, DIMENSION)))
    query = metrics.unit(random.normal(size=(clips, DIMENSION)))
    found = [(s.score, s.start, s.end) for s in find_moments(query, asked, gallery, spans)]
    expected = brute_moments(query, asked, gallery, spans.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_clips_that_are_far_apart_are_found_where_they_are():
    spans = np.float32([[3 * n, 3 * n + 1] for n in range(5)])
    gallery = metrics.unit(np.random.default_rng(0).normal(size=(5, DIMENSION)))
    found = [*find_moments(gallery[2:3], np.float32([[7, 8]]), gallery, spans)]
    assert (found[0].start, found[0].end, found[0].score) == (6, 7, pytest.approx(1))
    assert sorted(span.start for span in found) == [0, 3, 6, 9, 12]


def test_a_moment_that_is_there_is_found_to_the_second():
    random = np.random.default_rng(0)
    spans = np.float32([[n, n + 1] for n in range(50)])
    gallery = metrics.unit(random.normal(size=(50, DIMENSION)))
    for begin in (0, 17, 47):
        part = gallery[begin : begin + 3]
        best = next(find_moments(part, spans[:3] + 4, gallery, spans))
        assert (best.start, best.end) == pytest.approx((begin, begin + 3))
        assert best.score == pytest.approx(1)


@pytest.mark.parametrize("top", [1, 10, 1000])
def test_moments_are_ranked_like_brute_force(index, top, monkeypatch):
    monkeypatch.setattr(retrieve_module, "_CANDIDATES", 10_000)
    clips = whiten(index, np.stack([features(number) for number in range(VIDEOS)]))
    query = whiten(index, features(37)[2:4])
    expected = []
    for item in kept(index, lambda v: True):
        found = brute_moments(query, SPANS[2:4], clips[item], SPANS)
        expected += [(round(score, 5), item, start, end) for score, start, end in found]
    expected.sort(key=lambda each: -each[0])
    if index.settings.factory == "HNSW":
        top = min(top, 10)  # at the end of its ranking an approximate index misses some
    (answer,) = ask(index, "#37@2-4", top=top)
    assert answer.level == "moment"
    assert (answer.hits[0].item, answer.hits[0].start, answer.hits[0].end) == (37, 2, 4)
    np.testing.assert_allclose(
        [hit.score for hit in answer.hits], [each[0] for each in expected[:top]], atol=1e-5
    )
    assert len({(hit.item, hit.start) for hit in answer.hits}) == len(answer.hits)


def test_each_clip_of_a_moment_proposes_videos(index, monkeypatch):
    """The mean of two different clips is similar to other videos."""
    monkeypatch.setattr(retrieve_module, "_CANDIDATES", 1)
    clips = units(index, "clip")
    asked = kept(index, lambda v: True)
    nearest = [(clips @ metrics.unit(features(i)[[0, 1]].mean(0))).max(1).argmax() for i in asked]
    hard = [i for i, first in zip(asked, nearest, strict=True) if first != i]
    assert hard
    answers = ask(index, *(f"#{i}@0-2" for i in hard), top=1)
    assert [(each.hits[0].item, each.hits[0].score) for each in answers] == [(i, 1) for i in hard]


def test_a_gallery_of_one_picture_or_of_no_numbers():
    removed, scaling = np.empty(0, np.int64), np.stack([np.zeros(DIMENSION), np.ones(DIMENSION)])
    same = Level(np.ones((50, DIMENSION), np.float32), scaling, removed, None)
    np.testing.assert_array_equal(same.white(features(1)), same.unit(features(1)))
    broken = Level(np.full((50, DIMENSION), np.nan, np.float32), scaling, removed, None)
    with pytest.raises(DamagedFileError, match="not finite"):
        broken.white(features(1))


def test_of_few_clips_moments_are_compared_as_they_are():
    removed = np.empty(0, np.int64)
    level = Level(features(0), np.stack([np.zeros(DIMENSION), np.ones(DIMENSION)]), removed, None)
    np.testing.assert_array_equal(level.white(features(1)), level.unit(features(1)))


def test_what_is_searched_by_default(index):
    whole, moment, chosen = (
        ask(index, "#37")[0], ask(index, "#37@2-4")[0], ask(index, "#37@2-4", level="video")[0]
    )  # fmt: skip
    assert [each.level for each in (whole, moment, chosen)] == ["video", "moment", "video"]
    assert ask(index, "#0")[0].level == "moment"  # it is no longer than a clip
    both = ask(index, "#37@2-4", "#8", "#39@1-2")
    assert [(each.query.text, each.level) for each in both] == [
        ("#37@2-4", "moment"), ("#8", "video"), ("#39@1-2", "moment"),
    ]  # fmt: skip


def test_the_options_of_the_command(index, capsys, tmp_path):
    command = ["retrieve", str(index.folder.parent), "#37@2-4", "--json"]
    assert run(app, [*command, "--where", "label = 'b'", "--group-by", "video", "--top", "3"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["queries"]
    assert found["level"] == "moment"
    assert [hit["label"] for hit in found["hits"]] == ["b"] * 3
    assert len({hit["item"] for hit in found["hits"]}) == 3
    assert run(app, [*command, "--where", "label ="]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--where"
    (tmp_path / "x.faiss").write_bytes(b"x")
    both = ["--where", "1", "--foreign-faiss", str(tmp_path / "x.faiss")]
    assert run(app, [*command, *both]) == 2
    capsys.readouterr()
    assert run(app, [*command[:-1], "--where", "0"]) == 0
