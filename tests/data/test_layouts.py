"""Every form of DATA, by hand-written folders and lists; no file here holds a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.data.layouts import find_videos
from vidssl_cli.data.lists import Lists
from vidssl_cli.files.confine import Root


@pytest.fixture
def make(tmp_path):
    """Make empty files below a folder, and return the folder."""

    def touch(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return touch


def rows(folder, videos):
    return [
        (str(Path(video.path).relative_to(folder)), video.label, video.split) for video in videos
    ]


def test_a_flat_folder_has_no_labels(make):
    folder = make("b.mp4", "a b.AVI", "notes.txt", ".hidden/c.mp4")
    assert rows(folder, find_videos(folder)) == [("a b.AVI", None, None), ("b.mp4", None, None)]


def test_folders_are_classes_at_any_depth(make):
    folder = make("run/a.mp4", "jump/deep/b.mkv", "loose.mp4")
    assert rows(folder, find_videos(folder)) == [
        ("loose.mp4", None, None),
        ("jump/deep/b.mkv", "jump", None),
        ("run/a.mp4", "run", None),
    ]


def test_folders_at_the_top_may_be_splits(make):
    folder = make("train/run/a.mp4", "train/b.mp4", "test/run/c.mp4")
    assert rows(folder, find_videos(folder)) == [
        ("test/run/c.mp4", "run", "test"),
        ("train/b.mp4", None, "train"),
        ("train/run/a.mp4", "run", "train"),
    ]


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_validation_stands_in_for_test(make, name):
    folder = make("train/run/a.mp4", f"{name}/run/b.mp4")
    splits = {split for _, _, split in rows(folder, find_videos(folder))}
    assert splits == {"train", "test"}


def test_validation_beside_test_is_a_split_of_its_own(make):
    folder = make("train/a.mp4", "val/b.mp4", "test/c.mp4")
    assert [split for _, _, split in rows(folder, find_videos(folder))] == ["test", "train", "val"]


def test_a_class_may_be_called_train(make):
    folder = make("train/a.mp4", "bus/b.mp4")
    assert [label for _, label, _ in rows(folder, find_videos(folder))] == ["bus", "train"]


def test_links_are_followed_but_not_around_in_circles(make):
    folder = make("data/run/a.mp4", "elsewhere/b.mp4") / "data"
    (folder / "jump").symlink_to(folder.parent / "elsewhere")
    (folder / "run" / "loop").symlink_to(folder)
    names = [name for name, _, _ in rows(folder, find_videos(folder, root=Root(folder.parent)))]
    assert names == ["jump/b.mp4", "run/a.mp4"]


@pytest.fixture
def ucf101(make):
    folder = make(
        "UCF-101/Punch/v_Punch_g01_c01.avi",
        "UCF-101/Punch/v_Punch_g08_c01.avi",
        "UCF-101/PushUps/v_PushUps_g01_c02.avi",
    )
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(
        "Punch/v_Punch_g08_c01.avi 71\nPunch/v_Punch_g09_c01.avi 71\n"
    )
    (lists / "testlist01.txt").write_text(
        "Punch/v_Punch_g01_c01.avi\nPushUps/v_PushUps_g01_c02.avi\n"
    )
    (lists / "trainlist02.txt").write_text("Punch/v_Punch_g01_c01.avi 71\n")
    (lists / "testlist02.txt").write_text("Punch/v_Punch_g08_c01.avi\n")
    return folder / "UCF-101"


def test_ucf101_finds_its_lists(ucf101, capsys):
    videos = find_videos(ucf101)
    assert rows(ucf101, videos) == [
        ("Punch/v_Punch_g08_c01.avi", "Punch", "train"),
        ("Punch/v_Punch_g01_c01.avi", "Punch", "test"),
        ("PushUps/v_PushUps_g01_c02.avi", "PushUps", "test"),
    ]
    assert [video.group for video in videos] == ["Punch_g08", "Punch_g01", "PushUps_g01"]
    assert "1 of the 4 videos" in capsys.readouterr().err


def test_ucf101_has_several_splits(ucf101):
    assert rows(ucf101, find_videos(ucf101, Lists(split=2))) == [
        ("Punch/v_Punch_g01_c01.avi", "Punch", "train"),
        ("Punch/v_Punch_g08_c01.avi", "Punch", "test"),
    ]
    with pytest.raises(UsageError, match="no lists of split 3"):
        find_videos(ucf101, Lists(split=3))


def test_ucf101_without_lists_is_a_tree_with_groups(make):
    folder = make("Punch/v_Punch_g01_c01.avi")
    (video,) = find_videos(folder)
    assert (video.label, video.split, video.group) == ("Punch", None, "Punch_g01")


def test_hmdb51(make):
    folder = make("wave/a_wave_f_0.avi", "wave/b_wave_f_1.avi", "wave/c_wave_u_2.avi", "x/x.txt")
    lists = folder / "lists"
    lists.mkdir()
    marks = "a_wave_f_0.avi 1 \nb_wave_f_1.avi 2 \nc_wave_u_2.avi 0 \n"
    (lists / "wave_test_split1.txt").write_text(marks)
    videos = find_videos(folder, Lists(folder=lists))
    assert rows(folder, videos) == [
        ("wave/a_wave_f_0.avi", "wave", "train"),
        ("wave/b_wave_f_1.avi", "wave", "test"),
    ]
    assert videos[0].group == "wave/a"


def test_the_lists_of_hmdb51_are_found_beside_it(make):
    folder = make("HMDB51/wave/a_wave_f_0.avi", "HMDB51/wave/b_wave_f_1.avi", "other/run/c.avi")
    lists = folder / "testTrainMulti_7030_splits"
    lists.mkdir()
    for split, marks in enumerate(("1 2", "2 1"), start=1):
        first, second = marks.split()
        (lists / f"wave_test_split{split}.txt").write_text(
            f"a_wave_f_0.avi {first}\nb_wave_f_1.avi {second}\n"
        )
    found = [find_videos(folder / "HMDB51", Lists(split=split)) for split in (1, 2)]
    assert [[video.split for video in videos] for videos in found] == [
        ["train", "test"],
        ["test", "train"],
    ]
    assert find_videos(folder / "other")[0].split is None


@pytest.fixture
def diving48(make):
    folder = make("rgb/-mm_00155.mp4", "rgb/2x0_00001.mp4", "rgb/2x0_00002.mp4")
    (folder / "Diving48_vocab.json").write_text(
        '[["Back", "15som", "05Twis", "FREE"], ["Back", "Dive", "NoTwis", "PIKE"]]'
    )
    labels = {"": (0, 1), "_V2": (1, 0)}
    for version, (first, second) in labels.items():
        (folder / f"Diving48{version}_train.json").write_text(
            f'[{{"vid_name": "-mm_00155", "label": {first}, "start_frame": 0, "end_frame": 48}},\n'
            ' {"vid_name": "lost_00001", "label": 1, "start_frame": 0, "end_frame": 9}]'
        )
        (folder / f"Diving48{version}_test.json").write_text(
            f'[{{"vid_name": "2x0_00001", "label": {second}, "start_frame": 0, "end_frame": 70}}]'
        )
    return folder


def test_diving48_has_two_sets_of_labels(diving48, capsys):
    rgb = diving48 / "rgb"
    assert rows(rgb, find_videos(rgb)) == [
        ("-mm_00155.mp4", "Back 15som 05Twis FREE", "train"),
        ("2x0_00001.mp4", "Back Dive NoTwis PIKE", "test"),
    ]
    assert "1 of the 3 videos" in capsys.readouterr().err
    assert rows(rgb, find_videos(rgb, Lists(split=2))) == [
        ("-mm_00155.mp4", "Back Dive NoTwis PIKE", "train"),
        ("2x0_00001.mp4", "Back 15som 05Twis FREE", "test"),
    ]
    with pytest.raises(UsageError, match="no lists of split 3"):
        find_videos(rgb, Lists(split=3))


@pytest.mark.parametrize("place", ["annotations", "rgb", "elsewhere"])
def test_annotations_of_diving48_beside_the_videos(diving48, place):
    (diving48 / place).mkdir(exist_ok=True)
    for file in diving48.glob("*.json"):
        file.rename(diving48 / place / file.name)
    (diving48 / place / "Diving48_vocab.json").unlink()
    given = Lists(folder=diving48 / place) if place == "elsewhere" else Lists()
    videos = find_videos(diving48 / "rgb", given)
    assert [(video.label, video.split) for video in videos] == [("0", "train"), ("1", "test")]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train", "[{]", "train.json: is not JSON"),
        ("train", "{}", "train.json: holds no list"),
        ("test", '[{"vid_name": "a"}]', "test.json: a row has a vid_name and a label"),
        ("test", '["a"]', "test.json: a row has a vid_name and a label"),
    ],
)
def test_damaged_annotations_of_diving48(diving48, file, text, message):
    (diving48 / f"Diving48_{file}.json").write_text(text)
    with pytest.raises(DamagedFileError, match=message):
        find_videos(diving48 / "rgb")


def test_diving48_without_its_second_half(diving48):
    (diving48 / "Diving48_test.json").unlink()
    with pytest.raises(UsageError, match=r"Diving48_test\.json is not a file"):
        find_videos(diving48 / "rgb")


def test_lists_of_ones_own(make):
    folder = make("tree pose/a 1.mp4", "lotus/b.mp4")
    (folder / "train.txt").write_text("tree pose/a 1.mp4\n\n")
    (folder / "test.txt").write_text("lotus/b.mp4\nlotus/missing.mp4\n")
    lists = Lists(train=folder / "train.txt", test=folder / "test.txt")
    assert rows(folder, find_videos(folder, lists)) == [
        ("tree pose/a 1.mp4", "tree pose", "train"),
        ("lotus/b.mp4", "lotus", "test"),
    ]


def test_numbers_count_only_if_every_line_has_one(make):
    folder = make("run/a.mp4", "jump/b.mp4")
    (folder / "train.txt").write_text("run/a.mp4 7\n")
    (folder / "test.txt").write_text("jump/b.mp4\n")
    both = Lists(train=folder / "train.txt", test=folder / "test.txt")
    assert [video.label for video in find_videos(folder, both)] == ["run", "jump"]
    one = Lists(train=folder / "train.txt")
    assert [video.label for video in find_videos(folder, one)] == ["7"]


def test_an_mmaction2_list(make):
    folder = make()
    (folder / "list.txt").write_text("videos/a b.mp4 0\nvideos/c.mp4 1\n")
    (folder / "classes.txt").write_text("push up\nwave\n")
    videos = find_videos(folder / "list.txt")
    assert rows(folder, videos) == [("videos/a b.mp4", "0", None), ("videos/c.mp4", "1", None)]
    named = find_videos(folder / "list.txt", Lists(classes=folder / "classes.txt"))
    assert [video.label for video in named] == ["push up", "wave"]
    (folder / "classes.txt").write_text("push up\n")
    with pytest.raises(UsageError, match="is of class 1, but there are 1 class names"):
        find_videos(folder / "list.txt", Lists(classes=folder / "classes.txt"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label,split\na.mp4,run,train\n", ("a.mp4", "run", "train")),
        ("split,path,views\ntest,a.mp4,12\n", ("a.mp4", None, "test")),
        ("a.mp4,run\n", ("a.mp4", "run", None)),
        ('"a, b.mp4",run,test\n', ("a, b.mp4", "run", "test")),
        ("path\na.mp4\n", ("a.mp4", None, None)),
        ("a b.mp4 3\n", ("a b.mp4", "3", None)),
    ],
)
def test_a_table(make, text, expected):
    folder = make()
    (folder / "table.csv").write_text(text)
    assert rows(folder, find_videos(folder / "table.csv")) == [expected]


@pytest.mark.parametrize("row", ["a.mp4,run,dev", ",run"])
def test_a_table_with_a_bad_row(make, row):
    folder = make()
    (folder / "table.csv").write_text(f"path,label,split\nb.mp4,run,train\n{row}\n")
    with pytest.raises(DamagedFileError, match=r"table.csv:3: "):
        find_videos(folder / "table.csv")


def test_one_video(make):
    folder = make("a.mp4")
    assert rows(folder, find_videos(folder / "a.mp4")) == [("a.mp4", None, None)]


@pytest.mark.parametrize(
    ("source", "lists", "message"),
    [
        ("nowhere", Lists(), "does not exist"),
        ("https://example.org/a.mp4", Lists(), "is a URL"),
        ("empty", Lists(), "holds no video"),
        ("tree", Lists(split=2), "--split means nothing"),
        ("tree", Lists(classes=Path("c.txt")), "--classes means nothing"),
        ("tree", Lists(folder=Path("nowhere")), "no lists of split 1"),
        ("tree", Lists(train=Path("nowhere.txt")), "is not a file"),
        ("tree/a.mp4", Lists(train=Path("t.txt")), "--train-list means nothing"),
        ("tree/m.jsonl", Lists(split=2), "--split means nothing"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(make, monkeypatch, source, lists, message):
    folder = make("tree/a.mp4", "tree/m.jsonl")
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=message):
        find_videos(source, lists)


@pytest.mark.parametrize(
    ("lists", "hint"), [(Lists(split=2), "official splits"), (Lists(folder=Path("l")), "leave it")]
)
def test_what_means_nothing_comes_with_a_way_out(make, lists, hint):
    with pytest.raises(UsageError) as caught:
        find_videos(make("tree/m.jsonl") / "tree" / "m.jsonl", lists)
    assert caught.value.hint.startswith(hint)


def test_lists_of_another_data_set_are_refused(make, ucf101):
    folder = make("other/run/a.mp4")
    with pytest.raises(UsageError, match="none of the 4 videos"):
        find_videos(folder / "other", Lists(folder=ucf101.parent / "ucfTrainTestlist"))


def test_the_official_lists(real_data):
    videos = find_videos(real_data / "ucf101" / "UCF-101")
    assert len(videos) == 153
    assert {video.split for video in videos} == {"train", "test"}
    groups = {split: {v.group for v in videos if v.split == split} for split in ("train", "test")}
    assert not groups["train"] & groups["test"]
