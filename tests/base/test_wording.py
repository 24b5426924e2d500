"""Counts in messages."""

from __future__ import annotations

import pytest

from vidssl_cli.base.errors import SkippedMediaError
from vidssl_cli.base.wording import by_kind, counted, duration, fitted, share


def test_counts_agree_with_what_they_count():
    assert [counted(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert counted(1, "class has", "classes have") == "1 class has"
    assert counted(3, "class has", "classes have") == "3 classes have"
    assert share(1, 4, "video", "has", "have") == "1 of 4 videos has"
    assert share(1, 1, "video") == "1 of 1 video"
    assert share(2, 4, "video", "has", "have") == "2 of 4 videos have"
    assert by_kind({".srt": 1, ".txt": 2, ".a": 1}) == ".txt 2, .a 1, .srt 1"


def test_times_look_as_on_a_clock():
    assert [duration(s) for s in (0.4, 61, 3599.6)] == ["0:00", "1:01", "1:00:00"]


def test_what_has_no_room_in_a_line_is_left_out_from_the_end():
    parts = ["12:30 left", "loss 5.012", "80 clips/s"]
    assert fitted(parts, 34) == "12:30 left  loss 5.012  80 clips/s"
    assert fitted(parts, 33) == "12:30 left  loss 5.012"
    assert fitted(parts, 5) == ""


@pytest.mark.parametrize(
    ("skipped", "partial", "message"),
    [
        (1, 0, "1 video was left out"),
        (0, 2, "2 videos have problems and were used for what decodes"),
        (2, 1, "2 videos were left out, 1 video has problems and was used for what decodes"),
    ],
)
def test_strict_says_what_was_not_used_as_a_whole(skipped, partial, message):
    with pytest.raises(SkippedMediaError) as caught:
        SkippedMediaError.raise_if(True, skipped, partial=partial)
    assert str(caught.value) == message
