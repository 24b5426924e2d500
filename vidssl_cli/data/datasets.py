"""Known data sets: finds and reads their official lists.

UCF101, HMDB51 and Diving48 are read here; Kinetics, Something-Something and FineGym have their own
modules.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import finegym, kinetics, something_something
from vidssl_cli.data.class_names import label_by_number
from vidssl_cli.data.lists import SPLITS, misfit, read_json_list, read_names
from vidssl_cli.data.walk import Walk

DIVING48 = {1: "Diving48", 2: "Diving48_V2"}
"""What the annotation files of its splits begin with: the first labels, and the corrected ones."""
_UCF101 = re.compile(r"v_(?P<group>(?P<label>\w+)_g\d+)_c\d+\.avi")
_HMDB51 = re.compile(r"(?P<name>.+)_[fhlu]_(cm|nm)_np\d_(ba|fr|le|ri)_(bad|goo|med)_\d+\.avi")
_FEW = 20
"""Folders that `meant` looks into; a folder of more has classes."""


def recording_of(path: Path) -> str | None:
    """Return the recording that a clip was cut from, by its name in a known data set."""
    if match := _UCF101.fullmatch(path.name):
        return match["group"]
    label = path.parent.name
    if (match := _HMDB51.fullmatch(path.name)) and match["name"].endswith(f"_{label}"):
        return f"{label}/{match['name'].removesuffix(f'_{label}')}"
    return kinetics.recording(path.stem) or finegym.recording(path.stem)


def name_of(folder: Path) -> str | None:
    """Return the data set whose layout a folder of class folders has."""
    if next(folder.glob("*/v_*_g*_c*.avi"), None):
        return "UCF101"
    if next((path for path in folder.glob("*/*_np*_*.avi") if _HMDB51.fullmatch(path.name)), None):
        return "HMDB51"
    clips = folder.glob("*/*_??????_??????.*")
    if next((path for path in clips if kinetics.recording(path.stem)), None):
        return "Kinetics"
    return None


def meant(source: Path) -> str | None:
    """Return a question about a folder in this one that has the layout of a data set."""
    if name_of(source):
        return None
    folders = (entry for entry in sorted(source.iterdir()) if entry.is_dir())
    for folder in islice(folders, _FEW):
        if folder.name.lower() not in SPLITS and (name := name_of(folder)):
            return f"looks like {name}: did you mean {folder}?"
    return None


def find_lists(source: Path) -> Path | None:
    """Return the folder of the official lists, if they are in one of the usual places."""
    if name_of(source) == "UCF101":
        beside = source.parent / "ucfTrainTestlist"
        return beside if beside.is_dir() else None
    hmdb51 = source.parent / "testTrainMulti_7030_splits"
    if hmdb51.is_dir() and any(
        (hmdb51 / f"{each.name}_test_split1.txt").is_file() for each in source.iterdir()
    ):
        return hmdb51
    above = source.parent
    named = (place / name for place in (source, above) for name in ("annotations", "labels"))
    for folder in (source, above, *named):
        if (
            any((folder / f"{name}_train.json").is_file() for name in DIVING48.values())
            or something_something.has_lists(folder)
            or finegym.has_lists(folder, *finegym.SUBSETS.values())
            or kinetics.find_lists(folder)
        ):
            return folder
    return None


def read_official(walk: Walk, lists: Path, split: int) -> list[Video]:
    """Return the videos that official lists name, whether they exist or not.

    Args:
        walk: Search of the folder of DATA.
        lists: Folder of the lists.
        split: Which official split.

    Raises:
        UsageError: There are no such lists.
        DamagedFileError: A list cannot be understood.
    """
    source = walk.folder
    if (lists / f"trainlist{split:02}.txt").is_file():
        return ucf101(source, lists, split)
    if any(lists.glob(f"*_test_split{split}.txt")):
        return hmdb51(source, lists, split)
    if split in DIVING48 and (lists / f"{DIVING48[split]}_train.json").is_file():
        return diving48(source, lists, DIVING48[split])
    if split in finegym.SUBSETS and finegym.has_lists(lists, subset := finegym.SUBSETS[split]):
        return finegym.read_finegym(lists, subset, walk)
    if split == 1 and something_something.has_lists(lists):
        return something_something.read_something(lists, walk)
    if split == 1 and (files := kinetics.find_lists(lists)):
        return kinetics.read_kinetics(files, walk)
    raise UsageError(
        f"{lists} has no lists of split {split}",
        hint="it should hold trainlist01.txt … (UCF101), wave_test_split1.txt … (HMDB51), "
        "Diving48_train.json … (split 1) or Diving48_V2_train.json … (split 2), train.csv … "
        "(Kinetics), train.json … (Something-Something V2), or gym99_val_element.txt … (FineGym, "
        "split 1) or gym288_val_element.txt … (split 2)",
    )


def ucf101(source: Path, lists: Path, split: int) -> list[Video]:
    """Read the official lists: `Class/v_Class_g08_c01.avi 1` or the same without a number."""
    named = []
    for part in ("train", "test"):
        file = lists / f"{part}list{split:02}.txt"
        for line, text in read_names(file):
            match = re.fullmatch(r"((\S+)/\S+)(\s+\d+)?", text)
            if not match:
                raise misfit(file, line, f"{text!r} is no `Class/file.avi`", "delete the line")
            path = source / match[1]
            named.append(Video(str(path), match[2], part, recording_of(path)))
    return named


def hmdb51(source: Path, lists: Path, split: int) -> list[Video]:
    """Read the official lists, one per class: `name.avi 1`; 1 train, 2 test, 0 neither."""
    named = []
    for file in sorted(lists.glob(f"*_test_split{split}.txt")):
        label = file.name.removesuffix(f"_test_split{split}.txt")
        for line, text in read_names(file):
            match = re.fullmatch(r"(.*\S)\s+([012])", text)
            if not match:
                raise misfit(
                    file, line, f"a row is a name and 0, 1 or 2, not {text!r}", "correct the line"
                )
            if match[2] != "0":
                path = str(source / label / match[1])
                recording = match[1].split(f"_{label}_")[0]
                part = "train" if match[2] == "1" else "test"
                named.append(Video(path, label, part, f"{label}/{recording}"))
    return named


def diving48(source: Path, lists: Path, name: str) -> list[Video]:
    """Read the annotations: `[{"vid_name": "2x00lRzlTVQ_00000", "label": 12, …}, …]`.

    ``start_frame`` and ``end_frame`` are not needed, because the videos are cut.
    """
    vocabulary = lists / "Diving48_vocab.json"
    classes: dict[int, str] | None = None
    if vocabulary.is_file():
        rows = read_json_list(vocabulary)
        if not all(isinstance(words, list) for words in rows):
            raise DamagedFileError(
                f"{vocabulary}: a class is a list of words", where=str(vocabulary)
            )
        classes = {number: " ".join(map(str, words)) for number, words in enumerate(rows)}
    named = []
    for part in ("train", "test"):
        file = lists / f"{name}_{part}.json"
        for row in read_json_list(file):
            try:
                path, number = str(source / f"{row['vid_name']}.mp4"), str(int(row["label"]))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise DamagedFileError(
                    f"{file}: a row has a vid_name and a label, not {row!r}", where=str(file)
                ) from None
            named.append(label_by_number(Video(path, split=part), number, classes))
    return named
