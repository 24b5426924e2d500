"""What cameras, encoders and cutting tools do to files every day: whole, or usable by name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from vidssl_cli.base.errors import MediaError
from vidssl_cli.data.frame_rate import at_rate, position_at, seconds_at, stored_frames
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import JpegEncoder
from vidssl_cli.media.probe import probe


def remux(source, path, change: Callable[[list], list]):
    """Write a file again with other packets, which are (bytes, pts, dts, is keyframe)."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in old.demux() if p.size]
        for content, pts, dts, key in change(packets):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, old.streams.video[0].time_base
            packet.pts, packet.dts, packet.is_keyframe = pts, dts, key
            new.mux(packet)
    return path


def exact(video):
    """Check that frames reached by seeking are those of a decode from the start."""
    every = read_frames(replace(video, keyframes=()), range(video.frames), (48, 64))
    for start in (0, *(number for number, _ in video.keyframes), video.frames - 1):
        last = min(start + 9, video.frames)
        np.testing.assert_array_equal(
            read_frames(video, range(start, last), (48, 64)), every[start:last]
        )
    return every


H264_OPEN = "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3:b-pyramid=none"
OPEN_GROUPS = {
    "h264": {"options": {"x264-params": H264_OPEN}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none"}},
    "mpeg2": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
}


@pytest.mark.parametrize("kind", OPEN_GROUPS)
def test_a_cut_at_an_open_group_is_whole(make_video, tmp_path, kind, read_numbers):
    """Pictures at the start that need what was cut off are left out by every player."""

    def cut(packets):
        second = [number for number, packet in enumerate(packets) if packet[3]][1]
        return [(c, pts - 480, dts - 480, key) for c, pts, dts, key in packets[second:]]

    source = make_video(frames=60, suffix=".mkv", **OPEN_GROUPS[kind])
    video = probe(str(remux(source, tmp_path / "cut.mkv", cut)))
    assert video.problems == ()
    assert video.frames in (48, 60 - 12 - 1)
    assert read_numbers(exact(video))[0] in (11, 12)


NOT_CODED = b"\0\0\1\xb6\x52\x4f"
"""Of MPEG-4: a head that says that no picture follows."""


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
def test_pictures_that_an_encoder_dropped_are_not_missing(make_video, tmp_path, suffix):
    def drop(packets):
        return [
            (NOT_CODED if number % 5 == 3 and not key else content, pts, dts, key)
            for number, (content, pts, dts, key) in enumerate(packets)
        ]

    source = make_video(frames=40, codec="mpeg4", suffix=suffix, options={"g": "10"})
    video = probe(str(remux(source, tmp_path / f"dropped{suffix}", drop)))
    assert (video.problems, video.frames) == ((), 32)
    assert video.timing == "variable"
    assert video.duration == pytest.approx(40 / 25)
    assert seconds_at(video, np.array([3])) == pytest.approx(4 / 25)
    exact(video)


def test_two_pictures_in_one_packet_and_a_byte_in_the_next_are_whole(make_video, tmp_path):
    """DivX and XviD pack a B-frame with the picture after it, because AVI knows no reordering."""

    def pack(packets):
        kept = [(b"\0\0\1\xb2DivX503b1393p" + packets[0][0], *packets[0][1:])]
        for two, one in zip(packets[1::2], packets[2::2], strict=False):
            kept.append((two[0] + one[0], two[1], two[2], two[3]))
            kept.append((b"\x7f", one[1], one[2], False))
        return kept

    source = make_video(frames=41, codec="mpeg4", suffix=".mkv", options={"g": "99", "bf": "1"})
    path = remux(source, tmp_path / "packed.mkv", pack)
    video = probe(str(path))
    assert video.problems == ()
    assert video.frames >= 39
    exact(video)


def patch(path, box, offset, form, value):
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(box) + 4 + offset, value)
    path.write_bytes(content)


