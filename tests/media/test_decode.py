"""Frame k is the same picture however it is reached; what cannot be read says why."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.media import decode
from vidssl_cli.media.decode import packets, read_frames, read_planes
from vidssl_cli.media.encode import JpegEncoder
from vidssl_cli.media.probe import probe

H264_OPEN = "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3:b-pyramid=none"
KINDS = {
    "h264 short": {"options": {"g": "10", "bf": "0"}},
    "h264 long": {"options": {"g": "250", "bf": "3"}},
    "h264 b-frames": {"options": {"g": "12", "bf": "3"}},
    "h264 open": {"options": {"x264-params": H264_OPEN}},
    "h264 mkv": {"options": {"g": "12", "bf": "2"}, "suffix": ".mkv"},
    "h264 ts": {"options": {"g": "12", "bf": "2"}, "suffix": ".ts"},
    "h264 flv": {"options": {"g": "12", "bf": "2"}, "suffix": ".flv"},
    "hevc": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}},
    "xvid avi": {"codec": "mpeg4", "suffix": ".avi", "options": {"g": "12"}},
    "xvid b-frames avi": {"codec": "mpeg4", "suffix": ".avi", "options": {"g": "12", "bf": "2"}},
    "mpeg1": {"codec": "mpeg1video", "suffix": ".mpg", "options": {"g": "12", "bf": "2"}},
    "mpeg2 ts": {"codec": "mpeg2video", "suffix": ".ts", "options": {"g": "12", "bf": "2"}},
    "vp9": {"codec": "libvpx-vp9", "suffix": ".webm", "options": {"g": "12", "cpu-used": "8"}},
    "raw h264": {"options": {"g": "12"}, "suffix": ".h264"},
    "variable": {"options": {"g": "12"}, "times": [n * n // 8 + n for n in range(60)]},
}


@pytest.fixture(params=KINDS, scope="module")
def kind(request, make_video):
    return probe(str(make_video(frames=60, **KINDS[request.param])))


def test_every_frame_is_where_its_number_says(kind, read_numbers):
    assert (kind.frames, kind.problems) == (60, ())
    assert read_numbers(read_frames(kind, range(60), (48, 64))) == list(range(60))


def test_a_seek_gives_the_picture_of_a_decode_from_the_start(kind):
    whole = read_frames(replace(kind, keyframes=()), range(60), (24, 32))
    draw = random.Random(0)
    for count in (1, 1, 1, 2, 3, 8):
        frames = sorted(draw.sample(range(60), count))
        np.testing.assert_array_equal(read_frames(kind, frames, (24, 32)), whole[frames])
    for number, _ in kind.keyframes:
        near = [n for n in (number - 1, number, number + 1) if 0 <= n < 60]
        np.testing.assert_array_equal(read_frames(kind, near, (24, 32)), whole[near])


def test_timestamps_out_of_order_do_not_mislead(make_video, read_numbers, tmp_path):
    """What XVID files with B-frames look like through av, made without B-frames."""
    source = make_video(frames=40, codec="mpeg4", suffix=".avi", options={"g": "1"})
    path = tmp_path / "swapped.mkv"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux() if p.size):
            packet.stream = stream
            packet.pts, packet.dts = number ^ 1, number - 2
            new.mux(packet)
    video = probe(str(path))
    assert video.timing == "out of order"
    assert len(video.keyframes) == 4
    for frames in ([39], [17, 18], [8, 16, 33]):
        assert read_numbers(read_frames(video, frames, (48, 64))) == frames


def test_frames_that_lie_between_are_jumped_over(make_video, monkeypatch):
    video = probe(str(make_video(frames=60, options={"g": "10", "bf": "0"})))
    decoded = []
    honest = decode.good_frames

    def spy(*arguments):
        for frame in honest(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(decode, "good_frames", spy)
    read_frames(video, [1, 55], (24, 32))
    assert len(decoded) < 20


@pytest.mark.parametrize(
    ("resize", "shape"),
    [((30, 50), (30, 50)), (24, (24, 32)), (96, (96, 128)), ((1, 1), (1, 1))],
)
def test_sizes(make_video, resize, shape):
    pictures = read_frames(Video(str(make_video())), [0, 5], resize)
    assert pictures.shape == (2, *shape, 3)
    assert pictures.dtype == np.uint8


@pytest.mark.parametrize("width", [64, 72, 168])
def test_a_size_that_needs_no_scaling_gives_whole_pictures(make_video, width):
    path = str(make_video(size=(48, width)))
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        expected = frame.reformat(format="rgb24").to_ndarray()
    np.testing.assert_array_equal(read_frames(Video(path), [0], (48, width))[0], expected)


def test_planes_are_the_colours_of_pictures(make_video):
    planes = read_planes(Video(str(make_video())), [0, 5], (24, 32))
    pictures = read_frames(Video(str(make_video())), [0, 5], (24, 32))
    np.testing.assert_array_equal(planes.transpose(0, 2, 3, 1), pictures)


def test_colours_are_red_green_blue(make_video):
    left, right = read_frames(Video(str(make_video())), [0], (48, 64))[0, 36, [16, 48]].astype(int)
    np.testing.assert_allclose(left, [255, 0, 0], atol=12)
    np.testing.assert_allclose(right, [0, 0, 255], atol=12)


TURNS = {
    "none": ((1, 0, 0, 1), lambda picture: picture),
    "clockwise": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "counter-clockwise": ((0, -1, 1, 0), lambda picture: np.rot90(picture, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    "anti-transposed": ((0, -1, -1, 0), lambda picture: np.rot90(picture.transpose(1, 0, 2), 2)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_turned_and_mirrored_videos_are_shown_upright(make_video, turn):
    matrix, expected = TURNS[turn]
    upright = expected(read_frames(Video(str(make_video())), [5], (48, 64))[0])
    path = str(make_video(matrix=matrix))
    np.testing.assert_array_equal(read_frames(Video(path), [5], upright.shape[:2])[0], upright)
    video = probe(path)
    assert (video.height, video.width) == upright.shape[:2]
    short = read_frames(video, [5], 24)
    assert short.shape[1:3] == tuple(side // 2 for side in upright.shape[:2])


def reason(call, *arguments):
    with pytest.raises(MediaError) as caught:
        call(*arguments)
    assert caught.value.where
    return str(caught.value)


def lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def resource_fork(path):
    path.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(80))


def playlist(path):
    path.write_text("#EXTM3U\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n")


def list_of_files(path):
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # the name of a socket may not be long


def only_sound(path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def still_picture(path):
    path.write_bytes(JpegEncoder((48, 64), 5)(np.zeros((3, 48, 64), np.uint8)))


def cover_of_sound(path):
    """Write sound with a picture attached, as shops sell it."""
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
        container.mux(cover.encode(picture.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is a folder, not a regular file"),
        (os.mkfifo, "is a pipe, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
        (listening, "is a socket, not a regular file"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("hello"), "no video of a known format"),
        (lfs_pointer, "Git LFS pointer"),
        (resource_fork, "macOS"),
        (playlist, "is a playlist"),
        (list_of_files, "is a playlist"),
        (only_sound, "no video stream"),
        (still_picture, "is a still picture (JPEG), not a video"),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic"), "is a still picture (HEIC)"),
        (lambda path: path.write_bytes(b"ID3\4" + bytes(60)), "is sound (MP3), not a video"),
        (lambda path: path.write_bytes(b"fLaC" + bytes(60)), "is sound (FLAC), not a video"),
        (cover_of_sound, "has no video stream, only a still picture that is attached"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, make_video, make, message):
    make_video(tmp_path / "other.mp4")
    path = tmp_path / "clip.mp4"
    make(path)
    assert message in reason(probe, str(path))
    assert message in reason(read_frames, Video(str(path)), [0], 32)


def test_a_name_is_never_a_protocol(tmp_path, make_video, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "concat:a.mp4")
    assert probe("concat:a.mp4").frames == 24


def test_tags_that_are_not_utf8_are_no_obstacle(tmp_path, make_video):
    path = tmp_path / "tagged.avi"
    source = make_video(codec="mpeg4", suffix=".avi")
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata["title"] = "QQQQQQ"
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in (p for p in old.demux() if p.size):
            packet.stream = stream
            new.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"QQQQQQ", b"\xff\xfe\xe9QQQ"))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert probe(str(path)).frames == 24


def test_truncated_files_are_refused_or_counted_right(tmp_path, make_video):
    whole = make_video(frames=60, suffix=".mkv").read_bytes()
    for part in range(1, 20):
        path = tmp_path / f"{part}.mkv"
        path.write_bytes(whole[: len(whole) * part // 20])
        try:
            video = probe(str(path))
        except MediaError:
            continue
        assert video.frames < 60
        read_frames(video, range(video.frames), 32)


def test_a_picture_that_would_fill_the_memory_is_refused(make_video, monkeypatch):
    monkeypatch.setenv("VIDSSL_MAX_PIXELS", "1000")
    message = reason(probe, str(make_video()))
    assert message == "has pictures of 64x48 pixels, more than 1000, which VIDSSL_MAX_PIXELS raises"


def test_asking_past_the_end_names_both_numbers(make_video):
    video = Video(str(make_video()), frames=30)
    message = reason(read_frames, video, [3, 26], 32)
    assert "before frame 26" in message
    assert "30 frames" in message


def test_another_file_in_the_place_of_the_scanned_one_is_noticed(tmp_path, make_video):
    path = tmp_path / "a.mp4"
    make_video(path, frames=60, options={"g": "10"})
    video = probe(str(path))
    make_video(path, frames=60, options={"g": "250", "sc_threshold": "0"})
    assert "scan it again" in reason(read_frames, video, [50], 32)


def test_a_file_of_another_size_than_the_scanned_one_is_refused(tmp_path, make_video):
    path = make_video(tmp_path / "a.mp4", frames=60)
    video = probe(str(path))
    make_video(path, frames=70)
    message = reason(read_frames, video, [0], 32)
    assert f"had {video.bytes} when it was scanned; scan it again" in message


def test_a_demuxer_is_closed_by_whoever_leaves_it():
    """PyAV's own keeps 150 bytes for ever where it is just let go."""

    class Demuxer:
        closed = False

        def __iter__(self):
            return self

        def __next__(self):
            return "packet"

        def close(self):
            self.closed = True

    demuxer = Demuxer()
    for _ in packets(SimpleNamespace(demux=lambda streams: demuxer), None):
        break
    assert demuxer.closed


