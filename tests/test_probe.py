"""Facts come from decoding, not from headers."""

from __future__ import annotations

import pytest

from vidssl_cli import probe as module
from vidssl_cli.errors import MediaError
from vidssl_cli.probe import probe


def test_facts_of_a_plain_file(make_video):
    video = probe(str(make_video(frames=50, fps=25, size=(48, 80))))
    assert (video.frames, video.declared) == (50, 50)
    assert (video.height, video.width) == (48, 80)
    assert (video.fps, video.duration, video.timing) == (25, 2, "steady")
    assert video.label is video.split is video.group is None


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ([0], "steady"),
        ([0, 33, 67, 100, 133], "steady"),  # 30 fps in milliseconds
        ([0, 1, 2, 3], "steady"),
        ([0, 40, 80, 160, 200], "variable"),
        ([0, 2, 1, 3], "out of order"),
        ([0, 1, 1, 2], "out of order"),
        ([0, None, 2], "missing"),
    ],
)
def test_timing(timestamps, expected):
    assert module._timing(timestamps) == expected


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

    def one_too_far(container, stream, timestamp):
        frames = honest(container, stream, timestamp)
        next(frames)
        return frames

    monkeypatch.setattr(module, "decode_from", one_too_far)
    assert probe(path).keyframes == ()


def test_too_many_frames_are_refused(make_video, monkeypatch):
    monkeypatch.setattr(module, "MAX_FRAMES", 20)
    with pytest.raises(MediaError, match="declares 24 frames, more than 20"):
        probe(str(make_video()))
    with pytest.raises(MediaError, match="more than 20"):
        probe(str(make_video(suffix=".mkv")))  # declares nothing


def test_decoding_that_stops_says_where(real_data):
    with pytest.raises(MediaError, match="stops after 28 of 50 frames"):
        probe(str(real_data / "odd" / "decord_corrupted.mp4"))


def test_decoded_frames_count_where_the_header_says_more(real_data):
    video = probe(str(real_data / "torchvision9" / "RATRACE_wave_f_nm_np1_fr_goo_37.avi"))
    assert (video.frames, video.declared, video.timing) == (72, 73, "out of order")