def test_a_duration_in_the_wrong_unit_is_not_believed(make_video, tmp_path):
    """Browsers write it in the unit of the movie, 30 times short."""
    path = make_video(tmp_path / "a.mp4", frames=30)
    patch(path, b"mdhd", 16, ">I", 15_360 // 30)
    video = probe(str(path))
    assert (video.problems, video.frames, video.duration) == ((), 30, 30 / 25)


def test_an_edit_list_may_play_a_part_again(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=30, options={"g": "10", "bf": "0"})
    content = bytearray(path.read_bytes())
    start = content.index(b"elst") - 4
    edits = [struct.pack(">IiI", 400, 0, 1 << 16)] * 3
    box = struct.pack(">I4sII", 16 + 36, b"elst", 0, 3) + b"".join(edits)
    grown = len(box) - int.from_bytes(content[start : start + 4])
    content[start : start + int.from_bytes(content[start : start + 4])] = box
    for parent in (b"edts", b"trak", b"moov"):  # which lie behind the pictures
        place = content.index(parent) - 4
        struct.pack_into(">I", content, place, int.from_bytes(content[place : place + 4]) + grown)
    path.write_bytes(content)
    video = probe(str(path))
    assert (video.problems, video.frames, video.declared) == ((), 30, 30)
    exact(video)


def test_jpegs_one_after_the_other_are_a_video(tmp_path):
    encode = JpegEncoder((48, 64), 5)
    pictures = [encode(np.full((3, 48, 64), 20 * number, np.uint8)) for number in range(10)]
    path = tmp_path / "bare.mjpeg"
    path.write_bytes(b"".join(pictures))
    video = probe(str(path))
    assert (video.frames, video.problems) == (10, ())
    np.testing.assert_allclose(exact(video).mean((1, 2, 3)), np.arange(10) * 20, atol=2)


@pytest.mark.parametrize("lengths", [(25, 3), (3, 25)])
def test_of_several_tracks_the_one_with_most_frames_is_the_video(tmp_path, lengths):
    """Phones keep some stills of high quality beside a short video."""
    path, sizes = tmp_path / "photo.mp4", (48, 96)
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", 25) for _ in sizes]
        for stream, size in zip(streams, sizes, strict=True):
            stream.height, stream.width, stream.pix_fmt = size, size, "yuv420p"
        for stream, size, frames in zip(streams, sizes, lengths, strict=True):
            for time in range(frames):
                frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 9 * time, np.uint8))
                frame.pts, frame.time_base = time, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    video = probe(str(path))
    assert (video.frames, video.problems) == (25, ())
    assert (video.track, video.width) == ((0, 48) if lengths[0] == 25 else (1, 96))
    assert exact(video)[10].mean() == pytest.approx(90, abs=3)
    assert read_frames(replace(video, track=None), [0], (8, 8)).shape == (1, 8, 8, 3)
    with pytest.raises(MediaError, match="has no video stream 7; scan it again"):
        read_frames(replace(video, track=7), [0], (8, 8))


def test_sound_may_come_before_several_tracks(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", 48_000)
        streams = [container.add_stream("mpeg4", 25) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for stream, frames in zip(streams, (3, 9), strict=True):
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number, np.uint8))
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        container.mux(sound.encode(silence()))
    video = probe(str(path))
    assert (video.frames, video.track, video.problems) == (9, 2, ())


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_jpegs_with_exif_are_shown_upright(tmp_path, orientation, turns):
    """PyAV does not know Exif, nor the second view of spatial video, and raises for all it has."""
    stored = np.zeros((3, 48, 64), np.uint8)
    stored[0, :, :32] = 255
    content = JpegEncoder((48, 64), 5)(stored)
    entry = struct.pack("<HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry
    picture = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    path = tmp_path / "camera.mjpeg"
    path.write_bytes(3 * picture)
    video = probe(str(path))
    upright = np.rot90(stored.transpose(1, 2, 0), turns)
    assert (video.frames, video.problems) == (3, ())
    assert (video.height, video.width) == upright.shape[:2]
    shown = read_frames(video, [0], upright.shape[:2])[0]
    assert np.abs(shown.astype(int) - upright).mean() < 3


def test_seek_points_of_an_mp4_in_fragments_are_found_by_who_opens_it_anew(tmp_path):
    """What has read later fragments, as a scan has, seeks to others."""
    path = tmp_path / "dash.mp4"
    flags = {"movflags": "dash+frag_keyframe+delay_moov", "min_frag_duration": "1000000"}
    with av.open(str(path), "w", options=flags) as container:
        stream = container.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"x264-params": "keyint=20:min-keyint=20:scenecut=0:bframes=2:open-gop=0"}
        for number in range(105):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = probe(str(path))
    assert (video.frames, video.problems) == (105, ())
    assert video.keyframes
    exact(video)


def test_a_comment_behind_the_last_picture_of_a_gif_is_no_picture(tmp_path):
    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", 10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb8"
        for shade in range(0, 250, 50):
            picture = np.full((48, 64, 3), shade, np.uint8)
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="rgb8"))
            )
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x21\xfe\x04made\0" + content[-1:])
    video = probe(str(path))
    assert (video.frames, video.problems) == (5, ())


def join(make_video, path, *times):
    """Join recordings, each from its own first tick of 1/25 s, as `cat` does."""
    parts = [make_video(frames=50, suffix=".ts", times=range(t, t + 50)) for t in times]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("starts", [(0, 0), (0, 90_000), (0, 1500, 0)])
