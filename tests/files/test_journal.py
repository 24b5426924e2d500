"""Tests of the journal: what a killed run had is there for the next one."""

import os
import resource

import pytest

from vidssl_cli.base.errors import DamagedFileError, NoRoomError
from vidssl_cli.files.journal import Journal

KEY = ["network", {"clips": 3}]
RECORDS = [({"path": "a\ud800.mp4"}, b"\n\x00 content"), (["b"], b""), (3, b"x" * 100_000)]


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / "journal", KEY) as journal:
        for row, content in RECORDS:
            journal.append(row, content)
    return tmp_path / "journal"


def records(path, key=KEY):
    with Journal(path, key) as journal:
        return list(journal.records())


def test_records_are_there_for_the_next_run(path):
    assert records(path) == RECORDS
    assert records(path) == RECORDS


def test_records_are_in_the_file_before_it_is_closed(tmp_path):
    with Journal(tmp_path / "journal", KEY) as journal:
        journal.append("a", b"content")
        copy = tmp_path / "copy"
        copy.write_bytes((tmp_path / "journal").read_bytes())
    assert records(copy) == [("a", b"content")]


def test_another_key_begins_anew(path):
    assert records(path, ["another network"]) == []
    assert records(path) == []


@pytest.mark.parametrize("lost", [1, 50_000, 99_999, 100_020, 100_100])
def test_a_record_that_was_cut_off_is_dropped_and_more_can_be_added(path, lost):
    os.truncate(path, path.stat().st_size - lost)
    kept = RECORDS[:2] if lost < 100_090 else records(path)
    with Journal(path, KEY) as journal:
        assert list(journal.records()) == kept
        journal.append("new", b"after")
    assert records(path) == [*kept, ("new", b"after")]


def test_no_damage_is_taken_for_a_record(path):
    whole = path.read_bytes()
    for place in [*range(0, 400, 7), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        found = records(path)
        assert found == RECORDS[: len(found)]
        assert len(found) < len(RECORDS)


@pytest.mark.parametrize("text", ["[9e99, 1]", "[-5, 1]", "[" * 100_000, "7", '["a", 1]'])
def test_what_is_no_record_ends_the_journal(path, text):
    with path.open("ab") as file:
        file.write(f"{'0' * 32} {text}\n".encode())
    assert records(path) == RECORDS


def test_a_link_or_a_pipe_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(tmp_path / "link", KEY)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedFileError, match="not a regular file"):
        Journal(tmp_path / "pipe", KEY)
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_full_disk_is_told_and_what_was_kept_stays(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        with Journal(path, KEY) as journal:
            list(journal.records())
            with pytest.raises(NoRoomError):
                journal.append("large", b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert records(path) == RECORDS
