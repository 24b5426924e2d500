"""The layouts of known data sets: UCF101, HMDB51 and Diving48."""

from __future__ import annotations

import re
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import label_by_number, misfit, only_present, read_json_list, read_names

DIVING48 = {1: "Diving48", 2: "Diving48_V2"}
"""What the annotation files of its splits begin with: the first labels, and the corrected ones."""
_UCF101 = re.compile(r"v_(?P<group>(?P<label>\w+)_g\d+)_c\d+\.avi")


def recording_of(path: Path) -> str | None:
    """Return the recording that a UCF101 clip was cut from; other names say nothing."""
    match = _UCF101.fullmatch(path.name)
    return match["group"] if match else None


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
    return only_present(named, lists)


def hmdb51(source: Path, lists: Path, split: int) -> list[Video]:
    """Read the official lists, one per class: `name.avi 1`, where 1 trains, 2 tests, 0 rests."""
    named = []
    for file in sorted(lists.glob(f"*_test_split{split}.txt")):
        label = file.name.removesuffix(f"_test_split{split}.txt")
        for line, text in read_names(file):
            match = re.fullmatch(r"(.*\S)\s+([012])", text)
            if not match:
                raise misfit(
                    file, line, f"a row is a name and 0, 1 or 2, not {text!r}", "correct the line"
                )
            if match[2] != "0":  # which is in neither part
                path = str(source / label / match[1])
                recording = match[1].split(f"_{label}_")[0]
                part = "train" if match[2] == "1" else "test"
                named.append(Video(path, label, part, f"{label}/{recording}"))
    return only_present(named, lists)


def diving48(source: Path, lists: Path, name: str) -> list[Video]:
    """Read the annotations: `[{"vid_name": "2x00lRzlTVQ_00000", "label": 12, …}, …]`.

    The videos are cut already, so that start_frame and end_frame have nothing more to say.
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
    return only_present(named, lists)
