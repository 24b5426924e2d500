"""Queries in every form, and what answers them."""

import json
import os
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
from rich.console import Console

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.metrics import cosine_ranking
from vidssl_cli.media.encode import JpegEncoder
from vidssl_cli.model.embedding import embed
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index


@pytest.fixture(scope="module")
def folder(toy_encoder, toy_videos, tmp_path_factory):
    """An index of the first ten videos."""
    folder = tmp_path_factory.mktemp("indexes") / "index"
    build_index(toy_encoder(), toy_videos[:10], folder, standardise=True, every="recipe")
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return open_index(folder)


def ask(index, *texts, **options):
    answers, broken = retrieve(index, texts, **{"top": 10, "device": "cpu", **options})
    return answers, broken


def items(answer):
    return [hit.item for hit in answer.hits]


def test_videos_are_ranked_by_cosine(index, toy_videos):
    answers, broken = ask(index, *(video.path for video in toy_videos))
    assert not broken
    vectors = index.level("video").vectors(np.arange(10))
    expected = cosine_ranking(vectors, vectors, 10)
    assert [items(answer) for answer in answers[:10]] == expected.tolist()
    for answer in answers:
        scores = [hit.score for hit in answer.hits]
        assert scores == sorted(scores, reverse=True)
        assert all(-1 <= score <= 1 for score in scores)
        assert [hit.rank for hit in answer.hits] == list(range(1, 11))
        assert [hit.path for hit in answer.hits] == [toy_videos[i].path for i in items(answer)]
        assert [hit.label for hit in answer.hits] == [toy_videos[i].label for i in items(answer)]


def test_a_file_finds_itself_and_an_item_does_not(index, toy_videos):
    path = toy_videos[4].path
    (by_file, by_item), _ = ask(index, path, "#4")
    assert by_file.hits[0].path == path
    assert by_file.hits[0].score == 1
    assert items(by_item) == items(by_file)[1:]
    assert [hit.rank for hit in by_item.hits] == list(range(1, 10))
    (excluded,), _ = ask(index, path, exclude_self=True)
    assert items(excluded) == items(by_item)
    (included,), _ = ask(index, "#4", exclude_self=False)
    assert items(included) == items(by_file)


def test_fewer_hits_can_be_asked_for_than_the_own_one_takes_away(index):
    (answer,), _ = ask(index, "#4", top=3)
    assert len(answer.hits) == 3
    (answer,), _ = ask(index, "#4", top=3, level="clip")
    assert len(answer.hits) == 3
    assert 4 not in items(answer)


def test_clips_are_ranked_by_themselves(index, toy_videos):
    (answer,), _ = ask(index, toy_videos[4].path, level="clip", top=100)
    assert len(answer.hits) == 30
    assert len({(hit.path, hit.start) for hit in answer.hits}) == 30
    clips = index.level("clip")
    query = clips.unit(index.gallery.features["clip"][12:15].mean(0))
    best = cosine_ranking(query[None], clips.vectors(np.arange(30)), 1)[0, 0]
    assert answer.hits[0].item == best // 3
    assert answer.hits[0].start == pytest.approx(index.gallery.spans[best][0])


def test_a_hit_tells_its_most_similar_moment(index):
    (answer,), _ = ask(index, "#4")
    clips = index.level("clip")
    query = clips.unit(index.gallery.features["clip"][12:15].mean(0))
    for hit in answer.hits:
        part = index.gallery.part(hit.item)
        similar = clips.vectors(np.arange(part.start, part.stop)) @ query
        span = index.gallery.spans[part][similar.argmax()]
        assert (hit.start, hit.end) == pytest.approx(span.tolist(), abs=1e-3)


def test_a_moment_of_a_file_is_found_where_it_is(index, toy_videos):
    # The gallery has clips of frames 0-7, 16-23 and 32-39 at 25 frames per second.
    for start, end in [(0, 0.32), (0.64, 0.96), (1.28, 1.6)]:
        (answer,), _ = ask(index, f"{toy_videos[4].path}@{start}-{end}", level="clip")
        hit = answer.hits[0]
        assert (hit.item, hit.start, hit.end) == (4, pytest.approx(start), pytest.approx(end))
        assert hit.score > 0.99999


def test_a_moment_shorter_than_a_clip_is_widened_and_it_is_said(index, toy_videos, capsys):
    ask(index, f"{toy_videos[4].path}@0.2-1.4", level="clip")
    assert "shorter" not in capsys.readouterr().err
    (answer,), _ = ask(index, f"{toy_videos[4].path}@0.78-0.82", level="clip")
    assert "seconds 0.64 to 0.96 are what is looked for" in capsys.readouterr().err
    assert (answer.hits[0].item, answer.hits[0].start) == (4, pytest.approx(0.64))
    assert answer.hits[0].score > 0.99999


def test_a_moment_of_an_item_is_widened_to_the_clips_that_are_stored(index, capsys):
    ask(index, "#4@0.7-0.9", level="clip")
    assert "seconds 0.64 to 0.96 are what is looked for" in capsys.readouterr().err
    ask(index, "#4@0.64-0.96", level="clip")
    assert capsys.readouterr().err == ""


