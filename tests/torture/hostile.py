"""Crafted files and names: no code runs, each is refused at once, and names do nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import sqlite3
import struct
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from torture._watched import Ended, run
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.files import sealed_json
from vidssl_cli.files.sealed_folder import write_noted
from vidssl_cli.search import facts

SECONDS, MEGABYTES = 2, 512

CANARY = "canary"
"""File that code in a crafted file would make, in the folder of the case."""

NASTY = (
    "<script>alert(1)</script>",
    "\"' onload=x &amp; ${HOME}",
    "\x1b]0;owned\x07\x1b[31mred",
    "[bold red]x[/] [link=http://e.vil]y[/link] :warning:",
    "\u202egpj.4pm \u2066z\u2069 \x9b31m",
    "two\nerror: lines\r\x7f",
    "=HYPERLINK(1)",
    "not \udcff UTF-8",
    "| a \\ $x$ % # _ ~ ^ {y} `z` www",
)
"""Names that do something where they are not escaped."""

ACTIVE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What no line on a terminal and no page may hold; ends of lines are looked at apart."""


class _Runs:
    """Unpickles to a call that makes the canary."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (CANARY,)


class _Takes:
    """Unpickles to ten gigabytes."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[int]]:
        return bytearray, (10_000_000_000,)


@dataclass(frozen=True)
class Trick:
    """One crafted input."""

    name: str
    craft: Callable[[Path, Path], Sequence[str]]
    """Makes the input in a folder, from what all share; returns the command that meets it."""
    status: int
    """What the command must end with."""
    says: str
    """What it must say."""


TRICKS: list[Trick] = []


def trick(
    status: int, says: str
) -> Callable[[Callable[[Path, Path], Sequence[str]]], Callable[[Path, Path], Sequence[str]]]:
    """Make a trick of the function that crafts it; its name is the function's."""

    def add(craft: Callable[[Path, Path], Sequence[str]]) -> Callable[[Path, Path], Sequence[str]]:
        TRICKS.append(Trick(craft.__name__.strip("_"), craft, status, says))
        return craft

    return add


def _tricks(
    status: int, says: str, names: dict[str, Any], craft: Callable[[Path, Any], Sequence[str]]
) -> None:
    """Make several tricks that differ in a value."""
    for name, value in names.items():

        def one(shared: Path, folder: Path, value: Any = value) -> Sequence[str]:
            return craft(folder, value)

        TRICKS.append(Trick(name, one, status, says))


# Weights that others publish.


def _archive(content: object) -> bytes:
    import torch

    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


def _bomb() -> bytes:
    """Return an archive of tensors that unpacks to a thousand times its size."""
    import torch

    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_archive({"a": torch.zeros(1 << 24)}))) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as smaller,
    ):
        for member in archive.infolist():
            smaller.writestr(member.filename, archive.read(member))
    return packed.getvalue()


