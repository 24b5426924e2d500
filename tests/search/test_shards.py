"""Shards of an index: made one by one and merged, they are what one process makes."""

import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.shards import Shard, Share
from vidssl_cli.files.locks import locked
from vidssl_cli.model.embedding import Embedded
from vidssl_cli.search import entries, merge, shards
from vidssl_cli.search.build import UnchangedVideos, build_index
from vidssl_cli.search.merge import merge_shards
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.shards import build_shard
from vidssl_cli.search.store import open_index, verify_index

DIMENSION = 12


@pytest.fixture(scope="module")
def encoder(toy_encoder):
    return toy_encoder()


@pytest.fixture
def asked(monkeypatch):
    """Let features tell which video they are of; return the names of those that were embedded."""
    names = []

    def embed(encoder, videos, **options):
        for video in videos:
            names.append(int(os.path.basename(video.path).partition(".")[0]))
            features = np.random.default_rng(names[-1]).normal(3, 1, (2, DIMENSION))
            yield Embedded(video, features.astype(np.float32), np.float32([[0, 1], [1, 2]]))

    monkeypatch.setattr(entries, "embed", embed)
    return names


@pytest.fixture
def videos(tmp_path, asked):
    found = []
    for number in range(1, 13):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes(number))
        found.append(
            Video(
                str(path), f"class {number % 3}", frames=50, fps=25.0, duration=2.0, bytes=number,
                ends_sha256=f"{number:064x}",
            )
        )  # fmt: skip
    return found


@pytest.fixture
def make(encoder, tmp_path):
    """Return a function that runs the job of one shard, or of all."""

    def make(videos, count, *numbers, out=tmp_path / "many", encoder=encoder, **how):
        summaries = []
        for number in numbers or range(1, count + 1):
            known = UnchangedVideos(out)
            share = Share(Shard(number, count), known, lambda found: found)
            taken = share.take(videos)
            summaries.append(build_shard(encoder, taken, out, share, **how))
        return summaries

    return make


def answers(folder):
    """What an index answers, and in which order it holds what."""
    index = open_index(folder)
    gallery, items = index.gallery, index.gallery.items.tolist()
    found, _ = retrieve(
        index, [f"#{item}" for item in items], top=12, exclude_self=False, device="cpu"
    )
    hits = [[(hit.item, hit.path, hit.score, hit.start) for hit in each.hits] for each in found]
    features = np.asarray(gallery.features["clip"]).tobytes()
    videos = [gallery.videos[item] for item in items]
    return index.settings, items, videos, gallery.stamps[items].tolist(), features, hits


def names(folder, pattern):
    return sorted(path.name for path in folder.glob(pattern))


@pytest.mark.parametrize(
    ("count", "how"),
    [
        (1, {}),
        (3, {}),
        (14, {"standardise": True}),  # of which some are empty
        (3, {"factory": "IVF2,Flat"}),
        (3, {"factory": "HNSW", "standardise": True}),
    ],
)
def test_merged_shards_are_the_index_of_one_process(encoder, videos, make, tmp_path, count, how):
    whole = build_index(encoder, videos, tmp_path / "one", **how)
    made = make(videos, count, **how)
    assert sum(each.videos for each in made) == 12
    before = {path.stat().st_ino for path in (tmp_path / "many").glob("shard-*/segment-*/clip.npy")}
    summary = merge_shards(tmp_path / "many")
    assert replace(summary, index=whole.index) == whole
    assert answers(tmp_path / "many") == answers(tmp_path / "one")
    files = (tmp_path / "many").glob("segment-*/clip.npy")
    assert {path.stat().st_ino for path in files} == before  # renamed, not copied
    assert not names(tmp_path / "many", "shard-*")
    verify_index(tmp_path / "many")


@pytest.mark.parametrize("how", [{}, {"factory": "HNSW", "standardise": True}])
def test_shards_are_added_to_an_index_that_is_there(encoder, videos, make, asked, tmp_path, how):
    for name in ("one", "many"):
        build_index(encoder, videos[3:8], tmp_path / name, **how)
    with open(videos[5].path, "ab") as file:
        file.write(b"changed")
    changed = [replace(v, bytes=None) if v is videos[5] else v for v in videos]
    whole = build_index(encoder, changed, tmp_path / "one")
    asked.clear()
    made = make(changed, 2)
    assert sorted(asked) == [1, 2, 3, 6, 9, 10, 11, 12]
    assert [each.videos for each in made] == [4, 4]
    summary = merge_shards(tmp_path / "many")
    assert (summary.added, summary.changed) == (7, 1)
    assert replace(summary, index=whole.index) == whole
    assert answers(tmp_path / "many") == answers(tmp_path / "one")


