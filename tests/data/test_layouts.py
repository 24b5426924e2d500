"""Every form of DATA, with folders and lists made here; most files are empty."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data.layouts import LeftOut, find_videos
from vidssl_cli.data.lists import Lists
from vidssl_cli.data.scan import open_data
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


def test_one_folder_around_splits_is_refused(make):
    folder = make("videos/train/run/a.mp4", "videos/test/run/b.mp4")
    with pytest.raises(UsageError, match="holds one folder of videos, with splits") as caught:
        find_videos(folder)
    assert caught.value.hint == f"did you mean {folder / 'videos'}?"


def test_one_folder_around_classes_is_warned_about(make, capsys):
    folder = make("videos/run/a.mp4", "videos/walk/b.mp4")
    assert {label for _, label, _ in rows(folder, find_videos(folder))} == {"videos"}
    assert f"did you mean {folder / 'videos'}?" in capsys.readouterr().err
    find_videos(folder / "videos")
    assert "did you mean" not in capsys.readouterr().err


def test_accents_of_macos_are_those_of_others(make):
    """Names may be composed (NFC) or decomposed (NFD)."""
    folder = make("train/caf\u00e9/a.mp4", "test/cafe\u0301/b.mp4")
    assert {video.label for video in find_videos(folder)} == {"caf\u00e9"}


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


STRAY_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


@pytest.mark.parametrize("stray", STRAY_FOLDERS)
@pytest.mark.parametrize("place", ["", "train/run/"])
def test_what_systems_leave_behind_changes_nothing(make, stray, place, capsys):
    folder = make("train/run/a.mp4", "test/run/b.mp4", f"{place}{stray}/train/run/a.mp4")
    assert rows(folder, find_videos(folder)) == [
        ("test/run/b.mp4", "run", "test"),
        ("train/run/a.mp4", "run", "train"),
    ]
    assert f"{stray}: passed over" in capsys.readouterr().err


def test_companion_files_of_macos_are_no_videos(make, capsys):
    folder = make("run/a.mp4", "run/b.mp4", "run/._b.mp4", "run/._c.mp4")
    for name in ("a", "c"):
        (folder / "run" / f"._{name}.mp4").write_bytes(b"\x00\x05\x16\x07 and more")
    names = [name for name, _, _ in rows(folder, find_videos(folder))]
    # One without its video may be all that is left of it, and one may be a video.
    assert names == ["run/._b.mp4", "run/._c.mp4", "run/a.mp4", "run/b.mp4"]
    assert "._a.mp4: passed over" in capsys.readouterr().err


def test_a_video_next_to_splits_has_none_and_it_is_said(make, capsys):
    folder = make("intro.mp4", "train/a/1.mp4", "test/a/2.mp4")
    found = {Path(video.path).name: (video.split, video.label) for video in find_videos(folder)}
    assert found == {"intro.mp4": (None, None), "1.mp4": ("train", "a"), "2.mp4": ("test", "a")}
    assert "1 video lies next to the folders test and train" in capsys.readouterr().err
    find_videos(folder / "train")
    assert capsys.readouterr().err == ""


def test_splits_beside_other_folders_are_classes_and_it_is_said(make, capsys):
    folder = make("train/run/a.mp4", "test/run/b.mp4", "extra/c.mp4")
    assert {label for _, label, _ in rows(folder, find_videos(folder))} == {
        "train", "test", "extra",
    }  # fmt: skip
    assert "test and train are taken for classes, because extra is beside" in (
        capsys.readouterr().err
    )


def test_a_class_may_be_called_train_without_a_word(make, capsys):
    find_videos(make("train/a.mp4", "bus/b.mp4"))
    assert "taken for classes" not in capsys.readouterr().err


@pytest.fixture
def locked(monkeypatch):
    """A function that makes folders unreadable, for root too."""

    def lock(*folders):
        real = os.scandir

        def scandir(folder="."):
            if not isinstance(folder, int) and Path(folder) in folders:
                raise PermissionError(13, "Permission denied", str(folder))
            return real(folder)

        monkeypatch.setattr(os, "scandir", scandir)

    return lock


def test_a_folder_that_cannot_be_read_is_named(make, locked, capsys):
    folder = make("walk/a.mp4", "run/b.mp4")
    locked(folder / "run")
    gone = LeftOut()
    assert [row[0] for row in rows(folder, find_videos(folder, left_out=gone))] == ["walk/a.mp4"]
    assert [error.where for error in gone.folders] == [str(folder / "run")]
    assert f"{folder / 'run'}: cannot be read: Permission denied" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_counts_under_strict(make, locked, make_video, capfd):
    folder = make("run/b.mp4")
    make_video(folder / "walk" / "a.mp4")
    locked(folder / "run")
    command = ["data", "scan", str(folder), "--out", str(folder / "m.jsonl")]
    assert run(app, command) == 0
    assert run(app, [*command, "--strict"]) == 5
    assert "1 left out" in " ".join(capfd.readouterr().out.split())


def test_a_folder_of_data_that_cannot_be_read(make, locked):
    folder = make("run/b.mp4")
    locked(folder)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        find_videos(folder)


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_link_that_leads_nowhere_is_named(make, target):
    folder = make("walk/a.mp4")
    (folder / "loop").symlink_to(target)
    gone = LeftOut()
    find_videos(folder, left_out=gone)
    assert [error.where for error in gone.folders] == [str(folder / "loop")]


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
    gone = LeftOut()
    videos = find_videos(ucf101, left_out=gone)
    assert rows(ucf101, videos) == [
        ("Punch/v_Punch_g08_c01.avi", "Punch", "train"),
        ("Punch/v_Punch_g01_c01.avi", "Punch", "test"),
        ("PushUps/v_PushUps_g01_c02.avi", "PushUps", "test"),
    ]
    assert [video.group for video in videos] == ["Punch_g08", "Punch_g01", "PushUps_g01"]
    assert rows(ucf101, gone.absent) == [("Punch/v_Punch_g09_c01.avi", "Punch", "train")]
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


GYM = [f"0LtLS9wROrk_E_002407_002435_A_000{n}_0009" for n in range(4)]


@pytest.fixture
def finegym(make):
    folder = make(f"clips/{GYM[0]}.mp4", f"clips/FX/{GYM[1]}.mkv", f"clips/{GYM[2]}.mp4")
    lists = {
        "gym99_train_element_v1.0": f"{GYM[0]} 9\n",
        "gym99_train_element_v1.1": f"{GYM[0]} 1\n{GYM[3]} 0\n",
        "gym99_val_element": f"{GYM[1]} 0\n",
        "gym99_categories": "Clabel:   0; set:  1; Glabel:   1; (VT) round-off, 1 turn\n"
        "Clabel:   1; set: 21; Glabel: 104; (FX) stag jump      \n",
        "gym288_train_element_v1.1": f"{GYM[1]} 7\n",
        "gym288_val_element": f"{GYM[2]} 3\n",
    }
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_finegym_has_two_subsets(finegym, capsys):
    clips = finegym / "clips"
    videos = find_videos(clips)
    assert rows(clips, videos) == [
        (f"{GYM[0]}.mp4", "(FX) stag jump", "train"),
        (f"FX/{GYM[1]}.mkv", "(VT) round-off, 1 turn", "test"),
    ]
    assert {video.group for video in videos} == {"0LtLS9wROrk"}
    assert "1 of the 3 videos" in capsys.readouterr().err
    (finegym / "lists").mkdir()
    for file in finegym.glob("*.txt"):
        file.rename(finegym / "lists" / file.name)
    assert rows(clips, find_videos(clips, Lists(split=2, folder=finegym / "lists"))) == [
        (f"FX/{GYM[1]}.mkv", "7", "train"),
        (f"{GYM[2]}.mp4", "3", "test"),
    ]
    with pytest.raises(UsageError, match="no lists of split 3"):
        find_videos(clips, Lists(split=3, folder=finegym / "lists"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gym99_val_element", f"{GYM[1]}", r"val_element.txt:1: a row is a clip and the number"),
        ("gym99_val_element", "a.mp4 1", r"a row is a clip and the number of its class, not 'a"),
        ("gym99_categories", "0 jump", r"categories.txt:1: a class is `Clabel"),
        ("gym99_categories", "Clabel: 0; a; b; c\nClabel: 1; a; b; c", r"txt:2: .* a new name"),
    ],
)
def test_damaged_lists_of_finegym(finegym, name, text, message):
    (finegym / f"{name}.txt").write_text(text)
    with pytest.raises(DamagedFileError, match=message):
        find_videos(finegym / "clips")


def test_finegym_without_its_first_half_or_a_name(finegym):
    (finegym / "gym99_val_element.txt").write_text(f"{GYM[1]} 5\n")
    with pytest.raises(UsageError, match="is of class 5, but 2 classes have names"):
        find_videos(finegym / "clips")
    for file in finegym.glob("gym99_train*"):
        file.unlink()
    with pytest.raises(UsageError, match=r"has no gym99_train_element_v1\.1\.txt"):
        find_videos(finegym / "clips")


def test_the_parent_of_a_data_set_is_recognised(ucf101):
    with pytest.raises(UsageError) as caught:
        find_videos(ucf101.parent)
    assert caught.value.hint == f"looks like UCF101: did you mean {ucf101}?"
    with pytest.raises(UsageError, match="none of the 4 videos") as caught:
        find_videos(ucf101.parent, Lists(folder=ucf101.parent / "ucfTrainTestlist"))
    assert caught.value.hint == f"looks like UCF101: did you mean {ucf101}?"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("HMDB51", "wave/a_b_wave_f_cm_np1_fr_med_0.avi"),
        ("Kinetics", "waving hand/0wR5jVB-WPk_000417_000427.mp4"),
    ],
)
def test_parents_of_other_data_sets(make, name, file):
    folder = make(f"videos/{file}", "lists/a.txt")
    with pytest.raises(UsageError) as caught:
        find_videos(folder)
    assert caught.value.hint == f"looks like {name}: did you mean {folder / 'videos'}?"
    assert [video.label for video in find_videos(folder / "videos")] == [file.split("/")[0]]


def test_a_data_set_beside_another_folder_is_a_class_and_it_is_said(ucf101, make, capsys):
    folder = make("more/a.mp4")
    labels = {video.label for video in find_videos(folder)}
    assert labels == {"UCF-101", "more"}
    assert f"it looks like UCF101: did you mean {ucf101}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("Punch/v_Punch_g01_c01.avi", "Punch_g01"),
        ("wave/a_b_wave_f_cm_np1_fr_med_0.avi", "wave/a_b"),
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair/April_09"),
        ("waving hand/0wR5jVB-WPk_000417_000427.mp4", "0wR5jVB-WPk"),
        ("waving hand/short_000417_000427.mp4", None),
        (f"(FX) stag jump/{GYM[0]}.mp4", "0LtLS9wROrk"),
        ("other/a_b_wave_f_cm_np1_fr_med_0.avi", None),
    ],
)
def test_names_say_which_recording_a_clip_is_of(make, file, group):
    (video,) = find_videos(make(file))
    assert video.group == group


KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def kinetics(make):
    """Class folders, and lists in a folder beside them; the validation list is not quoted."""
    folder = make(
        "k/play guitar/0wR5jVB-WPk_000417_000427.mp4",
        "k/play guitar/3caPS4FHFF8_000036_000046.mkv",
        "k/3yaoNwz99xM_000062_000072.mp4",
        "k/test/aaaaaaaaaaa_000001_000011.mp4",
        "k/other/bbbbbbbbbbb_000001_000011.mp4",
    )
    (folder / "annotations").mkdir()
    lists = {
        "train": KINETICS + '"play guitar",0wR5jVB-WPk,417,427,train\n'
        '"play, badly",3caPS4FHFF8,36,46,train\n"play guitar",ccccccccccc,1,11,train\n',
        "kinetics_val": KINETICS.replace("split", "split,is_cc")
        + "walking,3yaoNwz99xM,62.0,72.0,validate,0\n",
        "test": "youtube_id,time_start,time_end,split\naaaaaaaaaaa,1,11,test\n",
        "unrelated": "path,label\na.mp4,run\n",
    }
    for name, text in lists.items():
        (folder / "annotations" / f"{name}.csv").write_text(text)
    return folder / "k"


CLIPS = [
    ("3yaoNwz99xM_000062_000072.mp4", "walking", "test"),
    ("test/aaaaaaaaaaa_000001_000011.mp4", None, "test"),
    ("play guitar/0wR5jVB-WPk_000417_000427.mp4", "play guitar", "train"),
    ("play guitar/3caPS4FHFF8_000036_000046.mkv", "play, badly", "train"),
]
"""Of them all; validation stands in for a test list without labels."""


def test_kinetics_finds_its_lists(kinetics, capsys):
    videos = find_videos(kinetics)
    assert rows(kinetics, videos) == CLIPS
    assert videos[0].group == "3yaoNwz99xM"
    assert "1 of the 5 videos" in capsys.readouterr().err


def test_kinetics_with_lists_elsewhere(kinetics):
    lists = kinetics.parent / "elsewhere"
    (kinetics.parent / "annotations").rename(lists)
    assert {split for _, _, split in rows(kinetics, find_videos(kinetics))} == {None}
    assert rows(kinetics, find_videos(kinetics, Lists(folder=lists))) == CLIPS
    with pytest.raises(UsageError, match="no lists of split 2"):
        find_videos(kinetics, Lists(split=2, folder=lists))


def test_validation_of_kinetics_beside_a_labelled_test_list(kinetics):
    (kinetics.parent / "annotations" / "test.csv").write_text(
        KINETICS + "walking,aaaaaaaaaaa,1,11,test\n"
    )
    assert [row[2] for row in rows(kinetics, find_videos(kinetics))][:2] == ["val", "test"]


def test_one_list_of_kinetics(make):
    folder = make("v/a1.mp4", "v/a2_000010_000020.mp4", "v/a3.mp4")
    (folder / "kinetics.csv").write_text(
        f"{KINETICS}playing guitar,a1,0,10,train\nwalking,a2,10,20,validate\n"
        "walking,a3,0,10,train\nwalking,a3,10,20,train\n"  # it is not known which of them a3.mp4 is
    )
    assert rows(folder, find_videos(folder / "kinetics.csv")) == [
        ("v/a1.mp4", "playing guitar", "train"),
        ("v/a2_000010_000020.mp4", "walking", "test"),
    ]


def test_a_list_of_kinetics_without_label_and_split(make):
    folder = make("a_000000_000010.mp4")
    (folder / "kinetics_test.csv").write_text("youtube_id,time_start,time_end\na,0,10\n")
    assert rows(folder, find_videos(folder / "kinetics_test.csv")) == [
        ("a_000000_000010.mp4", None, "test")
    ]


@pytest.mark.parametrize("times", ["", ",time_start,time_end"])
def test_clips_of_kinetics_by_their_videos(make, times):
    """A list without seconds means the only clip of a video; seconds need no zeros in front."""
    folder = make("a_000010_000020.mp4", "b.mp4", "c_5_15.webm", "d_1_2.mp4", "d_3_4.mp4")
    starts = {"a": 10, "b": 7, "c": 5, "d": 1}
    rows_of = [
        f"{each},run" + (f",{start},{start + 10}" if times else "")
        for each, start in starts.items()
    ]
    (folder / "list.csv").write_text("\n".join([f"youtube_id,label{times}", *rows_of]))
    found = [name for name, _, _ in rows(folder, find_videos(folder / "list.csv"))]
    assert found == ["a_000010_000020.mp4", "b.mp4", "c_5_15.webm"]


def test_a_clip_that_lists_of_kinetics_name_twice(make, capsys):
    folder = make("a_000000_000010.mp4")
    rows_of = ["run,a,0,10,train", "run,a,0,10,train", "walk,a,0,10,train"]
    (folder / "kinetics.csv").write_text(KINETICS + "\n".join(rows_of))
    assert rows(folder, find_videos(folder / "kinetics.csv")) == [
        ("a_000000_000010.mp4", "run", "train")
    ]
    told = capsys.readouterr().err
    assert "1 row says another label or split of a clip, such as" in told


def test_a_clip_that_is_there_twice_is_told(kinetics, capsys):
    again = kinetics / "test" / "3yaoNwz99xM_000062_000072.mp4"
    again.touch()
    assert rows(kinetics, find_videos(kinetics)) == CLIPS
    assert f"{again}: passed over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("run,a,soon,10,train", "are seconds, not 'soon'"),
        ("run,a,0,inf,train", "are seconds"),
        ("run,,0,10,train", "no youtube_id"),
        ("run,a,0,10,dev", "no split is called 'dev'"),
        ("run,a,0,10", "4 cells below a header of 5"),
    ],
)
def test_a_row_that_does_not_fit_a_list_of_kinetics(make, row, problem):
    folder = make("a.mp4")
    (folder / "kinetics.csv").write_text(f"{KINETICS}{row}\n")
    with pytest.raises(DamagedFileError, match=rf"kinetics\.csv:2: .*{problem}"):
        find_videos(folder / "kinetics.csv")


@pytest.fixture
def something(make):
    """Videos as they come, and the lists in a folder beside them."""
    folder = make("20bn/1.webm", "20bn/2.webm", "20bn/3.webm", "20bn/78687.webm", "labels/x.pdf")
    train = [
        {
            "id": "78687",
            "label": "holding potato next to vicks vaporub bottle",
            "template": "Holding [something] next to [something]",
            "placeholders": ["potato", "vicks vaporub bottle"],
        },
        {"id": "99", "label": "x", "template": "Moving [part] of [something]", "placeholders": []},
    ]
    (folder / "labels" / "train.json").write_text(json.dumps(train))
    validation = [{"id": "1", "label": "x", "template": "Lifting [something], then dropping it"}]
    (folder / "labels" / "validation.json").write_text(json.dumps(validation))
    (folder / "labels" / "test.json").write_text('[{"id": "2"}, {"id": 3}]')
    (folder / "labels" / "labels.json").write_text('{"Holding something next to something": "0"}')
    return folder / "20bn"


def test_something_something(something, capsys):
    assert rows(something, find_videos(something)) == [
        ("78687.webm", "Holding something next to something", "train"),
        ("1.webm", "Lifting something, then dropping it", "test"),
        ("2.webm", None, "test"),
        ("3.webm", None, "test"),
    ]
    assert "1 of the 5 videos" in capsys.readouterr().err


def test_answers_to_the_test_of_something_something(something):
    answers = "2;Holding something next to something\n3;Lifting something, then dropping it\n"
    (something.parent / "labels" / "test-answers.csv").write_text(answers)
    found = rows(something, find_videos(something))
    assert [row[1:] for row in found[1:]] == [
        ("Lifting something, then dropping it", "val"),
        ("Holding something next to something", "test"),
        ("Lifting something, then dropping it", "test"),
    ]


@pytest.mark.parametrize(
    "place", ["the parent", "the lists elsewhere", "names of the first release"]
)
def test_something_something_lies_in_several_ways(something, place):
    labels, given = something.parent / "labels", Lists()
    if place == "the lists elsewhere":
        given = Lists(folder=labels.rename(something.parent / "elsewhere"))
    elif place == "names of the first release":
        for file in labels.glob("*.json"):
            file.rename(something.parent / f"something-something-v2-{file.name}")
    source = something.parent if place == "the parent" else something
    assert len(find_videos(source, given)) == 4


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train.json", '[{"template": "x"}]', "a row has an id and a template"),
        ("train.json", '[{"id": "1", "template": 7}]', "a row has an id and a template"),
        ("train.json", '["template"]', "a row has an id and a template"),
        ("validation.json", "{}", "holds no list"),
        ("test-answers.csv", "2,Holding\n", "test-answers.csv:1: a row is `id;class`"),
    ],
)
def test_damaged_lists_of_something_something(something, file, text, message):
    (something.parent / "labels" / file).write_text(text)
    with pytest.raises(DamagedFileError, match=message):
        find_videos(something)


def test_a_list_of_something_something_is_no_data(something):
    with pytest.raises(UsageError) as caught:
        find_videos(something.parent / "labels" / "train.json")
    assert "--lists" in caught.value.hint


def test_what_is_left_out_keeps_its_label_and_split(make, make_video):
    folder = make("run/b.mp4")
    make_video(folder / "run" / "a.mp4")
    (folder / "test.txt").write_text("run/a.mp4\nrun/b.mp4\nrun/c.mp4\n")
    left_out = []
    videos, broken = open_data(folder, test_list=folder / "test.txt", left_out=left_out)
    assert rows(folder, videos) == [("run/a.mp4", "run", "test")]
    assert [error.where for error in broken] == [str(folder / "run" / "b.mp4")]
    assert sorted(rows(folder, left_out)) == [
        ("run/b.mp4", "run", "test"),
        ("run/c.mp4", "run", "test"),
    ]


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
    with pytest.raises(UsageError, match="is of class 1, but 1 class has a name"):
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


@pytest.mark.parametrize("row", ["a.mp4,run,dev", ",run,train", "a.mp4,run", "a.mp4,run,test,2"])
def test_a_table_with_a_bad_row(make, row):
    folder = make()
    (folder / "table.csv").write_text(f"path,label,split\nb.mp4,run,train\n{row}\n")
    with pytest.raises(DamagedFileError, match=r"table.csv:3: "):
        find_videos(folder / "table.csv")


@pytest.mark.parametrize(
    "text",
    [
        "path, label , split\na.mp4, run , train \n",
        "Path,LABEL,Split\na.mp4,run,Training\n",
        "\ufeffpath,label,split\r\na.mp4,run,train\r\n",
        "path;label;split\na.mp4;run;train\n",
        "path\tlabel\tsplit\na.mp4\trun\ttrain\n",
        '"path","label","split"\n"a.mp4","run","train"\n',
        "\npath,label,split\n\n,,\na.mp4,run,train,\n",
        "a.mp4;run;train\n",
        "a.mp4\trun\ttrain\n",
    ],
)
def test_tables_as_other_programs_write_them(make, text):
    folder = make()
    (folder / "table.csv").write_bytes(text.encode())
    assert rows(folder, find_videos(folder / "table.csv")) == [("a.mp4", "run", "train")]


@pytest.mark.parametrize(
    ("word", "split"),
    [("validate", "val"), ("validation", "val"), ("valid", "val"), ("Testing", "test"), ("", None)],
)
def test_words_for_splits_in_a_table(make, word, split):
    folder = make()
    (folder / "table.csv").write_text(f"path,label,split\na.mp4,run,{word}\n")
    assert rows(folder, find_videos(folder / "table.csv")) == [("a.mp4", "run", split)]


def test_columns_that_are_passed_over_are_named(make, capsys):
    folder = make()
    (folder / "table.csv").write_text("path,class,split,views\na.mp4,run,train,7\n")
    assert rows(folder, find_videos(folder / "table.csv")) == [("a.mp4", None, "train")]
    told = capsys.readouterr().err
    assert "columns passed over: class, views; known are path, label" in told
    assert "no column is called label, so that videos have no classes" in told


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("file,label\na.mp4,run\n", 1, "names no column path"),
        ("path,label,label\na.mp4,run,run\n", 1, "two columns 'label'"),
        ("# mine\na.mp4,run\nb.mp4,run\n", 1, "1 cell, unlike 2 of 3 rows"),
        ("a.mp4,run\nb.mp4,run\nc.mp4\n", 3, "1 cell, unlike 2 of 3 rows"),
        ("a.mp4,run,train,g,7\n", 1, "5 cells and no header"),
    ],
)
def test_what_does_not_fit_a_table_is_named(make, text, line, problem):
    folder = make()
    (folder / "table.csv").write_text(text)
    with pytest.raises(DamagedFileError, match=rf"table\.csv:{line}: .*{problem}"):
        find_videos(folder / "table.csv")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("# my list\nv/a.mp4 0\nv/b.mp4 1\n", 1, "name of no file"),
        ("v/a.mp4\n\n# my list\n", 3, "name of no file"),
        ("v/a.mp4 0\nv/b.mp4\n", 2, "'v/b.mp4' has no class number, unlike 1 of 2 lines"),
        ("v/a.mp4\nv/b.mp4\nv/c.mp4 1\n", 3, "ends in a class number, unlike 2 of 3 lines"),
    ],
)
@pytest.mark.parametrize("form", ["list", "split lists"])
def test_a_line_that_does_not_fit_a_list_is_named(make, text, line, problem, form):
    folder = make("v/a.mp4", "v/b.mp4")
    (folder / "list.txt").write_text(text)
    given = (folder, Lists(test=folder / "list.txt")) if form != "list" else (folder / "list.txt",)
    with pytest.raises(DamagedFileError, match=rf"list\.txt:{line}: .*{problem}"):
        find_videos(*given)


def test_a_video_may_be_called_like_a_note(make):
    folder = make("#swim 1.mp4")
    (folder / "list.txt").write_text("#swim 1.mp4\n")
    assert rows(folder, find_videos(folder / "list.txt")) == [("#swim 1.mp4", None, None)]


@pytest.mark.parametrize(
    "classes",
    ["1 Lips\n2 Archery\n", "2 Archery\n1 Lips\n", "1,Lips\n2,Archery", "1\tLips\n2\tArchery\n"],
)
def test_class_names_may_be_numbered(make, classes):
    folder = make("a.mp4", "b.mp4")
    (folder / "classInd.txt").write_text(classes)
    (folder / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    videos = find_videos(folder / "list.txt", Lists(classes=folder / "classInd.txt"))
    assert [video.label for video in videos] == ["Lips", "Archery"]


def test_class_names_may_begin_with_a_number(make):
    folder = make("a.mp4")
    (folder / "classes.txt").write_text("run\n3 point shot\n")
    (folder / "list.txt").write_text("a.mp4 1\n")
    (video,) = find_videos(folder / "list.txt", Lists(classes=folder / "classes.txt"))
    assert video.label == "3 point shot"


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ("1 run\n2 jump\nwave\n", ":3: 'wave' has no number"),
        ("1 run\n1 jump\n", ":2: a second"),
        ("# classes\nrun\nwalk\n", ":1: '# classes' is a comment"),
    ],
)
def test_class_names_that_do_not_fit_the_others(make, classes, problem):
    folder = make("a.mp4")
    (folder / "classes.txt").write_text(classes)
    (folder / "list.txt").write_text("a.mp4 1\n")
    with pytest.raises(DamagedFileError, match=problem):
        find_videos(folder / "list.txt", Lists(classes=folder / "classes.txt"))


def test_a_list_that_begins_with_another_number_than_its_classes(make):
    folder = make("a.mp4")
    (folder / "classes.txt").write_text("run\n")
    (folder / "list.txt").write_text("a.mp4 1\n")
    with pytest.raises(UsageError, match="of class 1, but 1 class has a name") as caught:
        find_videos(folder / "list.txt", Lists(classes=folder / "classes.txt"))
    assert "numbered from 0" in caught.value.hint


@pytest.mark.parametrize("line", ["# note", "v_Punch_g01_c01.avi", "Punch/v_Punch_g01_c01.avi one"])
def test_a_line_that_does_not_fit_the_lists_of_ucf101(ucf101, line):
    with (ucf101.parent / "ucfTrainTestlist" / "trainlist01.txt").open("a") as file:
        file.write(line)
    with pytest.raises(DamagedFileError, match=r"trainlist01\.txt:3: "):
        find_videos(ucf101)


@pytest.mark.parametrize("line", ["# note", "a_wave_f_0.avi", "a_wave_f_0.avi 3"])
def test_a_line_that_does_not_fit_the_lists_of_hmdb51(make, line):
    folder = make("wave/a_wave_f_0.avi")
    (folder / "wave_test_split1.txt").write_text(f"a_wave_f_0.avi 1\n{line}\n")
    with pytest.raises(DamagedFileError, match=r"wave_test_split1\.txt:2: "):
        find_videos(folder, Lists(folder=folder))


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
def test_options_and_data_that_are_refused(make, monkeypatch, source, lists, message):
    folder = make("tree/a.mp4", "tree/m.jsonl")
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=message):
        find_videos(source, lists)


@pytest.mark.parametrize(
    ("lists", "hint"), [(Lists(split=2), "official splits"), (Lists(folder=Path("l")), "leave it")]
)
def test_the_hint_says_what_to_do_instead(make, lists, hint):
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


@pytest.mark.parametrize("name", ["a.divx", "a.M2V", "a.264", "a.mod", "a.insv"])
def test_less_usual_endings_are_videos_too(make, name):
    assert [Path(video.path).name for video in find_videos(make(name))] == [name]
