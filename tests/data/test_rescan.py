"""Scanning again decodes what is new or has changed, and no more."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import scan as module
from vidssl_cli.data.manifest import read_manifest, write_manifest
from vidssl_cli.data.rescan import remembered
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.shards import Shard
from vidssl_cli.files.sealed_folder import note_of
from vidssl_cli.media.open_file import ends_digest, stamp


@pytest.fixture
def folder(tmp_path, make_video):
    for name in "abc":
        make_video(tmp_path / "data" / f"{name}.mp4", frames=20)
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that are decoded."""
    names = []
    honest = module.probe

    def spy(path):
        names.append(os.path.basename(path))
        return honest(path)

    monkeypatch.setattr(module, "probe", spy)
    return names


def scan(folder, out, workers=1, shard=None):
    with remembered(out, shard) as (known, keep):
        take = shard.every if shard else None
        videos, _ = open_data(folder, known=known, keep=keep, workers=workers, take=take)
        if not shard:
            write_manifest(out, videos)
    return videos


def test_files_that_have_not_changed_are_not_decoded_again(folder, tmp_path, decoded, make_video):
    out = tmp_path / "m.jsonl"
    first = scan(folder, out)
    assert decoded == ["a.mp4", "b.mp4", "c.mp4"]
    assert scan(folder, out) == first
    assert len(decoded) == 3
    make_video(folder / "d.mp4", frames=30)
    make_video(folder / "b.mp4", frames=40)
    again = scan(folder, out)
    assert decoded[3:] == ["b.mp4", "d.mp4"]
    assert [video.frames for video in again] == [20, 40, 20, 30]
    assert os.listdir(tmp_path / "data") == os.listdir(folder)
    assert not list(tmp_path.glob("*.part"))


def touched(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def other_end(path):
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [touched, other_end])
def test_what_may_be_another_file_is_decoded_again(folder, tmp_path, decoded, change):
    scan(folder, tmp_path / "m.jsonl")
    decoded.clear()
    change(folder / "b.mp4")
    scan(folder, tmp_path / "m.jsonl")
    assert decoded == ["b.mp4"]


def test_labels_are_those_of_data_as_it_is_now(folder, tmp_path, decoded):
    out = tmp_path / "m.jsonl"
    write_manifest(out, [replace(video, label="old") for video in scan(folder, out)])
    assert {video.label for video in scan(folder, out)} == {None}
    assert len(decoded) == 3


def test_a_manifest_whose_digest_was_not_written_is_still_a_scans(folder, tmp_path, decoded):
    out = tmp_path / "m.jsonl"
    for number in (1, 2):
        scan(folder, out, shard=Shard(number, 2))

    def interrupted():
        with remembered(out) as (known, _):
            assert len(known) == 3  # nothing is left for this scan to keep
            write_manifest(out, list(known.values()))
            note_of(out).unlink()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    decoded.clear()
    assert len(scan(folder, out)) == 3
    assert not decoded
    assert not list(tmp_path.glob("*.part"))


def test_a_scan_that_finds_nothing_leaves_nothing(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError):
        scan(tmp_path / "none", tmp_path / "m.jsonl")
    assert os.listdir(tmp_path) == ["none"]


def test_a_scan_that_was_interrupted_goes_on(folder, tmp_path, decoded, monkeypatch):
    out = tmp_path / "m.jsonl"
    honest = module.probe

    def interrupt(path):
        if path.endswith("c.mp4"):
            raise KeyboardInterrupt
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "probe", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scan(folder, out)
    assert not out.exists()
    with (tmp_path / "m.jsonl.part").open("a") as journal:
        journal.write('{"path": "data/c.mp4", "frames": 2')  # as a kill leaves it
    decoded.clear()
    scan(folder, out)
    assert decoded == ["c.mp4"]
    assert [video.frames for video in read_manifest(out)] == [20] * 3


def test_a_damaged_manifest_is_scanned_anew(folder, tmp_path, decoded, capfd):
    out = tmp_path / "m.jsonl"
    scan(folder, out)
    out.write_text("{}\n")
    scan(folder, out)
    assert len(decoded) == 6
    assert "its videos are scanned anew" in capfd.readouterr().err


def test_rows_of_earlier_versions_are_scanned_anew(folder, tmp_path, decoded):
    out = tmp_path / "m.jsonl"
    rows = scan(folder, out)
    write_manifest(out, [replace(row, ends_sha256=None, mtime_ns=None) for row in rows])
    scan(folder, out)
    assert len(decoded) == 6


def test_many_files_are_known_again_in_no_time(folder, tmp_path):
    """Two thousand, which is a fiftieth of what must take seconds."""
    (row, *_) = scan(folder, tmp_path / "m.jsonl")
    rows = []
    for number in range(2000):
        path = tmp_path / "many" / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        os.link(row.path, path)
        facts = {"bytes": stamp(str(path))[0], "mtime_ns": stamp(str(path))[1]}
        rows.append(replace(row, path=str(path), **facts, ends_sha256=ends_digest(str(path))))
    out = tmp_path / "many.jsonl"
    write_manifest(out, rows)
    began = time.perf_counter()
    with remembered(out) as (known, _):
        assert len(known) == 2000
    assert time.perf_counter() - began < 2
    assert Video(rows[0].path).path in known


def test_a_manifest_with_rows_of_ones_own_is_not_replaced(folder, tmp_path, decoded):
    out = tmp_path / "m.jsonl"
    scan(folder, out)
    note_of(out).unlink()  # as one does after changing a manifest on purpose
    before = out.read_bytes()
    with pytest.raises(UsageError, match="was changed since"):
        scan(folder, out)
    assert out.read_bytes() == before


def test_what_shards_have_decoded_is_not_decoded_again(folder, tmp_path, decoded):
    out, whole = tmp_path / "[m].jsonl", tmp_path / "whole.jsonl"
    scan(folder, whole)
    scan(folder, out, shard=Shard(1, 2))
    scan(folder, out, shard=Shard(1, 2))
    assert decoded[3:] == ["a.mp4", "c.mp4"]
    assert not out.exists()
    scan(folder, out, shard=Shard(2, 3))
    scan(folder, out)
    assert decoded[5:] == ["b.mp4"]
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.part"))
    scan(folder, out, shard=Shard(2, 2))
    assert decoded[6:] == []


def test_a_shard_that_is_still_scanned_loses_nothing(folder, tmp_path, decoded):
    """The journal of a running job is read by another process and stays as it is."""
    out, shard = tmp_path / "m.jsonl", Shard(1, 1)
    with remembered(out, shard) as (known, keep):
        open_data(folder, known=known, keep=keep, workers=1)
        (journal,) = tmp_path.glob("*.part")
        with journal.open("ab") as file:
            file.write(b"half a rec")
        before = journal.read_bytes()
        with remembered(out) as (found, _):
            assert len(found) == 3
            assert journal.read_bytes() == before