def test_joined_recordings_are_as_long_as_their_parts(make_video, tmp_path, starts, read_numbers):
    video = probe(str(join(make_video, tmp_path / "joined.ts", *starts)))
    frames = 50 * len(starts)
    assert (video.frames, video.fps, video.duration) == (frames, 25, frames / 25)
    assert video.timing == "jumps"
    assert any(problem.startswith("time: its timestamps jump") for problem in video.problems)
    assert read_numbers(exact(video)) == [*range(50)] * len(starts)
    assert stored_frames(video, 12.5, np.arange(frames // 2)).tolist() == [*range(1, frames, 2)]


def test_where_the_size_of_frames_changes_all_are_scaled_to_that_of_the_first(make_video, tmp_path):
    wide = make_video(frames=50, suffix=".ts", size=(48, 64), options={"g": "10"})
    high = make_video(frames=50, suffix=".ts", size=(64, 48), times=range(50, 100))
    path = tmp_path / "joined.ts"
    path.write_bytes(wide.read_bytes() + high.read_bytes())
    video = probe(str(path))
    assert (video.height, video.width, video.frames) == (48, 64, 100)
    every = read_frames(video, range(100), 24)
    np.testing.assert_array_equal(read_frames(video, range(60, 100), 24), every[60:])


def test_frames_a_tick_apart_get_a_rate_that_a_manifest_may_hold(make_video, tmp_path):
    path = make_video(tmp_path / "ticks.mp4", frames=20, options={"bf": "0"})
    patch(path, b"mdhd", 12, ">I", 10_000_000)
    content = bytearray(path.read_bytes())
    place = content.index(b"stts") + 8
    for entry in range(struct.unpack_from(">I", content, place)[0]):
        struct.pack_into(">I", content, place + 8 + 8 * entry, 1)
    path.write_bytes(content)
    video = probe(str(path))
    assert video.frames == 20
    assert (video.fps, video.duration) == (25, 0.8)
    assert "25 fps are assumed" in video.problems[-1]


def test_seconds_follow_the_timestamps_where_the_rate_varies(make_video):
    """A screen that stood still at 2 frames a second for ten seconds, then 30 a second."""
    times = [*range(0, 300, 15), *range(300, 360)]
    video = probe(str(make_video(frames=80, fps=30, times=times)))
    assert video.timing == "variable"
    assert video.duration == pytest.approx(12, abs=0.02)
    assert seconds_at(video, np.array([0, 10, 20, 50])) == pytest.approx([0, 5, 10, 11], abs=0.01)
    assert position_at(video, np.array([5.0, 9.99, 11.0])) == pytest.approx([10, 20, 50], abs=0.3)
    shown = stored_frames(video, 10, np.arange(at_rate(video, 10).frames))
    assert len(shown) == 120
    assert shown[[0, 49, 50, 99, 100, 110]].tolist() == [0, 9, 10, 19, 21, 51]


def write_sound(path, form, codec, frames):
    """Write a second of sound with pictures; ``codec`` is that of the pictures."""
    with av.open(str(path), "w", format=form) as container:
        pictures = container.add_stream(codec, 25)
        pictures.height, pictures.width = 48, 64
        pictures.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound = container.add_stream("libopus", 48_000)
        sound.layout = "mono"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        resampler = av.AudioResampler(sound.format.name, "mono", 48_000, sound.frame_size)
        for frame in resampler.resample(silence()):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def silence():
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.int16), "s16", "mono")
    frame.rate = 48_000
    return frame


@pytest.mark.parametrize(
    ("form", "codec"),
    [("matroska", "mjpeg"), ("mp4", "mjpeg"), ("mp4", "libx264"), ("ogg", "libvpx")],
)
def test_sound_with_one_picture_that_no_mark_calls_a_cover_is_no_video(tmp_path, form, codec):
    cover = write_sound(tmp_path / "cover", form, codec, frames=1)
    with pytest.raises(MediaError, match="is sound with a cover picture, not a video"):
        probe(str(cover))
    assert probe(str(write_sound(tmp_path / "two", form, codec, frames=2))).frames == 2


def test_a_video_with_sound_of_which_one_picture_is_left_is_no_cover(tmp_path):
    path = write_sound(tmp_path / "a", "matroska", "mjpeg", frames=9)
    content = path.read_bytes()
    second = content.index(b"\xff\xd8\xff", content.index(b"\xff\xd8\xff") + 3)
    path.write_bytes(content[: second - 8])
    video = probe(str(path))
    assert video.frames == 1
    assert video.problems


@pytest.mark.parametrize("codec", ["libx264", "gif"])
def test_one_picture_in_a_format_of_videos_is_a_video_of_one_frame(tmp_path, codec):
    path = tmp_path / ("a.gif" if codec == "gif" else "a.mp4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, 25)
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    video = probe(str(path))
    assert (video.frames, video.problems) == (1, ())
    assert read_frames(video, [0], (24, 32)).shape == (1, 24, 32, 3)


def test_an_avif_is_a_video_of_one_frame(real_data):
    video = probe(str(real_data / "odd" / "torchcodec_rgba.avif"))
    assert (video.frames, video.problems) == (1, ())
