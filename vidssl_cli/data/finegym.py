"""FineGym: elements of gymnastics, cut from YouTube videos, in any folder.

A row of `gym99_train_element_v1.1.txt` or `gym99_val_element.txt` is a clip and its class,
`0LtLS9wROrk_E_002407_002435_A_0003_0005 78`: the YouTube video, the seconds of an event in it, and
those of the element in the event. Files of Gym288 begin with `gym288_`. `gym99_categories.txt`
names the classes, `Clabel:   0; set:  1; Glabel:   1; (VT) round-off, …`.
"""

from __future__ import annotations

import re
from pathlib import Path

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.class_names import label_by_number
from vidssl_cli.data.lists import misfit, read_names
from vidssl_cli.data.walk import Walk

SUBSETS = {1: "gym99", 2: "gym288"}
"""What the lists of its splits begin with."""
_CLIP = re.compile(r"(?P<video>.{11})_E_\d{6}_\d{6}_A_\d{4}_\d{4}")
_CLASS = re.compile(r"Clabel:\s*(?P<number>\d+);[^;]*;[^;]*;\s*(?P<name>.*\S)")


def recording(stem: str) -> str | None:
    """Return the video that an element was cut from, by the name of its clip."""
    match = _CLIP.fullmatch(stem)
    return match["video"] if match else None


def has_lists(folder: Path, *subsets: str) -> bool:
    """Tell whether a folder holds the lists of one of these subsets."""
    return any((folder / f"{subset}_val_element.txt").is_file() for subset in subsets)


def read_finegym(lists: Path, subset: str, walk: Walk) -> list[Video]:
    """Return the clips that the lists of a subset name, whether they exist or not.

    Raises:
        UsageError: There is no list of training clips, or no name for a class.
        DamagedFileError: A line is not what it should be.
    """
    versions = sorted(lists.glob(f"{subset}_train_element*.txt"))
    if not versions:
        raise UsageError(
            f"{lists} has no {subset}_train_element_v1.1.txt",
            hint="put the list of training clips there too",
        )
    found = walk.by_name()
    classes = _classes(lists / f"{subset}_categories.txt")
    files = {"train": versions[-1], "val": lists / f"{subset}_val_element.txt"}
    videos = []
    for split, file in files.items():
        for line, text in read_names(file):
            name, _, number = text.partition(" ")
            if not (_CLIP.fullmatch(name) and number.strip().isdecimal()):
                problem = f"a row is a clip and the number of its class, not {text!r}"
                raise misfit(file, line, problem, "correct the line")
            path = found.get(name, str(walk.folder / f"{name}.mp4"))
            video = Video(path, split=split, group=recording(name))
            videos.append(label_by_number(video, number.strip(), classes))
    return videos


def _classes(file: Path) -> dict[int, str] | None:
    if not file.is_file():
        return None
    names: dict[int, str] = {}
    for line, text in read_names(file):
        match = _CLASS.fullmatch(text)
        if match is None or match["name"] in names.values():
            problem = f"a class is `Clabel: 0; set: 1; Glabel: 1; a new name`, not {text!r}"
            raise misfit(file, line, problem, "correct the line")
        names[int(match["number"])] = match["name"]
    return names
