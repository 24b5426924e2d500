"""Packed sets: the source's frames by the source's numbers, checked, taken everywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidssl_cli.base.errors import (
    DamagedFileError,
    MediaError,
    NoRoomError,
    UsageError,
    VidsslError,
)
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Augment, Input
from vidssl_cli.data import pack_parts, pack_video
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.manifest import digest, write_manifest
from vidssl_cli.data.order import Order
from vidssl_cli.data.pack import pack
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.data.scan import open_data
from vidssl_cli.files.locks import locked
from vidssl_cli.media import packed
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.samplers.hooks import Pace

SIZE = (24, 32)
FORMATS = ["compact", "raw"]


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    """Let every test check digests as a process of its own would."""
    monkeypatch.setattr(packed, "_intact", set())


@pytest.fixture
def sources(make_video, tmp_path):
    """Return four videos of different lengths with names of every kind."""
    names = {"train": (9, 24), "test": (17, 30)}
    return [
        replace(
            probe(str(make_video(tmp_path / "data" / split / f"{frames}.mp4", frames=frames))),
            label=f"{frames} frames",
            split=split,
            group="g1",
        )
        for split, lengths in names.items()
        for frames in lengths
    ]


def vidssl(capfd, *arguments):
    """Run a command line; return its status and what it printed."""
    status = run(app, [str(argument) for argument in arguments])
    return status, *capfd.readouterr()


def psnr(one, other):
    return 10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9))


@pytest.mark.parametrize("form", FORMATS)
def test_frames_keep_their_numbers(sources, tmp_path, read_numbers, form):
    pack(sources, tmp_path / "set", resize=(48, 64), form=form)
    for video in open_data(tmp_path / "set")[0]:
        frames = [0, 3, 4, video.frames - 1]
        assert read_numbers(read_frames(video, frames, (48, 64))) == frames


def test_raw_pictures_are_those_of_the_source(sources, tmp_path):
    made = pack(sources, tmp_path / "set", resize=SIZE, form="raw")
    for source, video in zip(sources, made.videos, strict=True):
        frames = range(0, source.frames, 3)
        expected = read_frames(source, frames, SIZE)
        np.testing.assert_array_equal(read_frames(video, frames, SIZE), expected)


@pytest.mark.parametrize("width", [170, 171, 172, 176])
def test_compact_pictures_lose_little_in_any_column(tmp_path, width):
    ramp = np.linspace(0, 1, 320)
    picture = np.stack(np.broadcast_arrays(ramp * 255, ramp[::-1] * 255, ramp[:240, None] * 200), 2)
    write_mp4(tmp_path / "a.mp4", np.repeat(picture.astype(np.uint8)[None], 4, 0), 25, crf=10)
    source = probe(str(tmp_path / "a.mp4"))
    video = pack([source], tmp_path / "set", resize=(128, width)).videos[0]
    one, other = (read_frames(v, [1, 3], (128, width)) for v in (source, video))
    assert psnr(one, other) > 38
    assert np.abs(one.astype(int) - other).mean((0, 1, 3)).max() < 8


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("resize", "shape"), [((12, 16), (12, 16)), (16, (16, 21)), (24, SIZE)])
def test_smaller_pictures_are_made_of_the_packed_ones(sources, tmp_path, form, resize, shape):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, form=form).videos[0]
    pictures = read_frames(video, [2, 5], resize)
    assert pictures.shape == (2, *shape, 3)
    assert psnr(pictures, read_frames(sources[0], [2, 5], resize)) > 20


def test_larger_pictures_are_refused_with_a_hint(sources, tmp_path):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE).videos[0]
    with pytest.raises(UsageError, match="48x64 are wanted, but 24x32 were packed") as caught:
        read_frames(video, [0], (48, 64))
    assert "input.resize" in caught.value.hint


def test_a_short_side_keeps_each_video_in_proportion(make_video, tmp_path):
    upright = probe(str(make_video(size=(64, 48))))
    wide = probe(str(make_video(size=(48, 96))))
    made = pack([upright, wide], tmp_path / "set", resize=24)
    sizes = [(video.packed.height, video.packed.width) for video in made.videos]
    assert sizes == [(32, 24), (24, 48)]


def test_frames_that_are_not_there_are_the_videos_fault(sources, tmp_path):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE).videos[0]
    with pytest.raises(MediaError, match="ends before frame 9"):
        read_frames(video, [9], SIZE)


def test_rows_keep_what_the_source_said(sources, tmp_path):
    pack(sources, tmp_path / "set", resize=SIZE)
    found, broken = open_data(tmp_path / "set")
    assert [replace(video, packed=None) for video in found] == sources
    assert not broken
    about = json.loads((tmp_path / "set" / "pack.json").read_text())
    assert about["source"] == digest(sources)
    assert about["settings"] == {"format": "compact", "resize": list(SIZE), "quality": 5}
    assert {"vidssl", "av", "libavcodec"} <= about["made_by"].keys()


def test_a_set_may_be_moved_and_be_without_its_source(sources, tmp_path):
    before = pack(sources, tmp_path / "set", resize=SIZE).videos[1]
    pictures = read_frames(before, [4], SIZE)
    shutil.move(tmp_path / "set", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "data")
    video = open_data(tmp_path / "elsewhere")[0][1]
    np.testing.assert_array_equal(read_frames(video, [4], SIZE), pictures)


def test_a_manifest_of_ones_own_may_point_into_a_set(sources, tmp_path):
    made = pack(sources, tmp_path / "set", resize=SIZE)
    rows = [replace(video, label="other") for video in made.videos[1:3]]
    write_manifest(tmp_path / "mine.jsonl", rows)
    assert open_data(tmp_path / "mine.jsonl")[0] == rows


def test_going_on_repeats_nothing(sources, tmp_path, monkeypatch):
    whole = pack(sources, tmp_path / "whole", resize=SIZE)
    pack(sources[:2], tmp_path / "set", resize=SIZE)
    decoded = count_decoding(monkeypatch)
    made = pack(sources, tmp_path / "set", resize=SIZE)
    assert decoded == {video.path for video in sources[2:]}
    assert [v.packed.sha256 for v in made.videos] == [v.packed.sha256 for v in whole.videos]
    decoded.clear()
    pack(sources[1:], tmp_path / "set", resize=SIZE)
    assert not decoded
    assert len(open_data(tmp_path / "set")[0]) == 3


def count_decoding(monkeypatch):
    """Return a set that the paths of decoded videos will be added to."""
    decoded = set()
    original = pack_video.stream_planes

    def counted(video, frames, resize):
        decoded.add(video.path)
        return original(video, frames, resize)

    monkeypatch.setattr(pack_video, "stream_planes", counted)
    return decoded


KILLED = """
import sys, time
from pathlib import Path
from vidssl_cli.data import pack, pack_parts
from vidssl_cli.data.manifest import read_manifest
pack_parts.PART_FRAMES = 1
original = pack_parts.write_video
def slow(video, file, path, *more):
    packed = original(video, file, path, *more)
    if path.name == "part-00002.bin":
        time.sleep(100)  # its bytes are written, its part is not
    return packed