def test_damage_that_came_after_the_scan_is_an_error(tmp_path, make_video):
    path = make_video(tmp_path / "a.avi", frames=60, codec="mpeg4", options={"g": "12"})
    video = probe(str(path))
    content = bytearray(path.read_bytes())
    start = content.index(b"movi00dc") + 300  # in the first picture
    content[start : start + 60] = b"\xff" * 60
    path.write_bytes(content)
    assert "is damaged at frame 2 (damaged frames)" in reason(read_frames, video, range(60), 32)


def test_damage_that_came_after_the_scan_is_met_after_a_seek_too(tmp_path, make_video):
    path = make_video(tmp_path / "a.avi", frames=60, codec="mpeg4", options={"g": "12"})
    video = probe(str(path))
    assert 48 in dict(video.keyframes)
    content = bytearray(path.read_bytes())
    start = content.index(b"movi00dc") + 4
    for _ in range(48):
        (size,) = struct.unpack_from("<I", content, start + 4)
        start = content.index(b"00dc", start + 8 + size)
    content[start + 108 : start + 128] = b"\xff" * 20
    path.write_bytes(content)
    read_frames(video, [0], 32)
    assert "is damaged at frame 48" in reason(read_frames, video, [0, 50], 32)


@pytest.mark.parametrize("frames", [[], [3, 2], [1, 1]])
def test_frames_must_ascend(make_video, frames):
    with pytest.raises(ValueError, match="ascending"):
        read_frames(Video(str(make_video())), frames, 32)


