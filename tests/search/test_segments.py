"""Segments of an index: videos added, changed, renamed and removed, with made-up features."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, VidsslError
from vidssl_cli.contract import metrics
from vidssl_cli.contract.videos import Video
from vidssl_cli.files import verified
from vidssl_cli.model.embedding import Embedded
from vidssl_cli.search import entries
from vidssl_cli.search.build import UnchangedVideos, build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index, verify_index
from vidssl_cli.search.where import matching

DIMENSION = 12


@pytest.fixture(scope="module")
def encoder(toy_encoder):
    return toy_encoder()


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    """Let features tell which video they are of, by the number in its name."""

    def embed(encoder, videos, **options):
        for video in videos:
            yield Embedded(video, features(video), np.float32([[0, 1], [1, 2]]))

    monkeypatch.setattr(entries, "embed", embed)


def features(video):
    number = int(os.path.basename(video.path).partition(".")[0])
    return np.random.default_rng(number).normal(3, 1, (2, DIMENSION)).astype(np.float32)


@pytest.fixture
def make(tmp_path):
    """Return videos by number, whose files have that many bytes."""

    def make(*numbers, label=None):
        videos = []
        for number in numbers:
            path = tmp_path / f"{number}.mp4"
            if not path.exists():
                path.write_bytes(bytes(number))
            sha = f"{number:064x}"
            videos.append(
                Video(str(path), label, frames=50, fps=25.0, bytes=number, ends_sha256=sha)
            )
        return videos

    return make


def segments(folder):
    return [len(segment) for segment in open_index(folder).gallery.segments]


def folders(folder):
    return {path.name for path in folder.glob("segment-*")}


def check(folder, videos):
    """Compare an index with brute force over what it should hold."""
    index = open_index(folder)
    gallery, items = index.gallery, index.gallery.items
    assert {gallery.videos[i] for i in items.tolist()} == set(videos)
    assert len(gallery) == len(videos)
    for video in videos:
        item = gallery.item(video.path)
        assert gallery.videos[item] == video
        part = gallery.part(item)
        np.testing.assert_array_equal(gallery.features["clip"][part], features(video))
        assert [gallery.owner(clip) for clip in range(part.start, part.stop)] == [item] * 2
    ordered = [gallery.videos[i] for i in items.tolist()]
    means = np.stack([features(video).mean(0, dtype=np.float64) for video in ordered])
    units = metrics.unit(means.astype(np.float32))
    if index.settings.standardise:
        scaling = metrics.scaling(means.astype(np.float32))
        units = metrics.unit(metrics.scale(means.astype(np.float32), scaling))
        np.testing.assert_allclose(gallery.statistics("video").scaling(), scaling, rtol=1e-9)
    texts = [f"#{item}" for item in items.tolist()]
    answers, _ = retrieve(index, texts, top=5, exclude_self=False, device="cpu")
    for row, (item, answer) in enumerate(zip(items.tolist(), answers, strict=True)):
        best = np.sort(units @ units[row])[::-1][:5]
        np.testing.assert_allclose([hit.score for hit in answer.hits], best, atol=2e-6)
        assert answer.hits[0].item == item


@pytest.mark.parametrize("standardise", [False, True])
def test_segments_are_joined_so_that_few_are_left(encoder, make, tmp_path, standardise):
    videos = make(*range(1, 41))
    for count in (1, 2, 3, 4, 9, 10, 25, 26, 40):
        build_index(encoder, videos[:count], tmp_path / "index", standardise=standardise)
        sizes = segments(tmp_path / "index")
        assert sum(sizes) == count
        assert all(size >= 2 * sum(sizes[n + 1 :]) for n, size in enumerate(sizes))
    check(tmp_path / "index", videos)
    assert len(folders(tmp_path / "index")) <= 6  # of this generation and the one before


@pytest.mark.parametrize("file", ["gallery.jsonl", "clip.npy", "facts.sqlite"])
def test_what_is_read_of_a_large_segment_is_checked(encoder, make, tmp_path, monkeypatch, file):
    """Also where the file system does not tell that it has changed."""
    out, videos = tmp_path / "index", make(*range(1, 31))
    monkeypatch.setattr(verified, "SMALL", 0)
    build_index(encoder, videos, out)
    path = out / "segment-000001" / file
    content, facts = bytearray(path.read_bytes()), os.stat(path)
    if file == "gallery.jsonl":
        content[content.index(b"/1.mp4") + 1] = ord("7")
    elif file == "clip.npy":
        content[200:206] = b"\x00\x00\x80\x3f\x00\x00"
    else:
        content[0] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(
        verified, "_state", lambda *_: verified._read(verified.note_of(path.parent))
    )
    index = open_index(out)
    with pytest.raises(DamagedFileError) as caught:
        retrieve(index, ["#0"], exclude_self=False, where="path <> 'x'", device="cpu")
    assert str(caught.value.where).startswith(str(out))
    with pytest.raises(DamagedFileError):
        verify_index(out)
    with pytest.raises(DamagedFileError):  # what is joined is read whole
        build_index(encoder, [*videos, *make(*range(31, 60))], out)
    assert facts.st_size == path.stat().st_size


def test_names_that_are_not_utf8_are_found_by_filters(encoder, make, tmp_path):
    out, (video, other) = tmp_path / "index", make(7, 8)
    odd = replace(video, path=str(tmp_path / "7.\udcff.mp4"))
    os.rename(video.path, odd.path)
    build_index(encoder, [other, odd], out)
    gallery = open_index(out).gallery
    assert gallery.videos[1] == odd
    assert matching(gallery, "path like '%/7.%'").tolist() == [1]
    check(out, [other, odd])


def test_what_is_added_does_not_rewrite_what_is_there(encoder, make, tmp_path):
    videos = make(*range(1, 41))
    build_index(encoder, videos[:30], tmp_path / "index")
    before = {p: p.stat().st_ino for p in (tmp_path / "index").glob("segment-000001/*")}
    build_index(encoder, videos, tmp_path / "index")
    assert segments(tmp_path / "index") == [30, 10]
    assert before == {p: p.stat().st_ino for p in (tmp_path / "index").glob("segment-000001/*")}
    assert len(list((tmp_path / "index").glob("encoder-*"))) == 1


@pytest.mark.parametrize("factory", ["Flat", "HNSW", "IVF4,Flat"])
def test_changed_removed_and_relabelled_videos(encoder, make, tmp_path, factory):
    """As they come, over several generations, until it pays to write all anew."""
    out, videos = tmp_path / "index", make(*range(1, 31))
    build_index(encoder, videos, out, factory=factory)
    os.utime(videos[3].path, ns=(5, 5))
    assert build_index(encoder, videos[3:4], out).changed == 1
    assert open_index(out).gallery.removed.tolist() == [3]
    check(out, videos)
    named = [replace(video, label="new") for video in videos[:2]]
    assert build_index(encoder, named, out).changed == 0
    videos[:2] = named
    check(out, videos)
    more = make(41, 42)
    assert build_index(encoder, [*more, more[0]], out).added == 2
    videos += more
    check(out, videos)
    assert len(segments(out)) > 1
    changed = videos[10:20]
    for video in changed:
        os.utime(video.path, ns=(7, 7))
    summary = build_index(encoder, videos, out)
    assert (summary.added, summary.changed, summary.videos) == (0, 10, 32)
    assert segments(out) == [32]  # compacted
    assert not len(open_index(out).gallery.removed)
    check(out, videos)
    for number in (43, 44):
        build_index(encoder, make(number), out)
    assert len(folders(out)) <= 4  # of this generation and the one before


def test_a_renamed_file_is_known_again(encoder, make, tmp_path):
    out, videos = tmp_path / "index", make(*range(1, 11))
    build_index(encoder, videos, out)
    moved = replace(videos[4], path=str(tmp_path / "99.mp4"))
    os.rename(videos[4].path, moved.path)
    copy = replace(videos[5], path=str(tmp_path / "98.mp4"))
    shutil.copy2(videos[5].path, copy.path)
    summary = build_index(encoder, [moved, copy], out)
    assert (summary.renamed, summary.added, summary.videos) == (1, 1, 11)
    gallery = open_index(out).gallery
    assert gallery.item(videos[4].path) is None
    assert gallery.item(moved.path) == 4
    np.testing.assert_array_equal(gallery.features["clip"][gallery.part(4)], features(videos[4]))
    again = build_index(encoder, [moved, copy], out)
    assert (again.renamed, again.added, again.generation) == (0, 0, summary.generation)
    assert UnchangedVideos(out).get(moved.path) == moved
    assert UnchangedVideos(out).get(videos[4].path) is None


def test_an_old_name_may_come_back_with_another_file(encoder, make, tmp_path):
    out, videos = tmp_path / "index", make(*range(1, 11))
    build_index(encoder, videos, out)
    moved = replace(videos[4], path=str(tmp_path / "99.mp4"))
    os.rename(videos[4].path, moved.path)
    build_index(encoder, [moved], out)
    (back,) = make(5)
    assert build_index(encoder, [back], out).added == 1
    gallery = open_index(out).gallery
    assert gallery.item(moved.path) == 4
    assert gallery.item(back.path) == 10
    assert len(gallery) == 11


def test_many_vanished_files_hide_none_that_is_there(encoder, make, tmp_path):
    out, videos = tmp_path / "index", make(*range(1, 101))
    build_index(encoder, videos, out)
    (answer,), _ = retrieve(open_index(out), ["#20"], top=99, device="cpu")
    items = [hit.item for hit in answer.hits]
    for item in items[:90]:
        os.remove(videos[item].path)
    (answer,), _ = retrieve(open_index(out), ["#20"], top=3, device="cpu")
    assert [hit.item for hit in answer.hits] == items[90:93]


def test_a_label_is_represented_by_a_file_that_is_there(encoder, make, tmp_path):
    out = tmp_path / "index"
    videos = [*make(*range(1, 11), label="a"), *make(*range(11, 21), label="b")]
    build_index(encoder, videos, out)
    (whole,), _ = retrieve(open_index(out), ["#0"], top=19, device="cpu")
    items = {label: [hit.item for hit in whole.hits if hit.label == label] for label in "ab"}
    for item in [*items["a"][:2], *items["b"]]:
        os.remove(videos[item].path)
    for top in (1, 2, 9):
        (answer,), _ = retrieve(open_index(out), ["#0"], top=top, group_by="label", device="cpu")
        assert [hit.item for hit in answer.hits] == [items["a"][2], items["b"][0]][:top]


def test_hits_whose_files_are_gone_come_last_and_can_be_taken_out(encoder, make, tmp_path, capsys):
    out, videos = tmp_path / "index", make(*range(1, 41))
    build_index(encoder, videos, out)
    (answer,), _ = retrieve(open_index(out), ["#20"], top=8, device="cpu")
    assert all(hit.there for hit in answer.hits)
    best = [hit.item for hit in answer.hits]
    for item in best[:6]:
        os.remove(videos[item].path)
    (answer,), _ = retrieve(open_index(out), ["#20"], top=8, device="cpu")
    assert [hit.item for hit in answer.hits][:2] == best[6:]
    assert [hit.rank for hit in answer.hits] == [*range(1, 9)]
    assert all(hit.there for hit in answer.hits)  # it looked further
    (answer,), _ = retrieve(open_index(out), ["#20"], top=38, device="cpu")
    assert [hit.there for hit in answer.hits] == [True] * 33 + [False] * 5
    assert [hit.item for hit in answer.hits[33:]] == best[:5]
    assert "the files of 5 hits are not there" in capsys.readouterr().err
    summary = build_index(encoder, make(), out, prune=True)
    assert (summary.removed, summary.videos, summary.added) == (6, 34, 0)
    check(out, [video for video in videos if os.path.exists(video.path)])
    assert build_index(encoder, make(), out, prune=True).generation == summary.generation


def test_pruning_leaves_what_was_renamed_and_never_all(encoder, make, tmp_path):
    out, videos = tmp_path / "index", make(*range(1, 11))
    build_index(encoder, videos, out)
    moved = replace(videos[4], path=str(tmp_path / "99.mp4"))
    os.rename(videos[4].path, moved.path)
    summary = build_index(encoder, [moved], out, prune=True)
    assert (summary.removed, summary.renamed, summary.videos) == (0, 1, 10)
    for path in tmp_path.glob("*.mp4"):
        path.unlink()
    with pytest.raises(VidsslError, match="files of all videos of the index are gone"):
        build_index(encoder, [], out, prune=True)
    assert len(open_index(out).gallery) == 10


def test_verify_reads_what_opening_does_not(encoder, make, tmp_path, monkeypatch):
    monkeypatch.setattr(verified, "SMALL", 1000)
    out = tmp_path / "index"
    build_index(encoder, make(*range(1, 31)), out)
    verify_index(out)
    path = next(out.glob("segment-*/clip.npy"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    note = verified.note_of(path.parent)
    state = verified._state(path.parent, [*verified.listed(path.parent)])
    note.write_text(json.dumps(state))  # as if the disk had changed a bit and told nobody
    open_index(out)
    with pytest.raises(DamagedFileError):
        verify_index(out)


def test_an_approximate_index_is_trained_anew_when_it_has_doubled(
    encoder, make, tmp_path, monkeypatch
):
    from vidssl_cli.search import factories

    trained, true_build = [], factories.build_faiss

    def build(vectors, factory):
        trained.append(vectors.shape[0])
        return true_build(vectors, factory)

    monkeypatch.setattr(factories, "build_faiss", build)
    out, videos = tmp_path / "index", make(*range(1, 81))
    for count in (30, 31, 50, 59, 60, 80):
        build_index(encoder, videos[:count], out, factory="IVF4,Flat", standardise=True)
    assert trained == [30, 60, 60, 120]  # videos and clips
    check(out, videos)


def test_a_large_segment_is_read_again_only_when_it_may_have_changed(
    encoder, make, tmp_path, monkeypatch
):
    monkeypatch.setattr(verified, "SMALL", 1000)
    out = tmp_path / "index"
    build_index(encoder, make(*range(1, 31)), out)
    path = next(out.glob("segment-*/clip.npy"))
    read = []
    true_verify = verified.verify
    monkeypatch.setattr(verified, "verify", lambda *a: read.append(a[0].name) or true_verify(*a))
    open_index(out)
    assert "segment-000001" not in read
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    open_index(out)
    assert "segment-000001" in read
    read.clear()
    open_index(out)
    assert read == []
    content = bytearray(path.read_bytes())
    facts = path.stat()
    content[-5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # the time of change is as it was
    with pytest.raises(DamagedFileError) as caught:
        open_index(out)
    assert caught.value.where == str(path)


def test_a_copied_index_is_checked_and_answers(encoder, make, tmp_path, monkeypatch):
    monkeypatch.setattr(verified, "SMALL", 0)
    out, videos = tmp_path / "index", make(*range(1, 31))
    build_index(encoder, videos[:20], out)
    build_index(encoder, videos, out)
    shutil.copytree(out, tmp_path / "copy")
    shutil.rmtree(out)
    check(tmp_path / "copy", videos)
    assert build_index(encoder, videos, tmp_path / "copy").added == 0