pack_parts.write_video = slow
pack.pack(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), resize=(24, 32), workers=1)
"""


def test_a_killed_packer_is_followed_by_one_that_goes_on(sources, tmp_path, monkeypatch):
    write_manifest(tmp_path / "m.jsonl", sources)
    out = tmp_path / "set"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "m.jsonl"), str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (out / "part-00001.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(UsageError, match="has not finished"):
        open_data(out)
    decoded = count_decoding(monkeypatch)
    made = pack(sources, out, resize=SIZE)
    assert decoded == {video.path for video in sources[2:]}
    assert [video.path for video in made.videos] == [video.path for video in sources]
    assert not list(out.glob(".tmp-*"))
    assert len(list(out.glob("part-*"))) == 3


def test_parts_are_the_same_whichever_were_finished_before(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("vidssl_cli.data.pack_parts.PART_FRAMES", 30)
    lost = replace(sources[1], path=str(tmp_path / "lost.mp4"), frames=9)
    data = [sources[0], lost, *sources[2:]]
    whole, cut = tmp_path / "whole", tmp_path / "cut"

    def content(out):
        return {path.name: path.read_bytes() for path in out.glob("[!.]*")}

    pack(data, whole, resize=SIZE)
    assert "part-00001.bin" in content(whole)
    write_video = pack_parts.write_video

    def failing_from(stop):
        def write(video, *arguments):
            if video in data[stop:]:
                raise KeyError
            return write_video(video, *arguments)

        return write

    for stop in (2, 3):
        monkeypatch.setattr(pack_parts, "write_video", failing_from(stop))
        with pytest.raises(KeyError):
            pack(data, cut, resize=SIZE, workers=1)
    monkeypatch.setattr(pack_parts, "write_video", write_video)
    pack(data, cut, resize=SIZE)
    assert content(cut) == content(whole)


def test_ctrl_c_does_not_wait_for_the_end_of_a_video(sources, tmp_path, monkeypatch):
    presses = [signal.SIGINT]

    def endless(video, frames, resize):
        if presses:
            os.kill(os.getpid(), presses.pop())
        while True:
            yield np.zeros((3, *SIZE), np.uint8)

    monkeypatch.setattr(pack_video, "stream_planes", endless)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    with pytest.raises(KeyboardInterrupt):
        pack(sources, tmp_path / "set", resize=SIZE, workers=1)
    for _ in range(300):  # nobody waits for a thread that was interrupted while it was started
        if not list((tmp_path / "set").glob(".tmp-*")):
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_damage_is_refused_and_repaired(sources, tmp_path, form, harm):
    out = tmp_path / "set"
    video = pack(sources[:2], out, resize=SIZE, form=form).videos[1]
    pictures = read_frames(video, [8], SIZE)
    part = Path(video.packed.path)
    content = bytearray(part.read_bytes())
    content[video.packed.offset + 50] ^= 1
    part.unlink()
    if harm != "remove":
        part.write_bytes(content if harm == "flip" else content[:-3])
    packed._intact.clear()
    with pytest.raises(DamagedFileError, match="damaged"):
        read_frames(open_data(out)[0][1], [8], SIZE)
    repaired = pack(sources[:2], out, resize=SIZE, form=form).videos[1]
    np.testing.assert_array_equal(read_frames(repaired, [8], SIZE), pictures)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_under_a_reader_is_an_error(sources, tmp_path, form):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, form=form).videos[0]
    read_frames(video, [0], SIZE)
    os.truncate(video.packed.path, 100)
    with pytest.raises(DamagedFileError):
        read_frames(video, [8], SIZE)


def test_a_table_that_was_edited_is_refused(sources, tmp_path):
    pack(sources, tmp_path / "set", resize=SIZE)
    table = tmp_path / "set" / "videos.jsonl"
    table.write_text(table.read_text().replace("24 frames", "25 frames"))
    with pytest.raises(DamagedFileError, match="not the table"):
        open_data(tmp_path / "set")
    (tmp_path / "set" / "pack.json").write_text("{")
    with pytest.raises(DamagedFileError):
        open_data(tmp_path / "set")


def test_a_damaged_table_is_made_anew_and_not_believed(sources, tmp_path, capsys):
    out = tmp_path / "set"
    made = pack(sources, out, resize=SIZE).videos
    table = out / "videos.jsonl"
    table.write_text(table.read_text().replace('"frames": 9', '"frames": 8'))
    again = pack(sources, out, resize=SIZE).videos
    assert [video.frames for video in again] == [video.frames for video in made]
    assert "packed anew" in capsys.readouterr().err


def test_a_set_whose_description_is_damaged_is_made_anew(sources, tmp_path, capsys):
    out = tmp_path / "set"
    pack(sources, out, resize=SIZE)
    whole = {path.name: path.read_bytes() for path in out.glob("[!.]*")}
    (out / "pack.json").write_bytes(whole["pack.json"].replace(b"compact", b"COMPACT"))
    pack(sources, out, resize=SIZE)
    assert {path.name: path.read_bytes() for path in out.glob("[!.]*")} == whole
    assert "everything is packed anew" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["appended", "cut", "gone"])
def test_a_part_of_another_size_is_refused_when_the_set_is_opened(sources, tmp_path, harm):
    pack(sources, tmp_path / "set", resize=SIZE)
    (part,) = (tmp_path / "set").glob("*.bin")
    content = part.read_bytes()
    part.unlink()
    if harm != "gone":
        part.write_bytes(content + b"\0" if harm == "appended" else content[:-1])
    with pytest.raises(DamagedFileError, match="bytes") as caught:
        open_data(tmp_path / "set")
    assert caught.value.where == str(part)


def test_a_set_without_its_description_is_damaged(sources, tmp_path):
    pack(sources, tmp_path / "set", resize=SIZE)
    (tmp_path / "set" / "pack.json").unlink()
    with pytest.raises(DamagedFileError, match="missing"):
        open_data(tmp_path / "set")


@pytest.mark.parametrize("form", FORMATS)
def test_a_row_that_claims_more_frames_reads_no_other_videos_bytes(sources, tmp_path, form):
    video = pack(sources, tmp_path / "set", resize=SIZE, form=form).videos[0]
    with pytest.raises(DamagedFileError):
        read_frames(replace(video, frames=video.frames + 1), [video.frames], SIZE)


@pytest.mark.parametrize("place", ["pictures", "flow"])
def test_every_byte_of_a_set_can_be_checked(sources, tmp_path, place):
    video = pack(sources[:1], tmp_path / "set", resize=SIZE, flow="dis").videos[0]
    packed.verify_packed(video)
    kept = video.packed if place == "pictures" else video.packed.flow
    part = Path(video.packed.path)
    content = bytearray(part.read_bytes())
    content[kept.offset + kept.bytes // 2] ^= 1
    part.write_bytes(content)
    packed._intact.clear()
    with pytest.raises(DamagedFileError, match=kept.sha256):
        packed.verify_packed(video)


def test_a_changed_source_is_noticed(sources, tmp_path, make_video):
    out = tmp_path / "set"
    pack(sources, out, resize=SIZE)
    os.utime(sources[0].path, (1, 1))  # the same bytes, copied
    assert len(open_data(out)[0]) == 4
    make_video(Path(sources[1].path), frames=12)
    videos, broken = open_data(out)
    assert len(videos) == 3
    assert broken[0].where == sources[1].path
    assert "not the file that was packed" in str(broken[0])
    fresh = probe(sources[1].path)
    made = pack([sources[0], fresh, *sources[2:]], out, resize=SIZE)
    assert made.videos[1].frames == 12
    assert not open_data(out)[1]


def test_videos_that_do_not_decode_are_told_and_left_out(sources, tmp_path):
    lying = replace(sources[1], frames=99)
    made = pack([sources[0], lying, *sources[2:]], tmp_path / "set", resize=SIZE, workers=1)
    assert [error.where for error in made.broken] == [lying.path]
    found, _ = open_data(tmp_path / "set")
    assert [video.path for video in found] == [v.path for v in sources if v.path != lying.path]
    np.testing.assert_array_equal(  # what follows it in the part is whole
        read_frames(found[1], [5], SIZE),
        read_frames(pack(sources[2:], tmp_path / "other", resize=SIZE).videos[0], [5], SIZE),
    )


READER = """
import sys, zlib
from vidssl_cli.media.decode import read_frames
from vidssl_cli.data.scan import open_data
pictures = [read_frames(video, [1, 7], (24, 32)) for video in open_data(sys.argv[1])[0]]
print(zlib.crc32(b"".join(p.tobytes() for p in pictures)))
"""


def test_threads_and_processes_read_the_same(sources, tmp_path):
    videos = pack(sources, tmp_path / "set", resize=SIZE).videos
    alone = [read_frames(video, [1, 7], SIZE) for video in videos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda video: read_frames(video, [1, 7], SIZE), videos * 8))
    for number, pictures in enumerate(together):
        np.testing.assert_array_equal(pictures, alone[number % len(videos)])
    command = [sys.executable, "-c", READER, str(tmp_path / "set")]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({reader.communicate()[0] for reader in readers}) == 1
    assert not any(reader.returncode for reader in readers)


def test_only_one_packs_at_a_time(sources, tmp_path):
    with (
        locked(tmp_path / "set", "vidssl data pack"),
        pytest.raises(VidsslError, match="another `vidssl data pack`"),
    ):
        pack(sources, tmp_path / "set", resize=SIZE)


def test_what_cannot_be_packed_is_refused(sources, tmp_path):
    out = tmp_path / "set"
    made = pack(sources[:1], out, resize=SIZE)
    with pytest.raises(UsageError, match=r"with format compact, .* not with format raw"):
        pack(sources, out, resize=SIZE, form="raw")
    with pytest.raises(UsageError, match="packed already"):
        pack(made.videos, tmp_path / "again", resize=SIZE)
    with pytest.raises(UsageError, match="something else"):
        pack(sources, tmp_path / "data", resize=SIZE)


def test_a_disk_that_is_too_small_is_noticed_first(sources, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(NoRoomError, match=r"the set; .* bytes are needed, and 1,000 are free"):
        pack(sources, tmp_path / "set", resize=SIZE)
    assert not list((tmp_path / "set").glob("part-*"))


def test_the_command(sources, tmp_path, capfd):
    out = tmp_path / "set"
    arguments = ("data", "pack", tmp_path / "data", "--out", out, "--size", "24x32")
    status, text, told = vidssl(capfd, *arguments, "--json")
    document = json.loads(text)
    assert status == 0
    assert (document["set"], document["videos"], document["broken"]) == (str(out), 4, [])
    assert document["bytes"] == sum(part.stat().st_size for part in out.glob("part-*"))
    assert document["source_bytes"] == sum(os.path.getsize(video.path) for video in sources)
    assert "4 of 4 videos to pack, which will take about" in told
    status, text, told = vidssl(capfd, *arguments)
    assert "4 videos, 0 left out" in text
    assert "to pack" not in told
    assert vidssl(capfd, *arguments[:-1], "24")[0] == 2


def test_sets_have_no_lists(sources, tmp_path, capfd):
    pack(sources, tmp_path / "set", resize=SIZE)
    status, _, told = vidssl(
        capfd, "data", "scan", tmp_path / "set", "--out", tmp_path / "m.jsonl", "--split", "2"
    )
    assert status == 2
    assert "--split means nothing for the packed set" in told


def test_training_sees_the_same_samples(toy_videos, tmp_path):
    """From a raw set they are the same to the bit."""
    settings = Input(resize=SIZE, crop=16)
    packed = pack(toy_videos, tmp_path / "set", resize=SIZE, form="raw").videos
    sampler = Pace(name="pace", views=2, frames=4).build()
    orders = (Order(data, sampler, seed=3, batch_videos=4) for data in (toy_videos, packed))
    pipeline = Pipeline(settings, Augment())
    one, other = (next(Loader(order, pipeline, on_skip=print).epoch(0)) for order in orders)
    assert (one.video == other.video).all()
    assert (one.frames == other.frames).all()
    assert (one.clips == other.clips).all()


def test_commands_take_packed_sets(toy_videos, toy_recipe, tmp_path, capfd):
    videos = [video for video in toy_videos if video.split == "train"]
    recipe = PretrainRecipe.model_validate(toy_recipe())
    pack(toy_videos, tmp_path / "set", resize=recipe.input.resize)
    packed = [video for video in open_data(tmp_path / "set")[0] if video.split == "train"]
    pretrain(recipe, packed, Session(tmp_path / "run", device="cpu"))
    assert digest(packed) != digest(videos)  # other pictures: a run does not go on with them
    status, text, _ = vidssl(
        capfd, "evaluate", tmp_path / "run", "--data", tmp_path / "set", "--evaluator",
        "retrieval", "--json",
    )  # fmt: skip
    assert status == 0, text
    index, page = tmp_path / "index", tmp_path / "hits.html"
    status, text, _ = vidssl(
        capfd, "index", tmp_path / "run", "--data", tmp_path / "set", "--out", index, "--json"
    )
    assert status == 0, text
    status, text, _ = vidssl(capfd, "retrieve", index, "#0", "--gallery", page, "--json")
    assert status == 0, text
    assert page.read_text().count("data:image/webp") > 4
