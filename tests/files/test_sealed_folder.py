import errno
import fcntl
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, NoRoomError, VidsslError
from vidssl_cli.files import atomic, disk_space, locks, sealed_folder, sealed_json


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "thing"

    def write(into):
        (into / "weights").write_bytes(bytes(range(256)))
        (into / "sub").mkdir()
        (into / "sub" / "notes.json").write_text("{}")

    sealed_folder.publish(folder, write)
    return folder


def test_a_published_folder_verifies_and_tells_its_digests(published):
    digests = sealed_folder.verify(published)
    assert set(digests) == {"weights", "sub/notes.json"}
    assert digests["weights"] == sealed_folder.sha256(published / "weights")


def test_publishing_leaves_nothing_else_behind(published):
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


def test_what_appears_is_on_the_disk_before_it_appears(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, os.rename

    def synced(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def renamed(source, target):
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "replace", renamed)
    (tmp_path / "place").mkdir()
    sealed_folder.publish(tmp_path / "place" / "thing", lambda into: (into / "file").touch())
    last = len(done) - 1 - done[::-1].index("rename")
    assert {"file", sealed_folder.MANIFEST, "fresh"} <= {*done[:last]}
    assert done[last + 1 :] == ["place"]
    done.clear()
    atomic.atomic_write(tmp_path / "place" / "file", "x")
    atomic.point(tmp_path / "place" / "link", "thing")
    assert done == ["fresh", "rename", "place", "rename", "place"]


def test_publishing_again_replaces_the_folder(published):
    sealed_folder.publish(published, lambda into: (into / "other").write_text("x"))
    assert set(sealed_folder.verify(published)) == {"other"}
    assert not (published / "weights").exists()
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


def test_a_failing_writer_changes_nothing(published):
    def fail(into):
        (into / "half").write_text("x")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        sealed_folder.publish(published, fail)
    assert set(sealed_folder.verify(published)) == {"weights", "sub/notes.json"}
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


@pytest.mark.parametrize("name", ["weights", "sub/notes.json", "manifest.json"])
def test_every_flipped_byte_is_refused_by_name(published, name):
    path = published / name
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError) as caught:
            sealed_folder.verify(published)
        if name != "manifest.json":
            assert caught.value.where == str(path)
    path.write_bytes(whole)
    sealed_folder.verify(published)


def test_a_damaged_file_is_told_with_both_digests(published):
    path = published / "weights"
    expected = sealed_folder.sha256(path)
    path.write_bytes(bytes(256))
    with pytest.raises(DamagedFileError, match=f"{sealed_folder.sha256(path)}, not {expected}"):
        sealed_folder.verify(published)


@pytest.mark.parametrize("name", ["weights", "manifest.json"])
def test_a_missing_file_is_refused(published, name):
    (published / name).unlink()
    with pytest.raises(DamagedFileError):
        sealed_folder.verify(published)


def test_a_truncated_file_is_refused_by_its_size(published):
    os.truncate(published / "weights", 255)
    with pytest.raises(DamagedFileError, match="255 bytes, not the 256"):
        sealed_folder.verify(published)


def test_a_manifest_cannot_name_files_outside(published):
    files = {"../secret": {"size": 1, "sha256": "0"}}
    (published / "manifest.json").write_bytes(sealed_json.render({"files": files}))
    with pytest.raises(DamagedFileError, match="outside"):
        sealed_folder.verify(published)


def test_what_is_needed_must_be_in_the_manifest(published):
    assert sealed_folder.intact(published, "weights") == published / "weights"
    (published / "weights").write_bytes(b"damaged")
    assert sealed_folder.intact(published, "sub/notes.json").is_file()  # looks at no other file
    with pytest.raises(DamagedFileError, match="damaged"):
        sealed_folder.intact(published, "weights")
    (published / "added").write_text("not sealed")
    for check in (sealed_folder.verify, sealed_folder.intact):
        with pytest.raises(DamagedFileError, match="does not name added"):
            check(published, "added")


def test_a_noted_file_is_refused_once_it_differs_and_taken_without_its_note(tmp_path):
    path = tmp_path / "caf\udce9.jsonl"
    sealed_folder.write_noted(path, b"one\n")
    sealed_folder.check_note(path)
    note = sealed_folder.note_of(path)
    command = ["sha256sum", "--check", "--status", note.name]
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
    sealed_folder.write_noted(path, b"two\n")
    sealed_folder.check_note(path)
    path.write_bytes(b"mine\n")
    with pytest.raises(DamagedFileError, match="is not what") as caught:
        sealed_folder.check_note(path)
    assert caught.value.where == str(path)
    assert str(note) in caught.value.hint
    note.unlink()
    sealed_folder.check_note(path)