def _overlapping() -> bytes:
    """Return an archive in which a thousand names stand for the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", bytes(1 << 20))
        first = archive.infolist()[-1]
        for number in range(1, 1000):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(other, name, getattr(first, name))
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
    return made.getvalue()


def _safetensors(header: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", length or len(text)) + text


def _import(folder: Path, weights: tuple[str, Callable[[], bytes]]) -> Sequence[str]:
    name, content = weights
    (folder / name).write_bytes(content())
    return ["import", name, "--backbone", "r3d", "--out", "out"]


_HUGE = {"dtype": "F32", "shape": [1 << 34], "data_offsets": [0, 1 << 36]}
_tricks(
    4,
    "cannot be read as weights",
    {
        "a pickle that runs a command, as .pt": ("x.pt", lambda: _archive({"a": _Runs()})),
        "a bare pickle that runs a command, as .pth": ("x.pth", lambda: pickle.dumps(_Runs(), 2)),
        "a pickle as .safetensors": ("x.safetensors", lambda: pickle.dumps(_Runs())),
        "a pickle as .metadata of torch.distributed.checkpoint": (
            ".metadata",
            lambda: pickle.dumps(_Runs()),
        ),
        "an array of pickles as .pt": ("x.pt", lambda: _array(np.array([_Runs()], object))),
        "a line that never ends, as .pt": ("x.pt", lambda: b"P" + bytes(1 << 28)),
        "a state dict that asks for ten gigabytes": ("x.pt", lambda: _archive({"a": _Takes()})),
        "an archive that unpacks to much more, as .pt": ("x.pt", _bomb),
        "an archive with overlapping parts, as .pt": ("x.pt", _overlapping),
        "a safetensors header of 100 GB": (
            "x.safetensors",
            lambda: _safetensors({}, 100_000_000_000),
        ),
        "a tensor of 64 GB in a small file": (
            "x.safetensors",
            lambda: _safetensors({"a": _HUGE}),
        ),
    },
    _import,
)


def _array(value: np.ndarray[Any, Any]) -> bytes:
    made = io.BytesIO()
    np.save(made, value, allow_pickle=True)
    return made.getvalue()


# Models, indexes and runs: their digests are right, for whoever makes a file makes its digest too.


def _forged(folder: Path, changes: dict[str, bytes]) -> None:
    """Replace files of a published folder, with their digests."""
    from vidssl_cli.files.sealed_folder import publish

    files = {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    files |= {Path(name): content for name, content in changes.items()}

    def write(draft: Path) -> None:
        for name, content in files.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content)

    publish(folder, write)


def _model(shared: Path, folder: Path, changes: dict[str, bytes]) -> Sequence[str]:
    shutil.copytree(shared / "model", folder / "model")
    _forged(folder / "model", changes)
    return ["index", "model", "--data", str(shared / "videos"), "--out", "out"]


@trick(4, "is not what vidssl writes")
def weights_of_a_model_are_a_pickle(shared: Path, folder: Path) -> Sequence[str]:
    return _model(shared, folder, {"model.safetensors": pickle.dumps(_Runs())})


@trick(4, "model.json")
def a_card_is_a_pickle(shared: Path, folder: Path) -> Sequence[str]:
    return _model(shared, folder, {"model.json": pickle.dumps(_Runs())})


@trick(4, "much larger than its weights")
def a_card_asks_for_a_network_larger_than_memory(shared: Path, folder: Path) -> Sequence[str]:
    card = json.loads((shared / "model" / "model.json").read_bytes())
    card["backbone"]["width"] = 20_000
    return _model(shared, folder, {"model.json": json.dumps(card).encode()})


@trick(4, "model.json")
def a_card_names_code(shared: Path, folder: Path) -> Sequence[str]:
    card = json.loads((shared / "model" / "model.json").read_bytes())
    card["backbone"]["name"] = "os.system"
    return _model(shared, folder, {"model.json": json.dumps(card).encode()})


def _index(shared: Path, folder: Path, changes: dict[str, bytes]) -> Sequence[str]:
    """Replace files of an index, with all digests."""
    from vidssl_cli.files.sealed_folder import MANIFEST, sha256

    shutil.copytree(shared / "index", folder / "index")
    generation = next((folder / "index").glob("generation-*"))
    segment = next((folder / "index").glob("segment-*"))
    of_segment = {name: new for name, new in changes.items() if (segment / name).exists()}
    of_generation = {name: new for name, new in changes.items() if name not in of_segment}
    assert all((generation / name).exists() for name in of_generation)
    if of_segment:
        _forged(segment, of_segment)
        layout = json.loads((generation / "index.json").read_bytes())
        layout["segments"][0]["manifest"] = sha256(segment / MANIFEST)
        of_generation["index.json"] = json.dumps(layout).encode()
    _forged(generation, of_generation)
    pointer = {"generation": generation.name, "manifest": sha256(generation / MANIFEST)}
    _point(folder, pointer)
    return ["retrieve", "index", "#0", "--where", "path is not null"]


def _point(folder: Path, pointer: dict[str, str]) -> None:
    (folder / "index" / "CURRENT").write_bytes(sealed_json.render(pointer))


def _claiming(shape: tuple[int, ...]) -> bytes:
    """Return an array that says that it has a shape."""
    made = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(made, header)
    return made.getvalue()


def _bottomless() -> bytes:
    """Return an array whose header is Python that is nested too deeply."""
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", 200_000) + b"(" * 200_000


def _database(*commands: str) -> bytes:
    """Return an SQLite file that commands fill."""
    with closing(sqlite3.connect(":memory:")) as database:
        for command in commands:
            database.execute(command)
        database.commit()
        return database.serialize()


def _index_tricks() -> None:
    changes = {
        "an index whose array holds pickles": {"ends.npy": _array(np.array([_Runs()], object))},
        "an index whose array claims 4 TB": {"spans.npy": _claiming((1 << 39, 2))},
        "an index whose mapped array claims 4 TB": {"clip.npy": _claiming((1 << 39, 2))},
        "an index whose arrays are of another index": {"ends.npy": _array(np.arange(9))},
        "an index whose settings are a pickle": {"index.json": pickle.dumps(_Runs())},
        "an index of features that are no numbers": {
            "statistics.npy": _array(np.full((2, 3, 32), np.nan))
        },
        "an index of lengths that are no numbers": {
            "video.lengths.npy": _array(np.full(1, np.nan, np.float32))
        },
        "an index whose removed videos are not there": {"removed.npy": _array(np.array([7]))},
        "an index of which all is removed": {"removed.npy": _array(np.array([0]))},
        "an index whose changed rows have no number": {
            "changed.jsonl": b'{"path": "/elsewhere.mp4"}\n'
        },
        "an index whose segment is elsewhere": {
            "index.json": b'{"version": 2, "segments": [{"name": "../../segment-1", "manifest": "'
            + b"0" * 64
            + b'"}]}'
        },
        "an index whose rows begin elsewhere": {"lines.npy": _array(np.array([-5, 1 << 60]))},
        "an index of clips that are no numbers": {
            "clip.npy": _array(np.full((2, 32), np.nan, np.float32))
        },
        "an index of moments at infinity": {"spans.npy": _array(np.full((2, 2), np.inf, "f4"))},
        "an index whose array has a bottomless header": {"ends.npy": _bottomless()},
        "an index whose facts are no database": {"facts.sqlite": b"SQLite format 3\0" + bytes(99)},
        "an index whose facts are endless": {
            "facts.sqlite": _database(
                "CREATE VIEW videos AS WITH RECURSIVE n(_number) AS (SELECT 0 UNION ALL SELECT "
                "_number + 1 FROM n) SELECT *, 'x' AS path FROM n"
            )
        },
        "an index whose facts are of other videos": {
            "facts.sqlite": _database(
                facts._SCHEMA, "INSERT INTO videos (_number, path) VALUES (1 << 60, 'x')"
            )
        },
        "an index whose gallery leads elsewhere": {
            "gallery.jsonl": b'{"path": "../../../../../etc/passwd"}\n'
        },
    }
    for name, files in changes.items():

        def craft(shared: Path, folder: Path, files: dict[str, bytes] = files) -> Sequence[str]:
            return _index(shared, folder, files)

        TRICKS.append(Trick(name, craft, 4, "index/"))


_index_tricks()


@trick(4, "CURRENT")
def an_index_that_points_out_of_its_folder(shared: Path, folder: Path) -> Sequence[str]:
    shutil.copytree(shared / "index", folder / "index")
    _point(folder, {"generation": "..", "manifest": "0" * 64})
    return ["retrieve", "index", "#0"]


@trick(4, "outside of the folder")
def a_manifest_of_a_model_names_files_elsewhere(shared: Path, folder: Path) -> Sequence[str]:
    shutil.copytree(shared / "model", folder / "model")
    path = folder / "model" / "manifest.json"
    files = sealed_json.read(path, "")["files"]
    files["../model.json"] = files["model.json"]
    path.write_bytes(sealed_json.render({"files": files}))
    return ["index", "model", "--data", str(shared / "videos"), "--out", "out"]


def _fill(path: Path, text: str | None) -> None:
    """Write a text; None stands for one that is larger than any memory."""
    with path.open("w", encoding="utf-8", errors="surrogateescape") as file:
        if text is None:
            file.truncate(1 << 38)
        else:
            file.write(text)


def _sealed(body: bytes) -> bytes:
    """Return a document with the digest that it should end in, whatever it is."""
    return body + f',\n  "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def _facts(folder: Path, text: str | None) -> Sequence[str]:
    (folder / "run").mkdir()
    path = folder / "run" / "run.json"
    _fill(path, text)
    if text is not None:
        path.write_bytes(_sealed(path.read_bytes()))
    _fill(folder / "run" / "recipe.yaml", "train: {epochs: 1}\n")
    return ["report", "run"]


_tricks(
    4,
    "run.json",
    {
        "run.json is a pickle": pickle.dumps(_Runs(), 0).decode("latin-1"),
        "run.json is nested 100,000 deep": '{"state":' + "[" * 100_000,
        "run.json holds a key twice": '{"state": "finished", "state": "failed"',
        "run.json holds the last of 100,000 keys twice": "{"
        + "".join(f'"k{n}": 1, ' for n in range(100_000))
        + '"k99999": 2',
        "run.json holds a number of 100,000 digits": '{"state": "x", "seed": ' + "9" * 100_000,
        "run.json of 256 GB": None,
        "run.json has a list for a state": '{"state": [1]',
    },
    _facts,
)


# Recipes.


def _recipe(folder: Path, text: str | None) -> Sequence[str]:
    _fill(folder / "recipe.yaml", text)
    return ["recipes", "check", "recipe.yaml"]


_LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_tricks(
    2,
    "recipe.yaml:",
    {
        "a recipe with a tag that calls": f"train: !!python/object/apply:os.mkdir [{CANARY}]\n",
        "a recipe with a tag that makes an object": "seed: !!python/object:os.stat {a: 1}\n",
        "a recipe with a tag that names": "seed: !!python/name:os.system\n",
        "a recipe whose aliases explode": _LAUGHS,
        "a recipe that holds itself": "train: &a [*a]\n",
        "a recipe with merge keys": "a: &a {b: 1}\ntrain:\n  <<: *a\n",
        "a recipe nested 50,000 deep": "train: " + "[" * 50_000,
        "a recipe of 256 GB": None,
        "a recipe with a number of 90,000 digits": "train: {seed: " + "9" * 90_000 + "}\n",
        "a recipe with a word of 90,000 letters": "sampler: {name: " + "x" * 90_000 + "}\n",
        "a recipe with 15,000 unknown keys": "".join(f"k{n}:\n" for n in range(15_000)),
        "a recipe with keys that stand twice": "seed: 1\nseed: 2\n",
        "a recipe with a truth that is neither": "seed: !!bool maybe\n",
        "a recipe with a number of no digits": 'seed: !!int ""\n',
        "a recipe with a rate that has no end": "train: {optimizer: {lr: .inf}}\n",
        "a recipe that names a module": "sampler: {name: os.system}\n",
        "a recipe that names a file": "backbone: {name: ../../evil.py}\n",
        "a recipe with orders to terminals": '"\\x1b[31m\\n\\u202e": 1\n',
        "a recipe in UTF-16": "\udcff\udcfet\0a\0s\0k\0:\0 \0x\0",
        "a recipe that is a pickle": pickle.dumps(_Runs(), 0).decode("latin-1"),
    },
    _recipe,
)


# DATA.


def _scan(folder: Path, data: str) -> Sequence[str]:
    return ["data", "scan", data, "--out", "out.jsonl"]


def _manifest(folder: Path, text: str | None) -> Sequence[str]:
    _fill(folder / "m.jsonl", text)
    return _scan(folder, "m.jsonl")


_tricks(
    4,
    "m.jsonl:",
    {
        "a manifest that lasts for ever": '{"path": "a", "fps": 1e-300}\n',
        "a manifest with 100,000 unknown keys": '{"path": "a"'
        + "".join(f', "k{n}": 1' for n in range(100_000))
        + "}\n",
        "a manifest that climbs": '{"path": "../../../../etc/passwd"}\n',
        "a manifest with a URL": '{"path": "https://127.0.0.1/x.mp4"}\n',
        "a manifest with a playlist's protocol": '{"path": "concat:a|b://c"}\n',
        "a manifest with a NUL": '{"path": "a\\u0000.mp4"}\n',
        "a manifest nested 100,000 deep": '{"path": ' + "[" * 100_000 + "\n",
        "a manifest with a number of 100,000 digits": '{"path": "a", "frames": '
        + "9" * 100_000
        + "}\n",
        "a manifest with a number that no array counts": '{"path": "a", "frames": '
        + "9" * 100
        + "}\n",
        "a manifest with a key twice": '{"path": "a.mp4", "path": "b.mp4"}\n',
        "a manifest with a line of 256 GB": None,
        "a manifest with 200,000 bad rows": "{}\n" * 200_000,
        "a manifest with a label of 3 MB": '{"path": "a", "split": "' + "x" * 3_000_000 + '"}\n',
        "a manifest that is a pickle": pickle.dumps(_Runs(), 0).decode("latin-1"),
        "a manifest with orders to terminals": '{"path": "a", "\\u001b[31m\\n": 1}\n',
        "a manifest whose pictures lie elsewhere": json.dumps(
            {
                "path": "a.mp4",
                "packed": {
                    "path": "../../etc/passwd",
                    "offset": 0,
                    "bytes": 1,
                    "sha256": "0" * 64,
                    "format": "raw",
                    "height": 1,
                    "width": 1,
                    "source_bytes": 1,
                    "source_mtime_ns": 0,
                    "source_sha256": "0" * 64,
                },
            }
        ),
    },
    _manifest,
)


@trick(4, "m.jsonl.sha256")
def a_manifest_whose_note_is_a_pipe(shared: Path, folder: Path) -> Sequence[str]:
    os.mkfifo(folder / "m.jsonl.sha256")
    return _manifest(folder, '{"path": "a.mp4"}\n')


@trick(4, "m.jsonl.sha256 says")
def a_manifest_whose_note_has_256_gb(shared: Path, folder: Path) -> Sequence[str]:
    _fill(folder / "m.jsonl.sha256", None)
    return _manifest(folder, '{"path": "a.mp4"}\n')


@trick(4, "--data-root")
def a_manifest_with_a_link_out_of_its_folder(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "set").mkdir()
    (folder / "set" / "a.mp4").symlink_to(shared / "videos" / "a.mp4")
    (folder / "set" / "m.jsonl").write_text('{"path": "a.mp4"}\n')
    return _scan(folder, "set/m.jsonl")


@trick(4, "--data-root")
def a_manifest_that_leaves_the_root(shared: Path, folder: Path) -> Sequence[str]:
    row = {"path": str(shared / "videos" / "a.mp4")}
    return [*_manifest(folder, json.dumps(row) + "\n"), "--data-root", "."]


@trick(4, "--data-root")
def a_folder_with_a_link_out_of_the_root(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "set").mkdir()
    (folder / "set" / "a.mp4").symlink_to(shared / "videos" / "a.mp4")
    return [*_scan(folder, "set"), "--data-root", "set"]


@trick(4, "contains all of DATA")
def a_folder_with_a_link_to_everything(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "set").mkdir()
    (folder / "set" / "all").symlink_to("/")
    return _scan(folder, "set")


def _packed(shared: Path, folder: Path, name: str, link: bool) -> Sequence[str]:
    """Have a packed set's row point to a file outside of it."""
    shutil.copytree(shared / "set", folder / "set")
    part = next((folder / "set").glob("part-*.bin"))
    shutil.copy(part, folder / "part.bin")
    if link:
        part.unlink()
        part.symlink_to(folder / "part.bin")
    table = folder / "set" / "videos.jsonl"
    table.write_text(table.read_text().replace(f'"{part.name}"', f'"{name or part.name}"'))
    about = folder / "set" / "pack.json"
    document = sealed_json.read(about, "")
    write_noted(table, table.read_bytes())
    document["videos"] = hashlib.sha256(table.read_bytes()).hexdigest()
    if name:
        document["parts"] = {}
    about.write_bytes(sealed_json.render(document))
    return ["data", "check", "small/pace", "--data", "set"]