def test_nothing_new_changes_nothing(encoder, videos, make, asked, tmp_path):
    build_index(encoder, videos, tmp_path / "many")
    asked.clear()
    make(videos, 2)
    summary = merge_shards(tmp_path / "many")
    assert (summary.added, summary.generation, asked) == (0, "generation-000001", [])
    assert not names(tmp_path / "many", "shard-*")


def test_a_shard_goes_on_and_is_done_once(
    encoder, videos, make, asked, tmp_path, monkeypatch, capsys
):
    embed = entries.embed

    def stopped(encoder, videos, **options):
        for number, item in enumerate(embed(encoder, videos, **options)):
            if number == 4:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patched:
        patched.setattr(entries, "embed", stopped)
        with pytest.raises(KeyboardInterrupt):
            make(videos, 2, 1)
    with pytest.raises(VidsslError, match="2 is missing; 1 was begun and is not done"):
        merge_shards(tmp_path / "many")
    make(videos, 2)
    assert asked == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12]
    again = make(videos, 2)
    assert "shard 1/2 is done already" in capsys.readouterr().err
    assert [each.videos for each in again] == [6, 6]
    assert len(asked) == 13
    merge_shards(tmp_path / "many")
    build_index(encoder, videos, tmp_path / "one")
    assert answers(tmp_path / "many") == answers(tmp_path / "one")


def test_a_shard_is_brought_up_to_date_from_what_it_has(encoder, videos, make, asked, tmp_path):
    make(videos, 2)
    with open(videos[0].path, "ab") as file:
        file.write(b"changed")
    asked.clear()
    newer = [*videos[:11], replace(videos[11], label="other")]
    make(newer, 2)
    assert asked == [1]
    merge_shards(tmp_path / "many")
    build_index(encoder, newer, tmp_path / "one")
    assert set(open_index(tmp_path / "many").gallery.videos) == set(newer)
    assert names(tmp_path / "many", "segment-*") == ["segment-000001", "segment-000002"]


def test_unreadable_videos_are_told_by_the_merge(encoder, videos, make, tmp_path, monkeypatch):
    from vidssl_cli.base.errors import MediaError

    embed = entries.embed

    def broken(encoder, videos, *, skipped, **options):
        skipped += [MediaError("is broken", where=v.path) for v in videos if v.bytes == 2]
        yield from embed(encoder, [v for v in videos if v.bytes != 2], **options)

    monkeypatch.setattr(entries, "embed", broken)
    whole = build_index(encoder, videos, tmp_path / "one")
    make(videos, 5)
    summary = merge_shards(tmp_path / "many")
    assert summary.broken == whole.broken == [{"path": videos[1].path, "reason": "is broken"}]
    assert answers(tmp_path / "many") == answers(tmp_path / "one")


def test_missing_shards_are_named(videos, make, tmp_path):
    with pytest.raises(UsageError, match="there are no shards in"):
        merge_shards(tmp_path)
    make(videos, 4, 1, 4)
    with pytest.raises(VidsslError, match="of 4 shards, 2 and 3 are missing") as caught:
        merge_shards(tmp_path / "many")
    assert "--shard I/4" in caught.value.hint
    assert names(tmp_path / "many", "shard-*") == ["shard-1-of-4", "shard-4-of-4"]


def test_a_shard_that_is_being_made_is_named(videos, make, tmp_path):
    make(videos, 2)
    folder = tmp_path / "many" / "shard-2-of-2"
    with (
        locked(folder, "x"),
        pytest.raises(VidsslError, match="`vidssl index --shard 2/2`") as caught,
    ):
        merge_shards(tmp_path / "many")
    assert f"process {os.getpid()}" in str(caught.value)


def test_two_jobs_of_one_shard_do_not_meet(videos, make, tmp_path):
    with locked(tmp_path / "many" / "shard-1-of-2", "x"):
        with pytest.raises(VidsslError, match="`vidssl index --shard 1/2` is writing here"):
            make(videos, 2, 1)
        make(videos, 2, 2)


def test_shards_of_two_cuts_are_refused(videos, make, tmp_path):
    make(videos, 2)
    make(videos, 3, 1)
    with pytest.raises(UsageError, match="different cuts of DATA: 2 of 2 and 1 of 3"):
        merge_shards(tmp_path / "many")


def test_a_shard_under_another_name_is_refused(videos, make, tmp_path):
    make(videos, 3, 1, 3)
    shutil.copytree(tmp_path / "many" / "shard-1-of-3", tmp_path / "many" / "shard-2-of-3")
    with pytest.raises(UsageError, match="shard-2-of-3 holds the shard 1/3"):
        merge_shards(tmp_path / "many")
    (tmp_path / "many" / "shard-2-of-3").rename(tmp_path / "many" / "shard-01-of-3")
    with pytest.raises(UsageError, match="the shard 1/3 is there twice"):
        merge_shards(tmp_path / "many")


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"every": 1.0}, "with --every 1.0, not clip"),
        ({"factory": "HNSW"}, "with --factory HNSW, not Flat"),
        ({"standardise": True}, "with standardising"),
    ],
)
def test_a_shard_that_was_made_otherwise_is_named(videos, make, tmp_path, how, what):
    make(videos, 3, 1, 2)
    make(videos, 3, 3, **how)
    with pytest.raises(UsageError, match=f"shard 3/3 does not go with the others.* {what}"):
        merge_shards(tmp_path / "many")
    make(videos, 3, 3)  # as its hint says
    merge_shards(tmp_path / "many")


