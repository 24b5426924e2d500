"""Lists of videos as people and other programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.data.layouts import find_videos
from vidssl_cli.data.lists import Lists


@pytest.fixture
def read(tmp_path):
    """Write a list beside the videos v/a.mp4 and v/b.mp4; return path, label, split of its rows."""
    for name in ("v/a.mp4", "v/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def rows(text, name="list.txt", **lists):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(content)
        videos = find_videos(tmp_path / name, Lists(**lists))
        return [(str(Path(v.path).relative_to(tmp_path)), v.label, v.split) for v in videos]

    return rows


BOTH = [("v/a.mp4", "run", None), ("v/b.mp4", "walk", None)]


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
@pytest.mark.parametrize(
    "text",
    [
        "v/a.mp4,run\nv/b.mp4,walk\n",
        "v/a.mp4|run\nv/b.mp4|walk\n",
        "v/a.mp4 | run\nv/b.mp4 | walk\n",
        "v/a.mp4\trun\nv/b.mp4\twalk\n",
        "v/a.mp4;run\r\nv/b.mp4;walk\r\n",
        "v/a.mp4 run\nv/b.mp4 walk\n",
        "path|label\nv/a.mp4|run\nv/b.mp4|walk\n",
        "path,label\nv/a.mp4,run\nv/b.mp4,walk\n",
        "./v/a.mp4 run\nv/../v/b.mp4 walk",
        "v\\a.mp4 run\r\nv\\b.mp4 walk\r\n",
        "v\\a.mp4,run\r\nv\\b.mp4,walk\r\n",
        '"v/a.mp4" run\n"v/b.mp4" walk\n',
    ],
)
def test_forms_of_lists(read, name, text):
    assert read(text, name) == BOTH


@pytest.mark.parametrize("text", ["v/a run\nv/b walk\n", "v/a,run\nv/b,walk\n"])
def test_names_without_endings(read, text, capsys):
    assert read(text.replace("run", "0").replace("walk", "1")) == [
        ("v/a.mp4", "0", None),
        ("v/b.mp4", "1", None),
    ]
    assert "names are without endings" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_encodings_with_a_byte_order_mark(read, encoding):
    text = "path,label\r\nv/a.mp4,läuft\r\n"
    assert read(text.encode(encoding), "list.csv") == [("v/a.mp4", "läuft", None)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v/a.mp4,run\nv/b.mp4,läuft\n".encode("latin-1"), ":2: the byte 0xe4 after 'l' is not"),
        ("v/ä.mp4 1\n".encode("cp1252"), ":1: the byte 0xe4 after 'v/' is not UTF-8"),
        ("v/a.mp4 1\n".encode("utf-16-le"), ":1: .* for it has NUL characters"),
        ("v/a.mp4 1\n".encode("utf-16")[:-1], ": is not UTF-16"),
    ],
)
def test_other_encodings_are_named(read, text, problem):
    with pytest.raises(DamagedFileError, match=problem) as caught:
        read(text)
    assert caught.value.hint is None or "save it as UTF-8" in caught.value.hint


def test_a_file_may_have_a_name_that_is_not_utf8(read, tmp_path):
    (tmp_path / "caf\udce9.mp4").touch()
    assert read(b"caf\xe9.mp4 1\n") == [("caf\udce9.mp4", "1", None)]


def test_class_numbers_in_tables_have_names_too(read, tmp_path):
    (tmp_path / "classes").write_text("run\nwalk\n")
    for text in ("v/a.mp4,0\nv/b.mp4,1\n", "path,label\nv/a.mp4,0\nv/b.mp4,1\n"):
        assert read(text, classes=tmp_path / "classes") == BOTH
    with pytest.raises(UsageError, match="--classes means nothing"):
        read("v/a.mp4,run\nv/b.mp4,1\n", classes=tmp_path / "classes")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("video,class\nv/a.mp4,run\n", "csv:1: the header names no column path, but video, class"),
        ("video\tclass\nv/a.mp4\trun\n", "csv:1: the header names no column path, but video, cl"),
        (",video_name,tag\n0,v/a.mp4,run\n", "csv:1: the header names no .*, but video_name, tag"),
        ("video label\nv/a.mp4 run\nv/b.mp4 run\n", "csv:1: 'video label' is the name of no file"),
        ("video\nv/a.mp4\nv/b.mp4\n", "csv:1: 'video' is the name of no file"),
        ("# mine, not yours\nv/a.mp4,run\nv/b.mp4,run\n", "csv:1: '# mine' is the name of no"),
        ("path,label\n# mine,\nv/a.mp4,run\n", "csv:2: '# mine' is the name of no file"),
        ("v/a.mp4,run\nv/b.mp4,run\nend of list,\n", "csv:3: 'end of list' is the name of no"),
        ("0,v/a.mp4\n1,v/b.mp4\n", "csv:1: the names of videos are in column 2"),
        ("v/a, b.mp4\nv/c, d.mp4\n", "csv:1: the names of videos are in column 2"),
        ("v/a.mp4,train\nv/b.mp4,test\n", "csv:1: column 2 has splits"),
        ("https://example.org/a.mp4,run\nv/a.mp4,run\n", "csv:1: .* is not the name of a file"),
        ("~/a.mp4 run\n", "csv:1: '~/a.mp4' begins with ~"),
        ("imgs/a 300 5\nimgs/b 200 5\n", "csv:1: 'imgs/a 300 5' names frames of a video"),
        ("imgs 2 5 127\nimgs 2 5 127\n", "csv:1: 'imgs 2 5 127' names frames of a video"),
        ("v 0\n", "csv:1: .*v' names frames of a video"),
        ("A 7811 0 a/1.jpg 75\nA 7811 0 a/2.jpg 75\n", "csv:1: .* names frames of a video"),
        ("/else/a/,300\n/else/b/,200\n", "csv:1: '/else/a/' names frames of a video"),
        ("v/c 0\nv/d 1\n", "csv:1: .*v/c is the name of no file, and neither are the others"),
        ("v/a.mp4 0 3\nv/b.mp4 0 2 4\n", "csv:1: 'v/a.mp4 0 3' ends in several numbers"),
        ("v/a.mp4 0\nv/b.mp4 walk\n", "csv:2: 'v/b.mp4 walk' ends in the name of a class, unlike"),
    ],
)
def test_what_is_no_list_of_videos_is_named(read, text, problem):
    with pytest.raises(DamagedFileError, match=problem):
        read(text, "list.csv")


@pytest.mark.parametrize(
    "text",
    [
        "v/a.mp4 0\nv/b.mp4 1\n./v/a.mp4 0\n",
        "v/a.mp4,0\nv/b.mp4,1\nv//a.mp4,0\n",
        "path,label\nv/a.mp4,0\nv/a.mp4,0\nv/b.mp4,1\n",
    ],
)
def test_a_video_that_is_listed_twice_is_used_once(read, capsys, text):
    assert read(text) == [("v/a.mp4", "0", None), ("v/b.mp4", "1", None)]
    assert "1 line names a video that another names too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v/a.mp4 0\n\nv/a.mp4 1\n", "txt:3: .*a.mp4 has the label '1', and '0' in .*txt:1"),
        ("path,split\nv/a.mp4,train\nv/a.mp4,test\n", "txt:3: .* has the split 'test', and 'tr"),
    ],
)
def test_a_video_of_two_classes_or_splits_is_refused(read, text, problem):
    with pytest.raises(DamagedFileError, match=problem) as caught:
        read(text)
    assert "a video has one" in caught.value.hint


@pytest.fixture
def split(read, tmp_path):
    """Find the videos of two lists."""

    def find(train, test, **lists):
        (tmp_path / "train.txt").write_text(train)
        (tmp_path / "test.txt").write_text(test)
        given = Lists(train=tmp_path / "train.txt", test=tmp_path / "test.txt", **lists)
        videos = find_videos(tmp_path, given)
        return [(str(Path(v.path).relative_to(tmp_path)), v.label, v.split) for v in videos]

    return find


def test_split_lists_may_be_tables(split):
    assert split("path|label\nv/a.mp4|run\n", "v/b.mp4,walk\n") == [
        ("v/a.mp4", "run", "train"),
        ("v/b.mp4", "walk", "test"),
    ]


def test_a_video_is_in_one_of_the_lists(split):
    with pytest.raises(DamagedFileError, match=r"test.txt:1: .* has the split 'test', and 'train"):
        split("v/a.mp4 0\nv/b.mp4 1\n", "v/a.mp4 0\n")
    with pytest.raises(DamagedFileError, match=r"train.txt:2: is in the split test, and the list"):
        split("path,split\nv/a.mp4,test\n", "v/b.mp4\n")


def test_split_lists_have_both_numbers_or_both_names(split):
    with pytest.raises(UsageError, match="has class numbers, the other names of classes"):
        split("v/a.mp4 0\n", "v/b.mp4 walk\n")