@trick(4, "set")
def a_packed_set_whose_pictures_climb(shared: Path, folder: Path) -> Sequence[str]:
    return _packed(shared, folder, "../part.bin", False)


@trick(4, "set")
def a_packed_set_whose_pictures_are_elsewhere(shared: Path, folder: Path) -> Sequence[str]:
    return _packed(shared, folder, str(folder / "part.bin"), False)


@trick(4, "set")
def a_packed_set_whose_pictures_are_a_link(shared: Path, folder: Path) -> Sequence[str]:
    return _packed(shared, folder, "", True)


def _list(folder: Path, list_: tuple[str, str | None]) -> Sequence[str]:
    (folder / "set").mkdir()
    (folder / "outside.mp4").touch()
    name, text = list_
    _fill(folder / "set" / name, text)
    return _scan(folder, f"set/{name}")


_tricks(
    4,
    "",
    {
        "a list that climbs": ("l.txt", "../outside.mp4 0\n"),
        "a list with a URL": ("l.txt", "http://127.0.0.1/a.mp4 0\n"),
        "a list with a NUL": ("l.txt", "a\0b.mp4 0\n"),
        "a list with a line of 256 GB": ("l.txt", None),
        "a table that climbs": ("t.csv", "path,label\n../outside.mp4,x\n"),
        "a table with a cell of 1 MB": ("t.csv", f'path,label\na.mp4,"{"x" * 1_000_000}"\n'),
        "a table with a quote that never ends": ("t.csv", 'path,label\na.mp4,"' + "x\n" * 200_000),
    },
    _list,
)


