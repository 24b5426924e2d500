"""Copies of videos are found with the seconds that they share; other takes of a scene are not."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.search import duplicates as module
from vidssl_cli.search.build import build_index
from vidssl_cli.search.duplicates import decide, find_duplicates
from vidssl_cli.search.store import open_index

FPS = 25


def footage(scene, take, frames, size=(96, 128)):
    """A background with two discs on paths of their own."""
    height, width = size
    background = np.random.default_rng(scene).uniform(40, 160, (6, 8, 3))
    background = background.repeat(height // 6, 0).repeat(width // 8, 1)
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    speed, phase = np.random.default_rng(take).uniform([[0.5] * 4, [0] * 4], [[1.5] * 4, [6] * 4])
    pictures = []
    for second in np.arange(frames) / FPS:
        a, b, c, d = 0.5 + 0.35 * np.sin(phase + 2 * speed * second)
        picture = background.copy()
        picture[(x - a) ** 2 + (y - b) ** 2 < 0.03] = 250
        picture[(x - c) ** 2 + (y - d) ** 2 < 0.02] = 5
        pictures.append(picture)
    return np.stack(pictures).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths by name."""
    folder = tmp_path_factory.mktemp("copies")
    whole, intro = footage(1, 1, 150), footage(9, 9, 50)
    contents = {
        "whole": (whole, 20),
        "trimmed": (whole[50:125], 34),
        "small": (whole[:, ::2, ::2], 26),
        "mirrored": (whole[:, :, ::-1], 26),
        "take": (footage(1, 2, 150), 20),
        "intro-a": (np.concatenate([intro, footage(2, 3, 100)]), 26),
        "intro-b": (np.concatenate([intro, footage(3, 4, 100)]), 26),
        "other": (footage(5, 6, 100), 26),
    }
    for name, (frames, crf) in contents.items():
        write_mp4(folder / f"{name}.mp4", frames, FPS, crf=crf)
    shutil.copyfile(folder / "whole.mp4", folder / "same.mp4")
    return {path.stem: path for path in sorted(folder.glob("*.mp4"))}