def test_a_crash_leaves_no_note_of_another_content(tmp_path, monkeypatch):
    path = tmp_path / "m.jsonl"
    sealed_folder.write_noted(path, b"one\n")

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sealed_folder, "atomic_write", crash)
    with pytest.raises(KeyboardInterrupt):
        sealed_folder.write_noted(path, b"two\n")
    sealed_folder.check_note(path)


def test_files_that_the_manifest_does_not_name_are_ignored(published):
    (published / ".DS_Store").write_text("x")
    sealed_folder.verify(published)


BUSY = """
import sys, time
from pathlib import Path
from vidssl_cli.files import sealed_folder, atomic, locks

def write(into):
    (into / "half").write_text("x")
    print("busy", flush=True)
    time.sleep(100)

sealed_folder.publish(Path(sys.argv[1]), write)
"""


@pytest.fixture
def busy(tmp_path):
    """A function that starts a process which is in the middle of publishing a folder."""
    processes = []

    def start(name):
        command = [sys.executable, "-c", BUSY, str(tmp_path / name)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline() == "busy\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_what_dead_processes_left_is_swept_and_what_others_write_is_not(busy, tmp_path):
    dead, _ = busy("dead"), busy("alive")
    assert len(list(tmp_path.glob(".tmp-*/fresh/half"))) == 2
    dead.kill()
    dead.wait()
    host = socket.gethostname()
    (tmp_path / f".tmp-{host}-empty").mkdir()  # its maker was killed before it could lock it
    (tmp_path / ".tmp-elsewhere-x").mkdir()  # another machine's
    (tmp_path / ".tmp-notes").mkdir()
    atomic.atomic_write(tmp_path / "file", "x")
    visible = {path.name for path in tmp_path.iterdir()}
    assert {"file", ".tmp-notes", ".tmp-elsewhere-x"} < visible
    assert len(visible) == 4
    assert len(list(tmp_path.glob(".tmp-*/fresh/half"))) == 1


KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from vidssl_cli.files import sealed_folder, atomic, locks

rename = os.rename

def until(source, target):
    if Path(target) == Path(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.rename = until
sealed_folder.publish(Path(sys.argv[1]), lambda into: (into / "other").write_text("x"))
"""


def test_a_folder_whose_replacement_was_killed_is_put_back(published):
    subprocess.run([sys.executable, "-c", KILLED_BETWEEN, str(published)])
    assert not published.exists()
    atomic.sweep(published.parent)
    assert set(sealed_folder.verify(published)) == {"weights", "sub/notes.json"}
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


def test_what_a_copied_folder_calls_half_written_leads_nowhere_else(tmp_path):
    mine = tmp_path / "mine"
    (mine / "notes").mkdir(parents=True)
    (mine / "notes" / "thesis").touch()
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("old", "lock", "pipe"):
        (copied / f"{atomic._prefix()}{name}").mkdir()
    (copied / f"{atomic._prefix()}old" / "old").symlink_to(mine)
    (copied / f"{atomic._prefix()}lock" / locks.LOCK).symlink_to(mine / "made")
    os.mkfifo(copied / f"{atomic._prefix()}pipe" / locks.LOCK)
    (copied / f"{atomic._prefix()}whole").symlink_to(mine)
    atomic.atomic_write(copied / "file", "x")
    assert sorted(path.name for path in mine.rglob("*")) == ["notes", "thesis"]
    assert "thesis" not in [path.name for path in copied.iterdir()]


def test_a_folder_is_discarded_in_one_step(published):
    sealed_folder.discard(published)
    assert not list(published.parent.iterdir())


def _rewrite(path, times):
    for number in range(times):
        atomic.atomic_write(path, bytes([number % 256]) * 100_000)


def test_readers_of_an_atomically_written_file_see_it_whole(tmp_path):
    path = tmp_path / "file"
    atomic.atomic_write(path, bytes(100_000))
    writer = multiprocessing.get_context("spawn").Process(target=_rewrite, args=(path, 50))
    writer.start()
    while writer.is_alive():
        content = path.read_bytes()
        assert len(content) == 100_000
        assert len(set(content)) == 1
    writer.join()
    assert writer.exitcode == 0


def test_point_swings_a_link(tmp_path, monkeypatch):
    replace = os.replace

    def swung(fresh, link):
        assert name == "one" or link.is_symlink(), "for a moment there is no link"
        replace(fresh, link)

    monkeypatch.setattr(os, "replace", swung)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
        atomic.point(tmp_path / "last", name)
        assert (tmp_path / "last" / "name").read_text() == name
    assert os.readlink(tmp_path / "last") == "two"


@pytest.fixture
def small_files():
    """Let no file grow beyond 4,096 bytes: the nearest to a full disk that needs no mount."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_does_not_fit_is_told_with_its_size_and_changes_nothing(tmp_path, small_files):
    path = tmp_path / "file"
    atomic.atomic_write(path, "old")
    with pytest.raises(NoRoomError, match=r"too large: at least 5,000 bytes are needed") as caught:
        atomic.atomic_write(path, bytes(5000))
    assert caught.value.where == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_does_not_fit_is_told_by_its_own_name(tmp_path, small_files):
    def write(into):
        sealed_folder.publish(
            into / "inner", lambda inner: (inner / "file").write_bytes(bytes(5000))
        )

    with pytest.raises(NoRoomError) as caught:
        sealed_folder.publish(tmp_path / "outer", write, size=7000)
    assert caught.value.where == str(tmp_path / "outer")
    assert "7,000 bytes" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["ret == size failed: No space left on device", "os error 28"])
def test_libraries_that_only_tell_in_words_are_understood(tmp_path, words):
    def write(into):
        raise RuntimeError(words)

    full = os.strerror(errno.ENOSPC) in words
    with pytest.raises(NoRoomError if full else RuntimeError):
        sealed_folder.publish(tmp_path / "thing", write)


def test_numpy_that_only_tells_how_much_was_written_is_understood(tmp_path, small_files):
    np.save(tmp_path / "small.npy", np.zeros(10))
    with pytest.raises(NoRoomError, match="needed"):
        sealed_folder.publish(tmp_path / "a", lambda into: np.save(into / "a.npy", np.zeros(9999)))


def test_what_cannot_fit_is_not_begun(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(NoRoomError, match=r"1,001 bytes are needed, and 1,000 are free"):
        sealed_folder.publish(tmp_path / "thing", pytest.fail, size=1001)
    disk_space.require_room(tmp_path / "no" / "such" / "folder", 1000)


def test_what_is_replaced_while_room_is_looked_for_is_there_or_not(tmp_path, monkeypatch):
    folder = tmp_path / "thing"
    folder.mkdir()
    usage = shutil.disk_usage

    def replaced(path):
        if folder.exists():
            folder.rmdir()
        return usage(path)

    monkeypatch.setattr(shutil, "disk_usage", replaced)
    disk_space.require_room(folder, 1)


def test_a_working_directory_that_was_deleted_is_not_waited_for(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        disk_space.require_room(pathlib.Path("run"), 1)


def test_a_place_that_cannot_be_written_is_told_by_the_name_that_was_given(tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    for attempt in (disk_space.require_writable, lambda path: atomic.atomic_write(path, "x")):
        with pytest.raises(NotADirectoryError) as caught:
            attempt(place)
        assert caught.value.filename == str(place)
    disk_space.require_writable(tmp_path / "no" / "such" / "folder")


def test_a_lock_says_who_has_it(tmp_path):
    told = f"another `x` is writing here: process {os.getpid()} on {socket.gethostname()} since 2"
    with (
        locks.locked(tmp_path, "x"),
        pytest.raises(VidsslError, match=told),
        locks.locked(tmp_path, "x"),
    ):
        pass
    with locks.locked(tmp_path, "x"):
        pass


def test_a_lock_of_a_dead_process_blocks_nobody_and_is_not_named(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = {"pid": child.pid, "host": socket.gethostname(), "since": "then", "argv": ["vidssl"]}
    (tmp_path / ".lock").write_text(json.dumps(left))
    with locks.locked(tmp_path, "x"):
        pass
    (tmp_path / ".lock").write_text(json.dumps(left))
    with (tmp_path / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(VidsslError, match=r"another `x` is writing here$"),
            locks.locked(tmp_path, "x"),
        ):
            pass


def test_looking_whether_a_folder_is_locked_keeps_nobody_from_locking_it(tmp_path):
    (tmp_path / ".lock").touch()
    looker = (tmp_path / ".lock").open()
    fcntl.flock(looker, fcntl.LOCK_SH)
    timer = threading.Timer(0.2, looker.close)
    timer.start()
    with locks.locked(tmp_path, "x"):
        assert locks.is_locked(tmp_path)
    timer.join()


def test_without_locks_of_the_file_system_nothing_is_refused_and_nothing_swept(
    tmp_path, monkeypatch
):
    def none(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    other = tmp_path / f".tmp-{socket.gethostname()}-abc"
    other.mkdir()
    with locks.locked(tmp_path, "x"):
        assert not locks.is_locked(tmp_path)
        atomic.atomic_write(tmp_path / "file", "x")
    assert other.exists()


def test_a_folder_that_is_held_is_not_discarded(published):
    with sealed_folder.held(published):
        sealed_folder.discard(published)
        sealed_folder.verify(published)
    sealed_folder.discard(published)
    assert not published.exists()
    assert list(published.parent.iterdir()) == []


def _publish_often(folder, content):
    for _ in range(30):
        sealed_folder.publish(folder, lambda into: (into / "file").write_text(content))


def test_several_that_publish_one_folder_do_not_fail(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_publish_often, args=(tmp_path / "thing", str(number)))
        for number in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    sealed_folder.verify(tmp_path / "thing")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