def _annotated(folder: Path, text: str) -> Sequence[str]:
    (folder / "Diving48_train.json").write_text(text)
    (folder / "Diving48_test.json").write_text("[]")
    (folder / "Diving48_vocab.json").write_text("[1, 2]" if text == "[]" else "[]")
    return _scan(folder, ".")


_tricks(
    4,
    "Diving48_",
    {
        "annotations with a class at infinity": '[{"vid_name": "x", "label": 1e400}]',
        "annotations whose classes are no words": "[]",
    },
    _annotated,
)


@trick(4, "wave_test_split1.txt")
def an_official_list_with_half_a_row(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "wave_test_split1.txt").write_text("half\n")
    return [*_scan(folder, "."), "--lists", "."]


@trick(4, "Diving48_train.json")
def annotations_nested_100_000_deep(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "Diving48_train.json").write_text("[" * 100_000)
    return _scan(folder, ".")


@trick(2, "can be read")
def a_pipe_called_a_video(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "set").mkdir()
    os.mkfifo(folder / "set" / "a.mp4")
    return _scan(folder, "set")


@trick(2, "can be read")
def a_playlist_called_a_video(shared: Path, folder: Path) -> Sequence[str]:
    (folder / "set").mkdir()
    (folder / "set" / "a.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    return _scan(folder, "set")


@trick(2, "can be read")
def pictures_of_16000_by_16000(shared: Path, folder: Path) -> Sequence[str]:
    import av

    (folder / "set").mkdir()
    path = folder / "set" / "a.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8))
        container.mux([*stream.encode(picture), *stream.encode(None)])
    content = path.read_bytes()
    for kind in (">HH", "<ii"):  # in the picture, and in the table of the streams
        sides = (32, 48) if kind == ">HH" else (48, 32)
        content = content.replace(struct.pack(kind, *sides), struct.pack(kind, 16_000, 16_000))
    path.write_bytes(content)
    return _scan(folder, "set")


@trick(2, "frames")
def a_million_frames(shared: Path, folder: Path) -> Sequence[str]:
    """Say in the tables of an mp4 that 1.2 million frames of a few bytes follow."""
    (folder / "set").mkdir()
    content = bytearray((shared / "videos" / "a.mp4").read_bytes())
    for box, count, skipped in ((b"stsz", 1_200_000, 8), (b"stts", 1_200_000, 8)):
        place = content.index(box)
        content[place + 4 + skipped : place + 8 + skipped] = struct.pack(">I", count)
        if box == b"stsz":
            content[place + 8 : place + 12] = struct.pack(">I", 1)  # every one of a byte
    (folder / "set" / "a.mp4").write_bytes(content)
    return _scan(folder, "set")


# Names.


_FILE_LINK = re.compile(r"file:///[\w%/.~,;=+!$&'()*@:-]*(#t=[\d.,]+)?", re.ASCII)
"""A link to a file, of which all that could act is percent-encoded."""


class _Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.acting: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on")]
        links = [value or "" for name, value in attrs if name in ("href", "src", "srcset")]
        self.acting += [link for link in links if not link.startswith(("data:image/", "#"))]
        if tag == "a":  # a video's name leads to its file, which a browser opens as a video
            self.acting = [link for link in self.acting if not _FILE_LINK.fullmatch(link)]


def inert(text: str, what: str) -> None:
    """Check that a page does nothing but what vidssl's pages do.

    Raises:
        Broken: There is a script, a handler, a link elsewhere, or a character that acts.
    """
    page = _Page(text)
    if bad := page.tags & {"script", "iframe", "object", "embed", "form", "base", "link"}:
        raise Broken(f"{what} has the elements {bad}")
    if page.acting:
        raise Broken(f"{what} has the attributes {page.acting}")
    if found := ACTIVE.search(text):
        raise Broken(f"{what} holds {found[0]!r}")


def still(said: str, what: str) -> None:
    """Check what a command said.

    Raises:
        Broken: It holds something that acts on a terminal, or a line that a name began.
    """
    if found := ACTIVE.search(said):
        raise Broken(f"{what} holds {found[0]!r}: {said[:2000]!r}")
    if any(line.startswith("error: lines") for line in said.splitlines()):
        raise Broken(f"a name began a line of {what}: {said[:2000]!r}")


def _nasty_videos(shared: Path, folder: Path) -> Path:
    """Write a manifest of copies of a video under all names, in classes of all names."""
    from vidssl_cli.data.manifest import read_manifest, write_manifest

    (video, *_) = read_manifest(shared / "facts.jsonl")
    videos = []
    for number, name in enumerate(NASTY):
        path = folder / "data" / (name.replace("/", "\N{FRACTION SLASH}") + ".mp4")
        path.parent.mkdir(exist_ok=True)
        shutil.copy(video.path, path)
        split = "train" if number < 6 else "test"
        videos.append(replace(video, path=str(path), label=name, split=split))
    broken = folder / "data" / "broken\x1b[31m\nerror: lines <b>.mp4"
    broken.write_bytes(b"no video")
    manifest = folder / "data" / "m.jsonl"
    write_manifest(manifest, [*videos, replace(videos[0], path=str(broken), frames=None)])
    return manifest


def _told(arguments: Sequence[str], folder: Path, status: int = 0) -> Ended:
    """Run a command and check what it says, once for people and once, with --json, for others."""
    ended = run(arguments, folder, limit=600)
    if ended.status != status:
        raise Broken(f"{arguments}: status {ended.status}: {ended.err[-2000:]}")
    still(ended.out, "stdout")
    still(ended.err, "stderr")
    return ended


def _pages(folder: Path, *suffixes: str) -> None:
    for path in folder.iterdir():
        if path.suffix in suffixes:
            inert(path.read_text(), path.name)


def _index_names(case: Case) -> None:
    data, folder = str(_nasty_videos(case.shared, case.folder)), case.folder
    model = str(case.shared / "model")
    _told(["index", model, "--data", data, "--out", "index"], folder)
    _told(["index", model, "--data", data, "--out", "index", "--json"], folder)
    _told(["retrieve", "index", "#0", "#2", "#4", "--gallery", "gallery.html"], folder)
    out = _told(["retrieve", "index", "#0", "#2", "#4", "--json"], folder).out
    labels = {hit["label"] for query in json.loads(out)["queries"] for hit in query["hits"]}
    if not labels <= set(NASTY) or len(labels) < len(NASTY) - 1:
        raise Broken(f"JSON has other names: {labels}")
    _told(["retrieve", "index", "#99\x1b[31m", "no\nerror: lines"], folder, 1)
    _told(["map", "index", "--out", "map.html"], folder)
    _pages(folder, ".html")


def _drawn_names(case: Case) -> None:
    manifest, folder = _nasty_videos(case.shared, case.folder), case.folder
    data, recipe = str(manifest), str(case.shared / "toy.yaml")
    _told(["data", "preview", recipe, "--data", data, "--out", "preview.html"], folder)
    _told(["visualize", str(case.shared / "model"), data, "--out", "eyes"], folder)
    _told(["data", "check", recipe, "--data", data], folder)
    _told(["data", "check", recipe, "--data", data, "--json"], folder)
    _told(["data", "scan", str(manifest.parent), "--out", "out.jsonl"], folder)
    _told(["data", "scan", str(manifest.parent), "--out", "out.jsonl", "--json"], folder)
    still((folder / "out.jsonl").read_text(), "the manifest")
    _pages(folder, ".html")
    _pages(folder / "eyes", ".html")


def _report_names(case: Case) -> None:
    """Have runs, recipes, classes, metrics and figures of all names side by side."""
    folder = case.folder
    for number, name in enumerate(NASTY):
        place = folder / "runs" / name.replace("/", "\N{FRACTION SLASH}")
        place.mkdir(parents=True)
        _write_run(place, name, number)
    for form in ("--markdown", "--latex", "--csv", "--json"):
        out = _told(["report", "runs", form], folder).out
        if form == "--json":
            json.loads(out)
        if form == "--csv":
            cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
            if acting := [cell for cell in cells if cell.startswith(("=", "+", "@"))]:
                raise Broken(f"a spreadsheet takes these for formulas: {acting}")
        if form == "--markdown" and (found := re.search(r"(?<!\\)[<>$`]", out)):
            raise Broken(f"Markdown has {found[0]!r} that is not escaped")
    _told(["report", "runs"], folder)
    _told(["report", "runs", "--out", "report.html"], folder)
    _told(["runs", "runs"], folder)
    json.loads(_told(["runs", "runs", "--json"], folder).out)
    _pages(folder, ".html")


def _write_run(place: Path, name: str, number: int) -> None:
    name = name.encode(errors="replace").decode()
    recipe = {"summary": name, "train": {"epochs": 1, "seed": number}, "task": "pretrain"}
    (place / "recipe.yaml").write_text(json.dumps(recipe))
    digest = hashlib.sha256((place / "recipe.yaml").read_bytes()).hexdigest()
    facts = {
        "task": "pretrain",
        "files": {"recipe.yaml": digest},
        "seed": name,
        "state": "finished",
        "reason": name,
    }
    facts |= {"argv": ["vidssl", "pretrain", name], "versions": {name: name}, "git": name}
    (place / "run.json").write_bytes(sealed_json.render(facts))
    (place / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0, name: 0.5}) + "\n")
    (place / "bad_media.jsonl").write_text(json.dumps({"path": name, "reason": name}) + "\n")
    report = {
        "evaluator": name, "options": {"name": name}, "chances": {name: 0.1},
        "rows": [{"weights": "run", name: 0.5}, {"weights": name, name: 0.2}],
        "facts": {name: name}, "argv": ["vidssl", "evaluate", name, "--data", name],
        "tables": [{"title": name, "columns": [name, "x"], "rows": [[name, 1]]}],
        "figures": [
            {"kind": "confusion", "title": name, "classes": [name, "b"],
             "counts": [[1, 2], [3, 4]]},
            {"kind": "curves", "title": name, "x": name, "y": name,
             "lines": {name: [[0, 1], [1, 2]], "run": [[0, 1], [1, 1]]}},
            {"kind": "neighbours", "title": name, "queries": [[f"/no/{name}", name]],
             "hits": [[[f"/no/{name}", name, 0.5]]]},
        ],
        "published": [{"source": name, "name": name, "figures": {name: 0.9}, "differs": [name]}],
    }  # fmt: skip
    (place / "evaluations" / "x").mkdir(parents=True)
    (place / "evaluations" / "x" / "report.json").write_bytes(sealed_json.render(report))


