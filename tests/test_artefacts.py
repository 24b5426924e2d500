import multiprocessing
import os
import socket
import subprocess
import sys

import pytest

from vidssl_cli import artefacts, sealed
from vidssl_cli.errors import DamagedFileError


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "thing"

    def write(into):
        (into / "weights").write_bytes(bytes(range(256)))
        (into / "sub").mkdir()
        (into / "sub" / "notes.json").write_text("{}")

    artefacts.publish(folder, write)
    return folder


def test_a_published_folder_verifies_and_tells_its_digests(published):
    digests = artefacts.verify(published)
    assert set(digests) == {"weights", "sub/notes.json"}
    assert digests["weights"] == artefacts.sha256(published / "weights")


def test_publishing_leaves_nothing_else_behind(published):
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


def test_publishing_again_replaces_the_folder(published):
    artefacts.publish(published, lambda into: (into / "other").write_text("x"))
    assert set(artefacts.verify(published)) == {"other"}
    assert not (published / "weights").exists()
    assert [path.name for path in published.parent.iterdir()] == ["thing"]


def test_a_failing_writer_changes_nothing(published):
    def fail(into):
        (into / "half").write_text("x")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artefacts.publish(published, fail)
    assert set(artefacts.verify(published)) == {"weights", "sub/notes.json"}
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
            artefacts.verify(published)
        if name != "manifest.json":
            assert caught.value.where == str(path)
    path.write_bytes(whole)
    artefacts.verify(published)


def test_a_damaged_file_is_told_with_both_digests(published):
    path = published / "weights"
    expected = artefacts.sha256(path)
    path.write_bytes(bytes(256))
    with pytest.raises(DamagedFileError, match=f"{artefacts.sha256(path)}, not {expected}"):
        artefacts.verify(published)


@pytest.mark.parametrize("name", ["weights", "manifest.json"])
def test_a_missing_file_is_refused(published, name):
    (published / name).unlink()
    with pytest.raises(DamagedFileError):
        artefacts.verify(published)


def test_a_truncated_file_is_refused_by_its_size(published):
    os.truncate(published / "weights", 255)
    with pytest.raises(DamagedFileError, match="255 bytes, not the 256"):
        artefacts.verify(published)


def test_a_manifest_cannot_name_files_outside(published):
    files = {"../secret": {"size": 1, "sha256": "0"}}
    (published / "manifest.json").write_bytes(sealed.render({"files": files}))
    with pytest.raises(DamagedFileError, match="outside"):
        artefacts.verify(published)


def test_what_is_needed_must_be_in_the_manifest(published):
    assert artefacts.intact(published, "weights") == published / "weights"
    (published / "weights").write_bytes(b"damaged")
    assert artefacts.intact(published, "sub/notes.json").is_file()  # looks at no other file
    with pytest.raises(DamagedFileError, match="damaged"):
        artefacts.intact(published, "weights")
    (published / "added").write_text("not sealed")
    for check in (artefacts.verify, artefacts.intact):
        with pytest.raises(DamagedFileError, match="does not name added"):
            check(published, "added")


def test_a_noted_file_is_refused_once_it_differs_and_taken_without_its_note(tmp_path):
    path = tmp_path / "caf\udce9.jsonl"
    artefacts.write_noted(path, b"one\n")
    assert artefacts.read_noted(path) == b"one\n"
    note = artefacts.note_of(path)
    command = ["sha256sum", "--check", "--status", note.name]
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
    artefacts.write_noted(path, b"two\n")
    assert artefacts.read_noted(path) == b"two\n"
    path.write_bytes(b"mine\n")
    with pytest.raises(DamagedFileError, match="is not what") as caught:
        artefacts.read_noted(path)
    assert caught.value.where == str(path)
    assert str(note) in caught.value.hint
    note.unlink()
    assert artefacts.read_noted(path) == b"mine\n"


def test_a_crash_leaves_no_note_of_another_content(tmp_path, monkeypatch):
    path = tmp_path / "m.jsonl"
    artefacts.write_noted(path, b"one\n")

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(artefacts, "atomic_write", crash)
    with pytest.raises(KeyboardInterrupt):
        artefacts.write_noted(path, b"two\n")
    assert artefacts.read_noted(path) == b"one\n"


def test_files_that_the_manifest_does_not_name_are_ignored(published):
    (published / ".DS_Store").write_text("x")
    artefacts.verify(published)


def test_what_dead_processes_left_is_swept_and_what_others_write_is_not(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = socket.gethostname()
    dead = tmp_path / f".tmp-{host}-{child.pid}-abc"
    dead.mkdir()
    (dead / "weights").write_text("half")
    dead_file = tmp_path / f".tmp-{host}-{child.pid}-def"
    dead_file.write_text("half")
    alive = tmp_path / f".tmp-{host}-{os.getpid()}-abc"
    elsewhere = tmp_path / ".tmp-another-host-1-abc"
    foreign = tmp_path / ".tmp-notes"
    for path in (alive, elsewhere, foreign):
        path.mkdir()
    artefacts.atomic_write(tmp_path / "file", "x")
    assert {path.name for path in tmp_path.iterdir()} == {
        "file",
        alive.name,
        elsewhere.name,
        foreign.name,
    }


def _rewrite(path, times):
    for number in range(times):
        artefacts.atomic_write(path, bytes([number % 256]) * 100_000)


def test_readers_of_an_atomically_written_file_see_it_whole(tmp_path):
    path = tmp_path / "file"
    artefacts.atomic_write(path, bytes(100_000))
    writer = multiprocessing.get_context("spawn").Process(target=_rewrite, args=(path, 50))
    writer.start()
    while writer.is_alive():
        content = path.read_bytes()
        assert len(content) == 100_000
        assert len(set(content)) == 1
    writer.join()
    assert writer.exitcode == 0


def test_point_swings_a_link(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
        artefacts.point(tmp_path / "last", name)
        assert (tmp_path / "last" / "name").read_text() == name
    assert os.readlink(tmp_path / "last") == "two"
