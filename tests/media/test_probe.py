"""Facts come from decoding, not from headers."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import av
import numpy as np
import pytest

from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.media import probe as module
from vidssl_cli.media.decode import read_planes
from vidssl_cli.media.probe import probe


def test_facts_of_a_plain_file(make_video):
    video = probe(str(make_video(frames=50, fps=25, size=(48, 80))))
    assert (video.frames, video.declared) == (50, 50)
    assert (video.height, video.width) == (48, 80)
    assert (video.fps, video.duration, video.timing) == (25, 2, "steady")
    assert video.label is video.split is video.group is None


def test_a_variable_rate_is_measured(make_video):
    times = [number + number // 10 * 10 for number in range(40)]
    video = probe(str(make_video(frames=40, fps=25, times=times)))
    assert video.timing == "variable"
    assert video.fps == pytest.approx(39 / (69 / 25), rel=0.02)
    assert video.duration == pytest.approx(40 / video.fps)


def test_seek_points_are_keyframes_at_some_distance(make_video):
    every = probe(str(make_video(frames=40, codec="mpeg4", suffix=".avi", options={"g": "1"})))
    assert [number for number, _ in every.keyframes] == [8, 16, 24, 32]


def test_a_seek_that_gives_other_pictures_makes_no_seek_point(make_video, monkeypatch):
    path = str(make_video(frames=40, options={"g": "10", "bf": "0"}))
    assert probe(path).keyframes
    honest = module.decode_from

    def one_too_far(*arguments):
        frames = honest(*arguments)
        next(frames)
        return frames

    monkeypatch.setattr(module, "decode_from", one_too_far)
    assert probe(path).keyframes == ()


def test_a_seek_that_gives_another_colour_makes_no_seek_point(make_video, monkeypatch):
    """Damage to colour alone leaves brightness as it was."""
    path = str(make_video(frames=40, options={"g": "10", "bf": "0"}))
    honest = module.decode_from

    def pale(*arguments):
        for frame in honest(*arguments):
            planes = frame.to_ndarray()
            planes[len(planes) * 2 // 3 :] = 128
            other = av.VideoFrame.from_ndarray(planes, "yuv420p")
            other.pts = frame.pts
            yield other

    monkeypatch.setattr(module, "decode_from", pale)
    assert probe(path).keyframes == ()


def test_too_many_frames_are_refused(make_video, monkeypatch):
    monkeypatch.setenv("VIDSSL_MAX_FRAMES", "20")
    with pytest.raises(MediaError, match="declares 24 frames, more than 20, which VIDSSL_MAX_FR"):
        probe(str(make_video()))
    with pytest.raises(MediaError, match="more than 20 blocks"):
        probe(str(make_video(suffix=".mkv")))  # declares nothing
    with pytest.raises(MediaError, match="more than 20, which"):
        probe(str(make_video(suffix=".ts")))
    monkeypatch.setenv("VIDSSL_MAX_FRAMES", "24")
    assert probe(str(make_video())).frames == 24
    monkeypatch.setenv("VIDSSL_MAX_FRAMES", "many")
    with pytest.raises(UsageError, match="VIDSSL_MAX_FRAMES is 'many'"):
        probe(str(make_video()))


def test_a_video_of_days_is_refused(make_video, monkeypatch):
    times = [number * 25 * 60 for number in range(70)]
    path = str(make_video(frames=70, times=times, suffix=".mkv"))
    assert probe(path).duration == pytest.approx(70 * 60)
    assert probe(path).timing == "steady"
    monkeypatch.setenv("VIDSSL_MAX_HOURS", "1")
    with pytest.raises(MediaError, match=r"lasts 1\.2 hours, more than 1, which VIDSSL_MAX_HOURS"):
        probe(path)


def test_what_decodes_of_a_damaged_file_is_used(real_data):
    video = probe(str(real_data / "odd" / "decord_corrupted.mp4"))
    assert video.frames == 48
    assert video.problems == ("undecodable packets: 1 of 50", "damaged frames: 1 of 50")


def test_decoded_frames_count_where_the_header_says_more(real_data):
    video = probe(str(real_data / "torchvision9" / "RATRACE_wave_f_nm_np1_fr_goo_37.avi"))
    assert (video.frames, video.declared, video.timing) == (72, 73, "out of order")


def damaged(tmp_path, source, change):
    """Write a changed copy of a file."""
    path = tmp_path / f"damaged{source.suffix}"
    content = bytearray(source.read_bytes())
    path.write_bytes(change(content) or content)
    return str(path)


def zero(*places):
    def change(content):
        start, stop = (int(place * len(content)) for place in places)
        content[start:stop] = bytes(stop - start)

    return change


def without(*places):
    def change(content):
        del content[slice(*(int(place * len(content)) for place in places))]

    return change


def unhead(content):
    start = -1
    for _ in range(21):
        start = content.index(b"00dc", start + 1)
    content[start : start + 8] = bytes(8)  # what begins frame 20, and its length


def swell(content):
    content[content.index(b"stsz") + 16 + 4 * 5] = 0x40  # frame 5 takes a gigabyte


def orphan(content):
    """Have the last picture say that it goes on with one before, which there is not."""
    place, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    while place < end:
        last, place = place, place + 4 + struct.unpack_from(">I", content, place)[0]
    content[last + 6] ^= 0x80


@pytest.mark.parametrize(
    ("suffix", "codec", "change", "reason"),
    [
        (".avi", "mjpeg", unhead, "end: has 39 of 40 frames that it lists"),
        (".mov", "mjpeg", swell, "end: its frames take 12% of the time"),
        (".mp4", "libx265", orphan, "packets without a picture: 1 of 40"),
        (".mp4", "libx264", zero(0.4, 0.42), "undecodable packets: [1-9] of 40"),
        (".mkv", "libx264", lambda content: content[:-600], r"cut short: has \d+ bytes"),
        (".mkv", "libx264", zero(0.7, 0.8), "container: its blocks break off at byte"),
        (".webm", "libvpx", without(0.8, 0.9), "its blocks break off at byte|cut short"),
        (".avi", "mpeg4", lambda content: content[:-1500], r"cut short: has \d+ bytes"),
        (".avi", "mjpeg", lambda content: content[12000:], "beginning: the container that the"),
    ],
)
def test_what_decoders_pass_over_is_a_problem(make_video, tmp_path, suffix, codec, change, reason):
    options = {"g": "8"} if codec != "mjpeg" else {"color_range": "pc", "strict": "unofficial"}
    if codec == "libx265":
        options = {"x265-params": "keyint=8:log-level=none:pools=none:frame-threads=1"}
    source = make_video(frames=40, suffix=suffix, codec=codec, options=options)
    whole = probe(str(source))
    assert (whole.frames, whole.problems) == (40, ())
    video = probe(damaged(tmp_path, source, change))
    assert video.frames < 40
    assert re.search(reason, "\n".join(video.problems))
    every = read_planes(replace(video, keyframes=()), range(video.frames), 32)
    assert len(every) == video.frames
    for start in range(0, video.frames, 9):
        seen = read_planes(video, range(start, video.frames), 32)
        np.testing.assert_array_equal(seen, every[start:])
    with pytest.raises(MediaError, match="ends before frame"):
        read_planes(video, [video.frames], 32)


def test_an_mp4_in_fragments_is_whole_or_not(make_video, tmp_path):
    source, path = make_video(frames=40, options={"g": "10"}), tmp_path / "fragments.mp4"
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in (packet for packet in old.demux() if packet.size):
            packet.stream = stream
            new.mux(packet)
    assert probe(str(path)).frames == 40
    content = path.read_bytes()
    second = content.index(b"moof", content.index(b"moof") + 4) - 4
    path.write_bytes(content[:second] + bytes(8) + content[second + 8 :])
    video = probe(str(path))
    assert video.frames < 40
    assert "its boxes break off at byte" in video.problems[0]


def test_frames_that_an_edit_list_hides_are_not_missing(make_video, tmp_path):
    source, path = make_video(frames=40), tmp_path / "cut.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        early = round(5 / 25 / stream.time_base) if stream.time_base else 2560
        for packet in (packet for packet in old.demux() if packet.size):
            packet.pts, packet.dts = packet.pts - early, packet.dts - early
            packet.stream = stream
            new.mux(packet)
    video = probe(str(path))
    assert (video.frames, video.declared) == (35, 40)


def test_a_video_that_is_trimmed_within_a_group_of_pictures_is_whole(make_video, tmp_path):
    source = make_video(frames=100, options={"g": "100"})
    content = bytearray(source.read_bytes())
    start = content.index(b"elst") + 12  # after version, flags and the number of edits
    (duration,) = struct.unpack_from(">I", content, start)
    struct.pack_into(">I", content, start, duration // 2)
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(content)
    assert 49 <= probe(str(path)).frames <= 53


def test_an_avi_whose_header_counts_frames_that_were_dropped_is_whole(make_video, tmp_path):
    times = [tick for tick in range(80) if tick % 5 != 3]
    path = tmp_path / "gaps.avi"
    make_video(path, frames=len(times), times=times, codec="mpeg4")
    video = probe(str(path))
    assert video.frames == len(times) < video.declared


def test_a_file_that_is_still_being_written_is_refused(make_video, tmp_path, monkeypatch):
    path = make_video(tmp_path / "growing.mp4")
    honest = module._seek_points

    def slowly(*arguments):
        with path.open("ab") as file:
            file.write(b"more")
        return honest(*arguments)

    monkeypatch.setattr(module, "_seek_points", slowly)
    with pytest.raises(MediaError, match="changed while it was scanned"):
        probe(str(path))


def test_a_file_of_which_too_little_decodes_is_unreadable(make_video, tmp_path, monkeypatch):
    options = {"color_range": "pc", "strict": "unofficial"}
    source = make_video(frames=40, suffix=".avi", codec="mjpeg", options=options)

    def spoil(content):
        place, end = content.index(b"movi") + 4, content.index(b"idx1")
        for number in range(40):
            place = content.index(b"00dc", place)
            (size,) = struct.unpack_from("<I", content, place + 4)
            if number >= 2:
                content[place + 8 : place + 8 + size] = bytes(size)
            place += 8 + size
        assert place <= end

    path = damaged(tmp_path, source, spoil)
    with pytest.raises(MediaError, match="2 of its 40 frames decode, less than 10 %, which VIDSSL"):
        probe(path)
    monkeypatch.setenv("VIDSSL_MIN_DECODED", "5")
    video = probe(path)
    assert video.frames == 2
    assert video.problems[0] == "undecodable packets: 38 of 40"


def test_facts_that_no_manifest_may_hold_are_an_error_of_the_file(make_video, monkeypatch):
    honest = module.read_timeline
    monkeypatch.setattr(module, "read_timeline", lambda *a: replace(honest(*a), fps=1e7))
    with pytest.raises(MediaError, match="fps: Input should be less than or equal to 1000000"):
        probe(str(make_video()))


def test_a_decoder_that_calls_damage_a_lack_of_permission_leaves_out_one_frame(tmp_path):
    """Some decoders of FFmpeg return -1, which is EPERM."""
    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", 10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb8"
        for shade in range(0, 250, 50):
            picture = np.random.default_rng(shade).integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="rgb8"))
            )
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    image = content.index(b"\x2c\0\0\0\0\x40\0\x30\0", len(content) // 2)
    palette = 3 * (2 << (content[image + 9] & 7)) if content[image + 9] & 128 else 0
    assert content[image + 10 + palette] == 8  # bits that codes begin with
    content[image + 10 + palette] = 12
    path.write_bytes(content)
    video = probe(str(path))
    assert (video.frames, video.problems) == (4, ("undecodable packets: 1 of 5",))