def test_threads_do_not_disturb_one_another(make_video):
    videos = [probe(str(make_video(frames=40, options={"g": str(g)}))) for g in (5, 10, 40)] * 8
    alone = [read_frames(video, [3, 20, 37], 32) for video in videos[:3]] * 8
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda video: read_frames(video, [3, 20, 37], 32), videos))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_file_stays_open(make_video, tmp_path):
    good, bad = Video(str(make_video())), tmp_path / "bad.mp4"
    shutil.copyfile(good.path, bad)
    bad.write_bytes(bad.read_bytes()[:1500])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_frames(good, [0], 32)
        reason(read_frames, Video(str(bad)), [0], 32)
    assert len(os.listdir("/proc/self/fd")) == before


REAL = [
    "ucf101/UCF-101/BabyCrawling/v_BabyCrawling_g08_c01.avi",
    "ucf101/UCF-101/Punch/v_Punch_g01_c01.avi",
    "torchvision9/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
    "torchvision9/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    "torchvision9/SOX5yA1l24A.mp4",
    "odd/grid_lwbsza.mpg",
    "odd/imageio_newtonscradle.gif",
    "odd/streamio_awesome movie.mov",
    "odd/torchcodec_nasa_13013_hdr.mp4",
    "odd/torchcodec_av1_video.mkv",
]


@pytest.mark.parametrize("name", REAL)
def test_real_videos_seek_exactly(real_data, name):
    video = probe(str(real_data / name))
    whole = read_frames(replace(video, keyframes=()), range(video.frames), (32, 40))
    draw = random.Random(0)
    for count in (1, 1, 2, 16):
        frames = sorted(draw.sample(range(video.frames), count))
        np.testing.assert_array_equal(read_frames(video, frames, (32, 40)), whole[frames])


@pytest.mark.parametrize("name", ["decord_video_270.mov", "streamio_ios9.mov"])
def test_phone_videos_are_turned_as_av_says(real_data, name):
    path = str(real_data / "odd" / name)
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        turn, height, width = frame.rotation // 90, frame.height, frame.width
    size = (height, width) if turn % 2 == 0 else (width, height)
    shown = read_frames(Video(path), [0], size)[0]
    stored = VideoReformatter().reformat(frame, format="rgb24").to_ndarray()
    difference = np.abs(shown.astype(int) - np.rot90(stored, turn)).mean()
    assert turn
    assert difference < 1
