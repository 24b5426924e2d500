"""Shards of DATA: all videos once, in order, with even work, the same in every job."""

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.shards import Shard, Share


def shares(videos, count, known=()):
    found = []
    for number in range(1, count + 1):
        share = Share(Shard(number, count), known, lambda found: found)
        found.append((share.take(videos), share.data))
    assert len({data for _, data in found}) == 1
    return [taken for taken, _ in found]


def seconds(*durations):
    return [Video(f"/{n}.mp4", duration=each) for n, each in enumerate(durations)]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/4", "1/4/2", "-1/4", "1/100000"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="not a shard") as caught:
        Shard.parse(text)
    assert "JOB_COMPLETION_INDEX + 1" in caught.value.hint


def test_a_shard_is_read_as_it_is_written():
    assert str(Shard.parse("2/4")) == "2/4"
    assert Shard.parse("02/4") == Shard(2, 4)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_each_video_is_in_one_shard_and_their_order_stays(count):
    videos = seconds(*(1 + number * 37 % 11 for number in range(30)))
    taken = shares(videos, count)
    assert [video for part in taken for video in part] == videos
    total, longest = sum(v.duration for v in videos), 11
    assert max(sum(v.duration for v in part) for part in taken) <= total / count + longest


def test_a_long_video_is_as_much_as_many_short_ones():
    assert [len(part) for part in shares(seconds(*[1] * 10, 10), 2)] == [10, 1]


def test_known_videos_are_no_work():
    videos = seconds(*[5] * 20)
    known = {video.path for video in videos[:10]}
    assert [len(set(part) & set(videos[10:])) for part in shares(videos, 2, known)] == [5, 5]
    everything = {video.path for video in videos}
    assert [len(part) for part in shares(videos, 2, everything)] == [10, 10]


def test_files_are_weighed_where_no_duration_is_known(tmp_path):
    for number, size in enumerate([100, 100, 100, 900]):
        (tmp_path / f"{number}.mp4").write_bytes(bytes(size))
    videos = [Video(str(tmp_path / f"{number}.mp4")) for number in range(4)]
    assert [len(part) for part in shares([*videos, Video("/gone.mp4")], 2)] == [3, 2]


def test_other_data_have_another_digest():
    cuts = []
    for videos, known in ((seconds(1, 2), ()), (seconds(1, 3), ()), (seconds(1, 2), {"/0.mp4"})):
        share = Share(Shard(1, 2), known, lambda found: found)
        share.take(videos)
        cuts.append(share.data)
    assert len(set(cuts)) == 3


def test_only_videos_of_the_shard_are_decoded(toy_videos, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("".join(f"{video.path}\n" for video in toy_videos))
    seen = []
    monkeypatch.setattr("vidssl_cli.data.scan._probe", lambda video: seen.append(video) or video)
    share = Share(Shard(2, 3), (), lambda found: found)
    videos, _ = open_data(tmp_path / "list.txt", take=share.take)
    assert seen == videos
    assert 2 <= len(videos) <= 6
    nothing = Share(Shard(20, 20), (), lambda found: found[:1])
    assert open_data(tmp_path / "list.txt", take=nothing.take) == ([], [])
