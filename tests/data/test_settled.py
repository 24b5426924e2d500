"""Files of a watched folder count once they have stopped changing."""

import os

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.data import settled
from vidssl_cli.data.settled import SettledFiles


@pytest.fixture
def clock(monkeypatch):
    """Return what moves the time, which begins now."""
    now = [1e9]
    monkeypatch.setattr(settled.time, "time", lambda: now[0])
    monkeypatch.setattr(settled.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def write(path, size, changed):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1e9 + changed, 1e9 + changed))
    return str(path)


def test_a_file_is_complete_once_it_has_not_changed_for_a_while(tmp_path, clock):
    files = SettledFiles(tmp_path)
    assert files.look() == {}
    old = write(tmp_path / "old.mp4", 1, -100)
    growing = write(tmp_path / "inner" / "growing.mp4", 1, 0)
    write(tmp_path / "notes.txt", 1, -100)
    write(tmp_path / ".growing.mp4.part", 1, -100)
    assert files.look().keys() == {old}
    for second in range(1, 20):
        clock(1)
        write(tmp_path / "inner" / "growing.mp4", 1 + second, second)
        assert files.look().keys() == {old}
    clock(settled.WAIT - 1)
    assert files.look().keys() == {old}
    clock(1)
    assert files.look().keys() == {old, growing}
    os.unlink(old)
    assert files.look() == {growing: (20, int(1e18) + 19 * 10**9)}


def test_a_clock_that_is_ahead_does_not_keep_files_out(tmp_path, clock):
    files = SettledFiles(tmp_path)
    ahead = write(tmp_path / "ahead.mp4", 1, 9999)
    assert files.look() == {}
    clock(settled.WAIT)
    assert files.look().keys() == {ahead}


def test_only_folders_of_videos_are_watched(tmp_path):
    for path in (tmp_path / "list.txt", tmp_path / "nothing"):
        with pytest.raises(UsageError, match="cannot be watched"):
            SettledFiles(path)