def test_a_moment_of_an_item_is_what_lies_in_it(toy_encoder, toy_videos, tmp_path, capsys):
    build_index(toy_encoder(), toy_videos, tmp_path / "index", every=0.16)
    index = open_index(tmp_path / "index")
    capsys.readouterr()
    for moment, span in [((0.32, 0.8), (0.32, 0.8)), ((0.3, 0.85), (0.32, 0.8)),
                         ((0.36, 0.6), (0.32, 0.64))]:  # fmt: skip
        (answer,), _ = ask(index, "#4@{}-{}".format(*moment), exclude_self=False)
        assert answer.span == pytest.approx(span)
        hit = answer.hits[0]
        assert (hit.item, hit.start, hit.end) == (4, *map(pytest.approx, span))
        assert hit.score == pytest.approx(1)
    assert capsys.readouterr().err == ""


def test_a_moment_of_an_item_is_its_clips(index):
    (answer,), _ = ask(index, "#4@0.7-0.9", level="clip", exclude_self=False)
    assert (answer.hits[0].item, answer.hits[0].start) == (4, pytest.approx(0.64))
    assert answer.hits[0].score == 1


def test_two_moments_of_one_video_are_two_queries(index, toy_videos):
    path = toy_videos[4].path
    answers, _ = ask(index, f"{path}@0-0.32", path, f"{path}@1.28-1.6", level="clip")
    assert [answer.hits[0].start for answer in answers[::2]] == pytest.approx([0, 1.28])


def test_a_folder_stands_for_its_videos(index, toy_videos, tmp_path):
    for number in (1, 7):
        shutil.copy(toy_videos[number].path, tmp_path / f"{number}.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    answers, broken = ask(index, str(tmp_path))
    assert [os.path.basename(answer.query.text) for answer in answers] == ["1.mp4", "7.mp4"]
    assert [answer.hits[0].item for answer in answers] == [1, 7]
    assert [error.where for error in broken] == [str(tmp_path / "broken.mp4")]


def test_a_file_that_is_gone_is_an_item(toy_encoder, toy_videos, tmp_path):
    path = tmp_path / "video.mp4"
    shutil.copy(toy_videos[0].path, path)
    gallery = [replace(toy_videos[0], path=str(path)), *toy_videos[1:4]]
    build_index(toy_encoder(), gallery, tmp_path / "index")
    path.unlink()
    (answer,), _ = ask(open_index(tmp_path / "index"), str(path))
    assert (answer.query.item, sorted(items(answer))) == (0, [1, 2, 3])


def test_a_name_that_looks_like_a_moment_or_an_item_is_a_file_if_there_is_one(
    index, toy_videos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("take@1-2", "#3"):
        shutil.copy(toy_videos[6].path, tmp_path / name)
    answers, _ = ask(index, "take@1-2", "#3")
    assert [answer.hits[0].item for answer in answers] == [6, 6]


def test_broken_queries_are_named_and_the_others_answered(index, toy_videos, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    reasons = {
        str(tmp_path / "broken.mp4"): "damaged",
        "nowhere.mp4": "no such file",
        "#10": "#0 to #9",
        "#4@7-9": "ends at 1.60 s",
        f"{toy_videos[4].path}@7-9": "ends at 1.60 s",
        f"{toy_videos[4].path}@1-0.5": "before it starts",
        "#4@1-1": "where it starts",
        f"{tmp_path}@1-2": "not of a folder or list",
    }
    answers, broken = ask(index, *reasons, "#4")
    assert [answer.query.text for answer in answers] == ["#4"]
    assert {error.where for error in broken} == set(reasons)
    told = capsys.readouterr().err
    for error in broken:
        assert reasons[error.where] in str(error)
        assert f"{error.where}: {error}" in told


def test_a_number_of_thousands_of_digits_is_no_item(index):
    with pytest.raises(VidsslError, match="none of 1 queries"):
        ask(index, "#" + "9" * 5000)


def test_a_query_of_which_a_part_is_missing_is_answered_and_named(
    index, make_video, tmp_path, capsys
):
    path = make_video(tmp_path / "cut.avi", codec="mpeg4", options={"g": "8"})
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"00dc", 0, content.index(b"idx1")) + 20])
    (answer,), broken = ask(index, str(path))
    assert answer.hits
    assert not broken
    assert f"warning: {path}: cut short: has" in capsys.readouterr().err


def test_a_still_picture_is_refused_as_what_it_is(index, toy_videos, tmp_path, capsys):
    path = tmp_path / "still.jpg"
    path.write_bytes(JpegEncoder((48, 64), 5)(np.zeros((3, 48, 64), np.uint8)))
    _, (error,) = ask(index, str(path), toy_videos[0].path)
    assert str(error) == "is a still picture (JPEG), not a video"


