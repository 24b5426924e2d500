"""`vidssl index --watch` adds what appears in a folder, as one command after another would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from vidssl_cli.base.errors import BusyError, UsageError
from vidssl_cli.cli import watch
from vidssl_cli.cli.index_run import IndexRun
from vidssl_cli.cli.options import DataOptions
from vidssl_cli.cli.watch import watched
from vidssl_cli.data import settled
from vidssl_cli.data.shards import Shard
from vidssl_cli.files.locks import locked
from vidssl_cli.media.probe import probe
from vidssl_cli.search.build import build_index
from vidssl_cli.search.store import open_index


@pytest.fixture
def start(toy_encoder, tmp_path, monkeypatch):
    """Return what starts to watch a folder, in which all files are complete at once."""
    monkeypatch.setattr(settled, "WAIT", -1e9)
    monkeypatch.setattr(watch, "LOOK", 0)

    def start(prune=False):
        (tmp_path / "videos").mkdir(exist_ok=True)
        run = IndexRun(
            toy_encoder(), str(tmp_path / "videos"), DataOptions(), "all", tmp_path / "index",
            overwrite=False, prune=prune, settings={},
        )  # fmt: skip
        return watched(run, tmp_path / "videos", prune=prune)

    return start


def test_what_appears_changes_and_goes_is_followed(start, make_video, tmp_path, capsys):
    first = make_video(tmp_path / "videos" / "a" / "1.mp4", frames=24)
    done = start(prune=True)
    assert next(done).added == 1
    make_video(tmp_path / "videos" / "b" / "2.mp4", frames=30)
    make_video(tmp_path / "videos" / "b" / "3.mp4", frames=36)
    second = next(done)
    assert (second.added, second.videos) == (2, 3)
    make_video(first, frames=40)
    assert next(done).changed == 1
    os.rename(first, first.with_name("4.mp4"))
    assert next(done).renamed == 1
    os.unlink(first.with_name("4.mp4"))
    last = next(done)
    assert (last.removed, last.videos) == (1, 2)
    gallery = open_index(tmp_path / "index").gallery
    assert {gallery.videos[item].label for item in gallery.items} == {"b"}
    assert "1 file has gone" in capsys.readouterr().err


def test_files_that_cannot_be_read_are_told_once(start, make_video, tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "videos" / "1.mp4")
    done = start()
    next(done)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 5:
            make_video(tmp_path / "videos" / "2.mp4", frames=30)

    monkeypatch.setattr(watch.time, "sleep", sleep)
    assert next(done).videos == 2
    assert capsys.readouterr().err.count("bad.mp4") == 1


def test_what_cannot_be_read_any_more_leaves_the_index(start, make_video, tmp_path, capsys):
    first = make_video(tmp_path / "videos" / "1.mp4", frames=24)
    make_video(tmp_path / "videos" / "2.mp4", frames=30)
    done = start()
    next(done)
    first.write_bytes(b"no video")
    summary = next(done)
    assert (summary.videos, [row["path"] for row in summary.broken]) == (1, [str(first)])
    assert "1.mp4: is damaged" in capsys.readouterr().err


def test_a_file_that_is_being_written_has_not_gone(
    start, make_video, tmp_path, monkeypatch, capsys
):
    first = make_video(tmp_path / "videos" / "1.mp4", frames=24)
    make_video(tmp_path / "videos" / "2.mp4", frames=30)
    done = start(prune=True)
    next(done)
    whole, pauses = first.read_bytes(), []

    def sleep(seconds):
        pauses.append(seconds)
        first.write_bytes(whole[: 100 * len(pauses)])
        if len(pauses) == 1:
            monkeypatch.setattr(settled, "WAIT", 1e9)
        if len(pauses) == 5:
            first.unlink()

    monkeypatch.setattr(watch.time, "sleep", sleep)
    assert next(done).removed == 1
    assert len(pauses) == 5
    assert capsys.readouterr().err.count("1 file has gone") == 1


@pytest.mark.parametrize("replaced", [True, False])
def test_an_index_that_another_process_changes_gets_everything_again(
    start, make_video, toy_encoder, tmp_path, replaced, capsys
):
    first = make_video(tmp_path / "videos" / "1.mp4", frames=24)
    make_video(tmp_path / "videos" / "2.mp4", frames=30)
    done = start()
    assert next(done).videos == 2
    if replaced:
        build_index(toy_encoder(), [probe(str(first))], tmp_path / "index", overwrite=True)
    else:
        shutil.rmtree(tmp_path / "index")
    again = next(done)
    assert (again.added, again.videos) == (1 if replaced else 2, 2)
    assert "another process changed the index" in capsys.readouterr().err


def test_an_index_of_another_network_is_told_once(
    start, make_video, toy_encoder, tmp_path, monkeypatch, capsys
):
    first = make_video(tmp_path / "videos" / "1.mp4", frames=24)
    done = start()
    next(done)
    build_index(toy_encoder(1), [probe(str(first))], tmp_path / "index", overwrite=True)
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 5:
            raise InterruptedError

    monkeypatch.setattr(watch.time, "sleep", sleep)
    with pytest.raises(InterruptedError):
        next(done)
    assert capsys.readouterr().err.count("another process changed the index") == 1


def test_another_builder_is_waited_for(start, make_video, tmp_path, monkeypatch, capsys):
    make_video(tmp_path / "videos" / "1.mp4", frames=24)
    done = start()
    next(done)
    make_video(tmp_path / "videos" / "2.mp4", frames=30)
    with ExitStack() as other:
        other.enter_context(locked(tmp_path / "index", "vidssl index"))
        pauses = []

        def sleep(seconds):
            pauses.append(seconds)
            if len(pauses) == 4:
                other.close()

        monkeypatch.setattr(watch.time, "sleep", sleep)
        assert next(done).added == 1
    assert capsys.readouterr().err.count("it is waited for") == 1


def test_a_busy_index_is_refused_before_anything_is_decoded(
    toy_encoder, make_video, tmp_path, monkeypatch
):
    make_video(tmp_path / "videos" / "1.mp4", frames=24)
    index = tmp_path / "index"
    run = IndexRun(
        toy_encoder(), str(tmp_path / "videos"), DataOptions(), "all", index,
        overwrite=False, prune=False, settings={},
    )  # fmt: skip
    monkeypatch.setattr(DataOptions, "open", lambda *_, **__: pytest.fail("DATA is read"))
    with locked(index, "vidssl index"), pytest.raises(BusyError, match="is writing here"):
        run.add()
    with locked(index / "shard-1-of-2", "it"), pytest.raises(BusyError, match="shard 1/2"):
        run.add_shard(Shard(1, 2))


def test_a_disk_that_is_not_mounted_for_a_while_changes_nothing(
    start, make_video, tmp_path, monkeypatch, capsys
):
    make_video(tmp_path / "videos" / "1.mp4", frames=24)
    done = start(prune=True)
    next(done)
    os.rename(tmp_path / "videos", tmp_path / "away")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            os.rename(tmp_path / "away", tmp_path / "videos")
        if len(pauses) == 6:
            make_video(tmp_path / "videos" / "2.mp4", frames=30)

    monkeypatch.setattr(watch.time, "sleep", sleep)
    summary = next(done)
    assert (summary.added, summary.videos) == (1, 2)
    assert capsys.readouterr().err.count("it stays as it is") == 1


def test_an_empty_folder_is_waited_for(start, make_video, tmp_path, monkeypatch):
    done = start()
    monkeypatch.setattr(
        watch.time, "sleep", lambda _: make_video(tmp_path / "videos" / "1.mp4", frames=24)
    )
    assert next(done).added == 1


def test_a_folder_of_which_nothing_can_be_read_is_an_error(start, tmp_path):
    done = start()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UsageError, match="none of the new files"):
        next(done)


@pytest.mark.slow
def test_the_command_runs_until_it_is_stopped(toy_encoder, make_video, tmp_path):
    make_video(tmp_path / "videos" / "1.mp4")
    os.utime(tmp_path / "videos" / "1.mp4", (1, 1))
    toy_encoder().export(tmp_path / "model")
    command = ["index", "model", "--data", "videos", "--out", "index", "--watch", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vidssl_cli", *command], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert json.loads(process.stdout.readline())["added"] == 1
        partial = tmp_path / "videos" / "2.mp4"
        whole = make_video(frames=30).read_bytes()
        partial.write_bytes(whole[: len(whole) // 2])
        time.sleep(1)
        shutil.copyfile(make_video(frames=30), partial)  # as if written to the end
        assert json.loads(process.stdout.readline())["videos"] == 2
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert rest == ""  # a second document would be no line of JSON
    assert "left out" not in told