def _chart_names(case: Case) -> None:
    """Draw charts of all names: each must be well-formed and do nothing."""
    from vidssl_cli.contract.reports import Confusion, Curves
    from vidssl_cli.pages.charts import draw_all

    for name in NASTY:
        lines = {name: [(0.0, 1.0), (1.0, 2.0)], "other": [(0.0, 2.0), (1.0, 1.0)]}
        figures = [
            Curves(title=name, x=name, y=name, lines=lines),
            Confusion(title=name, classes=[name, "b"], counts=[[1, 2], [3, 4]]),
        ]
        folder = case.folder / hashlib.sha256(name.encode(errors="replace")).hexdigest()
        folder.mkdir()
        for path in draw_all(folder, figures):
            inert(path.read_text(), f"the chart of {name!r}")
            ElementTree.fromstring(path.read_bytes())


def _trained_names(case: Case) -> None:
    """Train on videos of all names: nothing that a run keeps or says may act."""
    data, folder = str(_nasty_videos(case.shared, case.folder)), case.folder
    recipe = str(case.shared / "toy.yaml")
    _told(["pretrain", recipe, "--data", data, "--out", "run", "--device", "cpu"], folder)
    for path in (folder / "run").glob("*.json*"):
        still(path.read_text(), path.name)
    _told(["evaluate", "run", "--data", data, "--evaluator", "retrieval"], folder)
    for path in (folder / "run" / "evaluations").rglob("*.svg"):
        ElementTree.fromstring(path.read_bytes())
    _told(["report", "run", "--out", "report.html"], folder)
    _pages(folder, ".html")