def test_a_shard_of_another_network_or_other_data_is_named(videos, make, toy_encoder, tmp_path):
    make(videos, 3, 1, 2)
    make(videos, 3, 3, encoder=toy_encoder(seed=1))
    with pytest.raises(UsageError, match=r"shard 3/3 .* by another network"):
        merge_shards(tmp_path / "many")
    make(videos[:-1], 3, 3)
    with pytest.raises(UsageError, match=r"shard 3/3 .* other DATA, .*: 11 videos, not 12"):
        merge_shards(tmp_path / "many")
    make([*videos[:-1], replace(videos[-1], duration=9.0)], 3, 3)
    with pytest.raises(UsageError, match=r"shard 3/3 .* of other DATA, or when other videos of it"):
        merge_shards(tmp_path / "many")


def test_shards_that_do_not_go_with_the_index_are_refused(
    encoder, videos, make, toy_encoder, tmp_path
):
    make(videos, 2)
    build_index(toy_encoder(seed=1), videos[:2], tmp_path / "many")
    with pytest.raises(UsageError, match="do not go with the index"):
        merge_shards(tmp_path / "many")
    with pytest.raises(UsageError, match="made by another network"):
        make(videos, 2)


def test_shards_that_overlap_are_refused(videos, make, tmp_path, monkeypatch):
    make(videos, 3, 1, 3)
    monkeypatch.setattr(Share, "take", _all_but_first)
    make(videos, 3, 2)
    with pytest.raises(UsageError, match=r"the shards 1/3 and 2/3 both have .*/2.mp4"):
        merge_shards(tmp_path / "many")


def _all_but_first(self, videos, take=Share.take):
    take(self, videos)
    return videos[1:]


@pytest.mark.parametrize("name", ["shard.json", "segment-000001/clip.npy"])
def test_a_damaged_shard_is_named_and_made_anew(videos, make, asked, tmp_path, capsys, name):
    make(videos, 2)
    path = tmp_path / "many" / "shard-2-of-2" / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="the shard 2/2 is damaged"):
        merge_shards(tmp_path / "many")
    asked.clear()
    make(videos, 2)
    assert "the shard is made anew" in capsys.readouterr().err
    assert asked == [7, 8, 9, 10, 11, 12]
    assert merge_shards(tmp_path / "many").videos == 12


def test_without_its_network_nothing_is_merged(videos, make, tmp_path):
    make(videos, 2)
    (network,) = (tmp_path / "many").glob("encoder-*")
    shutil.rmtree(network)
    with pytest.raises(DamagedFileError, match="the network that made the shards is missing"):
        merge_shards(tmp_path / "many")
    make(videos, 2, 1)
    assert merge_shards(tmp_path / "many").videos == 12


def test_another_file_system_is_named(videos, make, tmp_path, monkeypatch):
    make(videos, 2)
    with monkeypatch.context() as patched:
        patched.setattr(merge.os, "rename", _other_file_system)
        with pytest.raises(VidsslError, match="is on another file system than"):
            merge_shards(tmp_path / "many")
    assert merge_shards(tmp_path / "many").videos == 12


def _other_file_system(*_):
    raise OSError(errno.EXDEV, "x")


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 8])
def test_a_merge_that_is_stopped_anywhere_is_continued(
    encoder, videos, make, tmp_path, monkeypatch, number
):
    """Stopped before each of what it does to the folder, then by a builder in between."""
    build_index(encoder, videos[:2], tmp_path / "one")
    build_index(encoder, videos[:2], tmp_path / "many")
    make(videos, 3)
    done = []

    def counting(true):
        def step(*given, **named):
            done.append(true.__name__)
            if len(done) == number:
                raise KeyboardInterrupt
            return true(*given, **named)

        return step

    with monkeypatch.context() as patched:
        for name in ("tidy", "_moved", "publish_generation", "discard"):
            patched.setattr(merge, name, counting(getattr(merge, name)))
        with pytest.raises(KeyboardInterrupt):
            merge_shards(tmp_path / "many")
    shards.open_index(tmp_path / "many")  # readers have never noticed
    build_index(encoder, videos[:2], tmp_path / "many")
    build_index(encoder, videos, tmp_path / "one")
    merge_shards(tmp_path / "many")
    assert answers(tmp_path / "many") == answers(tmp_path / "one")
    assert not names(tmp_path / "many", "shard-*")
    verify_index(tmp_path / "many")