@pytest.fixture(scope="module")
def built(files, toy_encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("indexes") / "index"
    build_index(toy_encoder(), [probe(str(path)) for path in files.values()], out, every=0.5)
    return out


@pytest.fixture
def folder(built, tmp_path):
    """A fresh index of all files."""
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


def find(folder, **options):
    return find_duplicates(open_index(folder), **{"similarity": 0.3, **options})


def names(folder, found):
    """Groups as the name that is kept and those of the copies."""
    videos = open_index(folder).gallery.videos

    def name(item):
        return Path(videos[item].path).stem

    groups = {name(g.keep): {name(each.second): each for each in g.copies} for g in found.groups}
    shared = {frozenset([name(each.first), name(each.second)]): each for each in found.shared}
    return groups, shared


def test_copies_are_grouped_and_another_take_is_none(folder):
    groups, shared = names(folder, find(folder))
    ((kept, copies),) = groups.items()
    assert {kept, *copies} == {"whole", "same", "trimmed", "small", "mirrored"}
    assert kept in {"whole", "same"}
    assert copies["mirrored"].mirrored
    assert not copies["small"].mirrored
    assert {each.by for name, each in copies.items() if name in {"whole", "same"}} == {"content"}
    assert set(shared) == {frozenset(["intro-a", "intro-b"])}


def test_parts_are_right_to_half_a_second(folder):
    groups, shared = names(folder, find(folder))
    (copies,) = groups.values()
    (part,) = copies["trimmed"].parts
    assert np.abs(np.subtract(part.first, (2, 5))).max() < 0.25
    assert np.abs(np.subtract(part.second, (0, 3))).max() < 0.25
    assert copies["trimmed"].shares[1] > 0.95
    (part,) = shared[frozenset(["intro-a", "intro-b"])].parts
    assert np.abs(np.subtract([part.first, part.second], (0, 2))).max() < 0.25


def test_intros_and_outros_are_ignored_on_request(folder):
    assert not find(folder, intros=2).shared
    assert find(folder, intros=1).shared
    assert find(folder, outros=2).shared
    assert len(find(folder, intros=2, outros=2).groups) == 1


def test_the_next_run_reads_no_frames(folder, monkeypatch):
    first = find(folder)
    monkeypatch.setattr(module, "read_frames", None)
    second = find(folder)
    assert second.groups == first.groups
    assert second.compared == first.compared


def test_one_video_is_no_pair(folder, files, tmp_path, capfd):
    path = str(files["intro-a"])
    item = open_index(folder).gallery.item(path)
    assert run(app, ["duplicates", str(folder), "--not", path, f"#{item}"]) == 2
    assert "are one video" in capfd.readouterr().err
    page, other = str(tmp_path / "page.html"), str(files["intro-b"])
    assert run(app, ["duplicates", str(folder), "--not", path, other, "--out", page]) == 2
    assert "write no page" in capfd.readouterr().err
    assert find(folder).shared


def test_frames_are_read_again_after_damage(folder):
    first = find(folder)
    journal = folder / ".duplicates" / "compared"
    journal.write_bytes(journal.read_bytes()[:-40])
    assert find(folder).groups == first.groups


def test_no_duplicate_is_remembered_by_content(folder, files, toy_encoder, tmp_path):
    assert decide(open_index(folder), str(files["intro-a"]), str(files["intro-b"]),
                  duplicates=False) == 1  # fmt: skip
    assert not find(folder).shared
    moved = tmp_path / "moved.mp4"
    shutil.copy2(files["intro-a"], moved)
    os.utime(moved, ns=(1, 1))
    build_index(toy_encoder(), [probe(str(moved))], folder, every=0.5)
    _, shared = names(folder, find(folder))
    assert frozenset(["moved", "intro-b"]) not in shared
    index = open_index(folder)
    item = index.gallery.item(str(files["intro-b"]))
    assert decide(index, f"#{item}", str(files["intro-a"]), duplicates=True) == 0
    assert find(folder).shared


def test_two_that_are_no_duplicates_are_in_no_group(folder, files):
    index = open_index(folder)
    decide(index, str(files["small"]), str(files["mirrored"]), duplicates=False)
    groups, _ = names(folder, find(folder))
    for kept, copies in groups.items():
        assert not {"small", "mirrored"} <= {kept, *copies}


def test_decisions_survive_overwriting_the_index(folder, files, toy_encoder):
    decide(open_index(folder), str(files["intro-a"]), str(files["intro-b"]), duplicates=False)
    videos = [probe(str(files[name])) for name in ("intro-b", "intro-a")]
    build_index(toy_encoder(1), videos, folder, every=0.5, overwrite=True)
    assert not find(folder).shared


def test_damaged_decisions_are_refused(folder, files):
    decide(open_index(folder), str(files["intro-a"]), str(files["intro-b"]), duplicates=False)
    path = folder / ".duplicates" / "decisions.json"
    path.write_text(path.read_text().replace("not", "nut"))
    with pytest.raises(DamagedFileError, match=r"decisions\.json|SHA-256"):
        find(folder)


@pytest.mark.parametrize("text", ["#99", "#-1", "nowhere.mp4", "#" + "9" * 5000])
def test_unknown_videos_are_refused(folder, text):
    with pytest.raises(UsageError, match="has no video"):
        decide(open_index(folder), "#0", text, duplicates=False)


def test_what_was_not_said_cannot_be_taken_back(folder):
    with pytest.raises(UsageError, match="no duplicates"):
        decide(open_index(folder), "#0", "#1", duplicates=True)


def test_files_that_are_gone_are_named_with_the_seconds_of_their_clips(
    files, toy_encoder, tmp_path
):
    gone = tmp_path / "gone.mp4"
    shutil.copyfile(files["trimmed"], gone)
    with gone.open("ab") as file:
        file.write(b"\0")  # another content
    out = tmp_path / "index"
    build_index(toy_encoder(), [probe(str(p)) for p in (files["whole"], gone)], out, every=0.5)
    gone.unlink()
    found = find(out)
    assert [error.where for error in found.broken] == [str(gone)]
    (pair,) = found.unchecked
    assert pair.by == "windows"
    (part,) = pair.parts
    assert part.first[0] < part.first[1]
    assert not found.groups


@pytest.fixture
def pair(files, toy_encoder, tmp_path):
    """Two files with the same bytes, a smaller copy, and an index of these."""
    folder = tmp_path / "pair"
    folder.mkdir()
    for name, source in (("1", "whole"), ("2", "whole"), ("3", "small")):
        shutil.copyfile(files[source], folder / f"{name}.mp4")
    return lambda: index_of(toy_encoder(), sorted(folder.iterdir()), tmp_path / "index"), folder


def index_of(encoder, paths, out):
    build_index(encoder, [probe(str(path)) for path in paths], out, every=0.5, overwrite=True)
    return out


def test_what_is_gone_is_neither_kept_nor_a_copy(pair):
    build, folder = pair
    out = build()
    assert names(out, find(out))[0].keys() == {"1"}
    (folder / "1.mp4").unlink()
    found = find(out)
    groups, _ = names(out, found)
    assert {kept: set(copies) for kept, copies in groups.items()} == {"2": {"3"}}
    assert [Path(error.where).name for error in found.broken] == ["1.mp4"]
    (folder / "2.mp4").unlink()
    found = find(out)
    assert not found.groups
    assert sorted(Path(error.where).name for error in found.broken) == ["1.mp4", "2.mp4"]


def test_what_was_replaced_is_no_copy(pair, files):
    build, folder = pair
    out = build()
    find(out)
    for name in ("2", "3"):
        shutil.copyfile(files["other"], folder / f"{name}.mp4")
    found = find(out)
    assert not found.groups
    assert sorted(Path(error.where).name for error in found.broken) == ["2.mp4", "3.mp4"]
    assert all("when it was scanned" in str(error) for error in found.broken)


def test_a_file_with_a_hole_is_not_the_same_and_is_not_kept(pair):
    build, folder = pair
    with (folder / "1.mp4").open("r+b") as file:
        size = os.path.getsize(file.name)
        file.seek(size // 3)
        file.write(bytes(size // 4))
    out = build()
    videos = open_index(out).gallery.videos
    assert videos[0].ends_sha256 == videos[1].ends_sha256
    for _ in range(2):  # the second run knows the pairs
        groups, _ = names(out, find(out))
        (copies,) = groups.values()
        assert groups.keys() == {"2"}
        assert {each.by for each in copies.values()} == {"frames"}


def test_names_of_one_file_are_no_copies(pair, capsys):
    build, folder = pair
    for name in ("2", "3"):
        (folder / f"{name}.mp4").unlink()
    (folder / "0.mp4").symlink_to(folder / "1.mp4")
    (folder / "2.mp4").hardlink_to(folder / "1.mp4")
    out = build()
    found = find(out)
    assert "2 videos are links" in capsys.readouterr().err
    assert not found.groups
    videos = open_index(out).gallery.videos
    links = {(Path(videos[a].path).name, Path(videos[b].path).name) for a, b in found.links}
    assert links == {("0.mp4", "1.mp4"), ("2.mp4", "1.mp4")}


def test_whole_files_are_read_once(pair, monkeypatch):
    build, _ = pair
    first = find(out := build())
    monkeypatch.setattr("vidssl_cli.search.duplicates_files.sha256", None)
    assert find(out).groups == first.groups


def test_files_of_one_content_cannot_be_told_apart(pair):
    build, _ = pair
    with pytest.raises(UsageError, match="the same size, first and last bytes"):
        decide(open_index(build()), "#0", "#1", duplicates=False)


def test_an_index_of_one_video_has_no_duplicates(files, toy_encoder, tmp_path):
    out = tmp_path / "index"
    build_index(toy_encoder(), [probe(str(files["whole"]))], out, every="recipe")
    found = find(out)
    assert (found.groups, found.shared, found.unchecked) == ([], [], [])


def test_evenly_spaced_clips_do_too(files, toy_encoder, tmp_path):
    out = tmp_path / "index"
    wanted = ["whole", "trimmed", "small"]
    videos = [probe(str(files[name])) for name in wanted]
    build_index(toy_encoder(), videos, out, every="recipe")
    groups, _ = names(out, find(out))
    assert {kept: set(copies) for kept, copies in groups.items()} == {"whole": {"trimmed", "small"}}


def test_the_command_prints_paths_whole_and_a_document(folder, files, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ["duplicates", str(folder), "--similarity", "0.3"]
    assert run(app, [*words, "--out", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(str(files["mirrored"])) for line in lines) == 1
    assert any("mirrored" in line and "0.0-6.0 s" in line for line in lines)
    assert "1 group of 9 videos; 4 copies" in lines[-1]
    assert page.read_text().count('class="role keep"') == 4
    assert run(app, [*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (group,) = document["groups"]
    assert len(group["copies"]) == 4
    assert document["videos"] == 9
    (shared,) = document["shared"]
    assert {"first", "second", "by", "parts", "shares", "mirrored", "score"} == set(shared)
    assert run(app, [*words, "--out", str(page)]) == 2
    assert run(app, [*words, "--out", str(tmp_path / "page.mp4")]) == 2


def test_the_command_notes_and_takes_back(folder, capsys):
    assert run(app, ["duplicates", str(folder), "--not", "#0", "#1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"index": str(folder), "not": 1}
    assert run(app, ["duplicates", str(folder), "--undo-not", "#1", "#0"]) == 0
    assert "0 pairs" in capsys.readouterr().out
    assert run(app, ["duplicates", str(folder), "--not", "#0", "#1", "--undo-not", "#0", "#1"]) == 2


def test_strict_counts_what_cannot_be_read(files, toy_encoder, tmp_path, capsys):
    gone = tmp_path / "gone.mp4"
    shutil.copyfile(files["trimmed"], gone)
    out = tmp_path / "index"
    build_index(toy_encoder(), [probe(str(p)) for p in (files["whole"], gone)], out, every=0.5)
    gone.unlink()
    assert run(app, ["duplicates", str(out), "--similarity", "0.3", "--strict", "--json"]) == 5
    (pair,) = json.loads(capsys.readouterr().out)["unchecked"]
    assert {pair["first"]["there"], pair["second"]["there"]} == {True, False}


def test_another_run_at_the_same_time_is_refused(folder):
    from vidssl_cli.base.errors import VidsslError
    from vidssl_cli.search.duplicates_decisions import deciding

    with deciding(folder), pytest.raises(VidsslError, match="another `vidssl duplicates`"):
        find(folder)