NAMES = (_index_names, _drawn_names, _report_names, _chart_names, _trained_names)


def _run(case: Case) -> Facts:
    if case.number >= len(TRICKS):
        NAMES[case.number - len(TRICKS)](case)
        return {"case": NAMES[case.number - len(TRICKS)].__name__.strip("_")}
    chosen = TRICKS[case.number]
    arguments = chosen.craft(case.shared, case.folder)
    ended = run([*arguments, "--json"], case.folder)
    _judge(chosen, ended)
    if (case.folder / CANARY).exists():
        raise Broken(f"{chosen.name}: code ran")
    taken = {"seconds": ended.seconds, "megabytes": ended.megabytes}
    return {"case": chosen.name.replace("_", " "), **taken}


def _judge(chosen: Trick, ended: Ended) -> None:
    said = f"{chosen.name}: status {ended.status}, {ended.err[-2000:]!r}"
    if ended.status != chosen.status:
        raise Broken(said)
    still(ended.out, "stdout")
    still(ended.err, "stderr")
    if re.search("SHA-256 (of its content )?is", ended.err) and "sha256" not in chosen.says:
        raise Broken(f"{said}: for its digest alone, which whoever made it would have made")
    failure = json.loads(ended.out)["error"]
    if failure["code"] == "unexpected" or chosen.says not in ended.err:
        raise Broken(said)
    lines = ended.err.splitlines()
    if len(lines) > 55 or max(map(len, lines)) > 1100:
        raise Broken(f"{chosen.name}: {len(lines)} lines of up to {max(map(len, lines))} letters")
    if ended.seconds > SECONDS or ended.megabytes > MEGABYTES:
        raise Broken(f"{chosen.name}: {ended.seconds} s, {ended.megabytes} MB")