def test_a_gif_of_one_picture_is_a_query(index, tmp_path):
    path = tmp_path / "still.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", 25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb8"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    (answer,), broken = ask(index, str(path))
    assert answer.hits
    assert not broken


def test_if_no_query_can_be_answered_that_is_an_error(index):
    with pytest.raises(VidsslError, match="none of 2 queries"):
        ask(index, "#10", "nowhere.mp4")


def test_equal_videos_stay_in_gallery_order(toy_encoder, toy_videos, tmp_path):
    copies = []
    for number in range(6):
        path = tmp_path / f"{number}.mp4"
        shutil.copy(toy_videos[number % 2].path, path)
        copies.append(replace(toy_videos[number % 2], path=str(path)))
    build_index(toy_encoder(), copies, tmp_path / "index")
    (answer,), _ = ask(open_index(tmp_path / "index"), str(tmp_path / "3.mp4"))
    assert items(answer) == [1, 3, 5, 0, 2, 4]


@pytest.mark.parametrize("factory", ["HNSW", "IVF", "SQ", "IVF2,SQ8"])
def test_approximate_indexes_answer_like_the_exact_one(
    toy_encoder, toy_videos, index, tmp_path, factory
):
    build_index(
        toy_encoder(),
        toy_videos[:10],
        tmp_path / "index",
        factory=factory,
        standardise=True,
        every="recipe",
    )
    texts = [video.path for video in toy_videos]
    for one, other in zip(
        ask(open_index(tmp_path / "index"), *texts)[0], ask(index, *texts)[0], strict=True
    ):
        assert one.hits == other.hits


def test_a_moved_index_answers_the_same(folder, toy_videos, tmp_path):
    texts = [toy_videos[0].path, "#3"]
    before, _ = ask(open_index(folder), *texts)
    shutil.copytree(folder, tmp_path / "elsewhere")
    after, _ = ask(open_index(tmp_path / "elsewhere"), *texts)
    assert [answer.hits for answer in after] == [answer.hits for answer in before]


def test_the_json_document(folder, toy_videos, capsys):
    assert (
        run(app, ["retrieve", str(folder), toy_videos[0].path, "#2", "--top", "4", "--json"]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert [query["query"] for query in document["queries"]] == [toy_videos[0].path, "#2"]
    assert document["broken"] == []
    for query in document["queries"]:
        assert len(query["hits"]) == 4
        for hit in query["hits"]:
            assert {"rank", "path", "score", "start", "end", "label"} <= hit.keys()
    assert document["queries"][0]["hits"][0] == {
        "rank": 1,
        "path": toy_videos[0].path,
        "score": 1.0,
        "start": document["queries"][0]["hits"][0]["start"],
        "end": document["queries"][0]["hits"][0]["end"],
        "label": "class 0",
        "there": True,
        "item": 0,
    }


def test_exit_statuses(folder, toy_videos, tmp_path, capsys):
    good, bad = toy_videos[0].path, "nowhere.mp4"
    assert run(app, ["retrieve", str(folder), good, bad, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["broken"][0]["path"] == bad
    assert run(app, ["retrieve", str(folder), good, bad, "--json", "--strict"]) == 5
    assert len(json.loads(capsys.readouterr().out)["queries"]) == 1
    assert run(app, ["retrieve", str(folder), bad, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "failed"
    assert run(app, ["retrieve", str(tmp_path), good, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == str(tmp_path)


def test_a_damaged_index_is_refused_by_name(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "index")
    path = next((tmp_path / "index").glob("*/video.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 16
    path.write_bytes(damaged)
    assert run(app, ["retrieve", str(tmp_path / "index"), "#1", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["where"] == str(path)


def test_the_table_fits_a_terminal_and_paths_are_whole(folder, toy_videos, capsys, monkeypatch):
    words = ["retrieve", str(folder), toy_videos[0].path, "#2"]
    assert run(app, words) == 0
    assert toy_videos[3].path in capsys.readouterr().out  # one line in a pipe
    terminal = Console(force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("vidssl_cli.base.console.stdout", terminal)
    assert run(app, words) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "1.000" in out
    assert "class 0" in out


def test_an_index_of_several_strides(toy_encoder, toy_videos, tmp_path):
    encoder = toy_encoder(stride=[1, 2])
    (single,) = embed(toy_encoder(), toy_videos[:1], skipped=[])
    build_index(encoder, toy_videos[:4], tmp_path / "index", standardise=True, factory="SQ8")
    index = open_index(tmp_path / "index")
    assert index.settings.evaluation.stride == (1, 2)
    (answer, moment), _ = ask(index, toy_videos[2].path, f"{toy_videos[2].path}@0.4-1.2")
    assert (answer.hits[0].path, answer.hits[0].score) == (toy_videos[2].path, 1)
    assert (moment.level, moment.hits[0].path) == ("moment", toy_videos[2].path)
    again = build_index(encoder, toy_videos[:5], tmp_path / "index")
    assert (again.added, again.dimension) == (1, 2 * single.features.shape[1])
