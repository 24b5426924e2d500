"""Groups are one video and what is in it."""

from dataclasses import replace
from types import SimpleNamespace

from vidssl_cli.contract.videos import Video
from vidssl_cli.search.duplicates_groups import form_groups, look
from vidssl_cli.search.duplicates_overlap import Overlap, Part


def video(name, duration, height=100, size=1000):
    return Video(name, duration=duration, width=100, height=height, bytes=size)


def overlap(first, second, seconds, videos):
    shares = seconds / videos[first].duration, seconds / videos[second].duration
    return Overlap(first, second, "frames", (Part((0, seconds), (0, seconds)),), shares)


def group(videos, pairs, copies=None, refused=()):
    overlaps = [overlap(*pair, videos) for pair in pairs]
    groups, shared = form_groups(
        SimpleNamespace(videos=videos), overlaps, copies or {},
        lambda a, b: (min(a, b), max(a, b)) in refused,
    )  # fmt: skip
    return (
        {each.keep: [copy.second for copy in each.copies] for each in groups},
        [(each.first, each.second) for each in shared],
    )


def test_the_longest_is_kept_then_the_largest_picture():
    videos = [video("a", 10, 50), video("b", 10, 100), video("c", 6, 200), video("d", 10, 50, 2000)]
    pairs = [(0, 1, 10), (0, 2, 6), (1, 2, 6), (0, 3, 10), (1, 3, 10), (2, 3, 6)]
    assert group(videos, pairs) == ({1: [0, 2, 3]}, [])


def test_a_file_without_problems_is_kept():
    damaged = replace(video("a", 10, 200, 3000), problems=("undecodable packets: 9 of 250",))
    assert group([damaged, video("b", 10)], [(0, 1, 10)]) == ({1: [0]}, [])
    assert "undecodable packets: 9 of 250" in look(damaged)


def test_a_video_without_a_file_is_not_kept_for_one(tmp_path):
    (tmp_path / "b.mp4").touch()
    videos = [video("gone", 20, 200), video(str(tmp_path / "b.mp4"), 10)]
    assert group(videos, [(0, 1, 10)]) == ({}, [(0, 1)])
    assert group([video("gone", 10, 200), videos[1]], [(0, 1, 10)]) == ({1: [0]}, [])


def test_a_shared_intro_joins_nothing():
    videos = [video(name, 10) for name in "abc"]
    assert group(videos, [(0, 1, 2), (0, 2, 3), (1, 2, 2)]) == ({}, [(0, 2), (0, 1), (1, 2)])


def test_members_need_not_be_alike_and_chains_are_cut():
    highlights = [video("all", 30), video("a", 10), video("b", 10)]
    assert group(highlights, [(0, 1, 10), (0, 2, 10)]) == ({0: [1, 2]}, [])
    chain = [video("a", 10), video("b", 12), video("c", 14)]
    groups, shared = group(chain, [(0, 1, 9), (1, 2, 11)])
    assert groups == {2: [1]}
    assert shared == [(0, 1)]


def test_what_is_no_duplicate_is_not_in_one_group():
    videos = [video("a", 10, 200), video("b", 10), video("c", 10)]
    pairs = [(0, 1, 10), (0, 2, 10)]
    assert group(videos, pairs, refused={(1, 2)}) == ({0: [1]}, [(0, 2)])


def test_same_content_follows_its_group():
    videos = [video("a", 10, 200), video("b", 10), video("c", 10), video("d", 10, 200)]
    groups, shared = group(videos, [(0, 1, 10)], copies={1: [2], 0: [3]})
    assert groups == {0: [3, 1, 2]}
    assert shared == []
    assert group(videos, [], copies={1: [2]}) == ({1: [2]}, [])


def test_a_circle_of_shares_ends():
    videos = [video("a", 10), video("b", 12.4), video("c", 15.4)]
    overlaps = [
        Overlap(a, b, "frames", (Part((0, 9), (0, 9)),), (0.7, 0.9))
        for a, b in [(0, 1), (1, 2), (2, 0)]
    ]
    groups, _ = form_groups(SimpleNamespace(videos=videos), overlaps, {}, lambda a, b: False)
    assert len(groups) == 1


def test_facts_that_are_unknown_are_left_out():
    assert look(Video("gone.mp4")) == "not there"
