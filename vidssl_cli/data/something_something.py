"""Something-Something V2: JSON lists of videos that lie flat in one folder, `78687.webm`.

A row of `train.json` or `validation.json` is {"id": "78687", "template": "Holding [something]", …};
the class is the template without brackets. Rows of `test.json` have an id alone; the classes are in
`test-answers.csv`, `id;class` on each line. Names of the first release begin with
`something-something-v2-`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import misfit, read_json_list, read_names
from vidssl_cli.data.walk import Walk

_PARTS = {"train": "train", "validation": "val", "test": "test"}
_PREFIXES = ("", "something-something-v2-")


def has_lists(folder: Path) -> bool:
    """Tell whether a folder holds the lists."""
    file = _named(folder, "train.json")
    try:
        with file.open("rb") as text:
            return b'"template"' in text.read(1000)
    except OSError:
        return False


def read_something(lists: Path, walk: Walk) -> list[Video]:
    """Return the videos that the lists name, whether they exist or not.

    Raises:
        DamagedFileError: A row is not what it should be.
    """
    answers = dict(_answers(_named(lists, "test-answers.csv")))
    found = walk.by_name()
    videos = []
    for name, split in _PARTS.items():
        file = _named(lists, f"{name}.json")
        if split != "train" and not file.is_file():
            continue
        for row in read_json_list(file):
            try:
                number = str(row["id"])
                label = row["template"] if split != "test" else answers.get(number)
                label = label and _class(label)
            except (KeyError, TypeError, AttributeError):
                raise DamagedFileError(
                    f"{file}: a row has an id and a template, not {row!r}", where=str(file)
                ) from None
            path = found.get(number, str(walk.folder / f"{number}.webm"))
            videos.append(Video(path, label, split))
    return videos


def _named(folder: Path, name: str) -> Path:
    """Return the file of a list, by its name in either release."""
    files = [folder / f"{prefix}{name}" for prefix in _PREFIXES]
    return next((file for file in files if file.is_file()), files[0])


def _answers(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the ids of test videos and their classes."""
    if not file.is_file():
        return
    for line, text in read_names(file):
        number, mark, label = text.partition(";")
        if not (mark and number.strip().isdecimal() and label.strip()):
            raise misfit(file, line, f"a row is `id;class`, not {text!r}", "correct the line")
        yield number.strip(), label.strip()


def _class(template: str) -> str:
    return template.replace("[", "").replace("]", "")
