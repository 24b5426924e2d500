"""Neither relative paths nor links lead out of a folder."""

from __future__ import annotations

import json

import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.data.layouts import find_videos
from vidssl_cli.data.lists import Lists
from vidssl_cli.data.manifest import read_manifest, write_manifest
from vidssl_cli.files.confine import Root


@pytest.fixture
def place(tmp_path):
    """A folder `data` with a video, beside another one that has a video too."""
    for name in ("data/a.mp4", "data/below/b.mp4", "other/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "data"


def manifest(folder, *paths):
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps({"path": str(each)}) + "\n" for each in paths))
    return path


def test_a_root_holds_what_is_below_it_and_what_is_not_there(place):
    root = Root(place)
    assert all(root.holds(str(place / name)) for name in ("a.mp4", "below/b.mp4", "no/such.mp4"))
    assert not root.holds(str(place.parent / "other" / "c.mp4"))
    assert not root.holds(str(place.with_name("data2") / "a.mp4"))


def test_links_count_by_where_they_lead(place):
    (place / "in").symlink_to(place / "below")
    (place / "in.mp4").symlink_to("a.mp4")
    (place / "out").symlink_to("../other")
    (place / "out.mp4").symlink_to("../other/c.mp4")
    root = Root(place)
    assert root.holds(str(place / "in" / "b.mp4"))
    assert root.holds(str(place / "in.mp4"))
    assert not any(root.holds(str(place / "out" / name)) for name in ("c.mp4", "d.mp4", "e.mp4"))
    assert not root.holds(str(place / "out.mp4"))


def test_a_manifest_of_a_folder_behind_a_link_can_be_read(place):
    """Such as ``data``, which leads to a large disk."""
    (place.parent / "other" / "d.mp4").touch()
    (place / "big").symlink_to("../other")
    videos = find_videos(place / "big")
    assert len(videos) == 2
    write_manifest(place / "m.jsonl", videos)
    assert read_manifest(place / "m.jsonl") == videos


def test_a_video_that_is_named_may_be_a_link_and_lie_anywhere(place):
    (place / "out.mp4").symlink_to("../other/c.mp4")
    named = str(place / "out.mp4")
    assert [video.path for video in find_videos(named)] == [named]
    assert [video.path for video in find_videos(named, root=Root(place))] == [named]


def test_a_folder_that_is_named_may_lie_out_of_the_root(place):
    assert len(find_videos(place, root=Root(place.parent / "other"))) == 2


def test_a_root_may_be_a_link_itself(place):
    place.with_name("link").symlink_to(place)
    assert Root(place.with_name("link")).holds(str(place.with_name("link") / "a.mp4"))
    assert len(find_videos(place.with_name("link"))) == 2


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_links_in_a_folder_that_is_named_are_followed_and_told(place, name, capsys):
    (place / name).symlink_to(place.parent / "other" / ("c.mp4" if "." in name else ""))
    assert len(find_videos(place)) == 3
    assert f"{place / name}: found through links that lead out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_a_root_holds_links_in_a_folder_too(place, name):
    (place / name).symlink_to(place.parent / "other" / ("c.mp4" if "." in name else ""))
    with pytest.raises(DamagedFileError, match=r"leads to .*other.*, out of .*data") as caught:
        find_videos(place, root=Root(place))
    assert caught.value.where == str(place / name)
    assert "--data-root" in caught.value.hint
    assert len(find_videos(place, root=Root(place.parent))) == 3


@pytest.mark.parametrize("target", ["/", ".."])
def test_a_link_to_a_folder_that_contains_data_is_refused(place, target):
    (place / "all").symlink_to(target)
    with pytest.raises(DamagedFileError, match="which contains all of DATA"):
        find_videos(place)


def test_official_lists_name_nothing_out_of_their_folder(place):
    (place / "Punch").mkdir()
    for number, line in enumerate(["Punch/v_Punch_g01_c01.avi", "../other/v_Punch_g02_c01.avi"]):
        (place / line).touch()
        name = ("train", "test")[number]
        (place / f"{name}list01.txt").write_text(f"{line} 1\n")
    with pytest.raises(DamagedFileError, match=r"out of .*data"):
        find_videos(place, Lists(folder=place))


def test_what_a_folder_of_links_becomes_can_be_read_again(place):
    (place / "out.mp4").symlink_to("../other/c.mp4")
    found = find_videos(place)
    write_manifest(place / "m.jsonl", found)
    assert read_manifest(place / "m.jsonl") == found
    assert '"path": "a.mp4"' in (place / "m.jsonl").read_text()


def test_relative_paths_of_a_manifest_stay_below_it_and_absolute_ones_are_free(place):
    outside = place.parent / "other" / "c.mp4"
    assert read_manifest(manifest(place, outside, "below/../a.mp4"))[1].path == str(place / "a.mp4")
    path = manifest(place, "a.mp4", "../other/c.mp4")
    with pytest.raises(DamagedFileError, match=r"m\.jsonl:2: path: \.\./other/c\.mp4 leads out"):
        read_manifest(path)
    assert read_manifest(path, Root(place.parent))[1].path == str(outside)


def test_a_root_holds_absolute_paths_too(place):
    path = manifest(place, place / "a.mp4", place.parent / "other" / "c.mp4")
    assert len(find_videos(path)) == 2
    with pytest.raises(DamagedFileError, match=":2: "):
        find_videos(path, root=Root(place))


@pytest.mark.parametrize("line", ["../other/c.mp4", "below/../../other/c.mp4"])
@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_lists_stay_below_their_folder(place, line, suffix):
    path = place / f"list{suffix}"
    path.write_text(f"a.mp4\n{line}\n")
    with pytest.raises(DamagedFileError, match="leads to"):
        find_videos(path)
    assert len(find_videos(path, root=Root(place.parent))) == 2


@pytest.mark.parametrize("line", ["https://example.org/a.mp4", "a\0.mp4"])
def test_what_names_no_file_is_refused_in_lists(place, line):
    (place / "list.txt").write_text(line)
    with pytest.raises(DamagedFileError, match="is not the name of a file"):
        find_videos(place / "list.txt")