TOY = {
    "input": {"resize": [24, 32], "crop": 16, "mode": "residual"},
    "backbone": {"name": "r3d", "depth": 10, "width": 4},
    "sampler": {"name": "pace", "views": 2, "frames": 8, "paces": [1, 2]},
    "pretext": [{"name": "pace"}],
    "evaluation": {"clips": 2},
    "train": {
        "epochs": 1,
        "batch_videos": 4,
        "precision": "fp32",
        "optimizer": {"name": "sgd", "lr": 0.1},
    },
}


def _prepare(shared: Path) -> None:
    """Make a video, a model with random weights, an index, and a packed set."""
    import torch

    from torture._media import write_noise
    from vidssl_cli.config.sections import Evaluation, Input
    from vidssl_cli.model.card import Card
    from vidssl_cli.model.encoder import Encoder
    from vidssl_plugins.backbones.hooks import R3D

    (shared / "videos").mkdir()
    write_noise(shared / "videos" / "a.mp4", 0)
    (shared / "toy.yaml").write_text(json.dumps(TOY))
    backbone = R3D(name="r3d", depth=10, width=4)
    size = Input(resize=(24, 32), crop=16, mode="residual")
    card = Card(backbone=backbone, input=size, frames=8, evaluation=Evaluation(clips=2), seed=0)
    Encoder(card, backbone.build(), torch.device("cpu")).export(shared / "model")
    for arguments in (
        ["data", "scan", "videos", "--out", "facts.jsonl"],
        ["data", "pack", "videos", "--out", "set", "--size", "24x32"],
        ["index", "model", "--data", "videos", "--out", "index"],
    ):
        if (ended := run(arguments, shared)).status:
            raise RuntimeError(ended.err)


def _summary(facts: Sequence[Facts]) -> str:
    refused = [fact for fact in facts if "seconds" in fact]
    seconds = max((fact["seconds"] for fact in refused), default=0)
    megabytes = max((fact["megabytes"] for fact in refused), default=0)
    return (
        f"{len(refused)} crafted inputs were refused, each within {seconds:.1f} s and "
        f"{megabytes:.0f} MB; {len(facts) - len(refused)} sets of names were shown as they are."
    )


_QUICK = {
    "a pickle that runs a command, as .pt",
    "an index whose array holds pickles",
    "run.json is nested 100,000 deep",
    "a recipe whose aliases explode",
    "a manifest that climbs",
    "a_folder_with_a_link_to_everything",
}

SUITE = Suite(
    "crafted files run no code and are refused within 2 s and 512 MB; names do nothing",
    cases=len(TRICKS) + len(NAMES),
    share=(
        *(number for number, each in enumerate(TRICKS) if each.name in _QUICK),
        len(TRICKS) + NAMES.index(_report_names),
        len(TRICKS) + NAMES.index(_chart_names),
    ),
    run=_run,
    prepare=_prepare,
    summary=_summary,
    limit=900,
)
