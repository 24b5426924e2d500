"""Ogg, MXF, FLV, GIF and DV files that are whole, odd, or not all there."""

from __future__ import annotations

import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from vidssl_cli.media.probe import probe

KINDS = {
    "gif": ("gif", "rgb8", (48, 64)),
    "ogg": ("libvpx", "yuv420p", (48, 64)),
    "mxf": ("mpeg2video", "yuv420p", (48, 64)),
    "flv": ("flv", "yuv420p", (48, 64)),
    "dv": ("dvvideo", "yuv420p", (576, 720)),
}
"""Codec, format of pixels, and size by container."""
FRAMES = {"dv": 4}
"""Of the large ones."""


def write(path, form, kind=None):
    """Write noise, in which no part of a picture is small."""
    codec, pixels, size = kind or KINDS[form]
    random = np.random.default_rng(0)
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, 25)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        for number in range(FRAMES.get(form, 40)):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (*size, 3), np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    """Return the path of a whole file of every container."""
    form = request.param
    return write(tmp_path_factory.mktemp("whole") / f"a.{form}", form)


def cut(share):
    return lambda content: content[: int(len(content) * share)]


def zero(begin, end):
    def change(content):
        start, stop = int(len(content) * begin), int(len(content) * end)
        return content[:start] + bytes(stop - start) + content[stop:]

    return change


def facts(path, content):
    """Return the frames and the problems of a file with this content."""
    path.write_bytes(content)
    video = probe(str(path))
    return video.frames, "\n".join(video.problems)


def test_a_whole_file_has_no_problems(whole):
    video = probe(str(whole))
    assert (video.frames, video.problems) == (FRAMES.get(whole.suffix[1:], 40), ())


@pytest.mark.parametrize("change", [cut(0.58), cut(0.93), zero(0.43, 0.61), zero(0.71, 1)])
def test_a_file_that_is_cut_off_or_has_a_hole_is_used_and_named(whole, tmp_path, change):
    content = whole.read_bytes()
    frames, problems = facts(tmp_path / whole.name, change(content))
    assert frames > 0
    assert re.search("^(cut short|container): ", problems)


@pytest.mark.parametrize("whole", ["gif"], indirect=True)
def test_a_gif_without_its_trailer_may_miss_frames(whole, tmp_path):
    content = whole.read_bytes()
    assert content.endswith(b"\0\x3b")
    assert facts(tmp_path / "a.gif", content[:-1]) == (40, "end: its trailer is missing")
    assert facts(tmp_path / "b.gif", content + b"behind the end") == (40, "")


def pages(content):
    """Split an Ogg file into its pages."""
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


def unmarked(page):
    """Return an Ogg page that is not the last; its checksum is worked out bit by bit."""
    page = page[:5] + bytes([page[5] & ~4]) + page[6:22] + bytes(4) + page[26:]
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x104C11DB7 if remainder >> 31 else 0)
    return page[:22] + remainder.to_bytes(4, "little") + page[26:]


@pytest.mark.parametrize("whole", ["ogg"], indirect=True)
def test_an_ogg_recording_that_was_stopped_is_used(whole, tmp_path):
    *found, last = pages(whole.read_bytes())
    assert facts(tmp_path / "a.ogg", b"".join([*found, unmarked(last)])) == (
        40,
        "end: its last page is not marked as such, as where a recorder was stopped",
    )


@pytest.mark.parametrize("whole", ["ogg"], indirect=True)
def test_a_page_of_ogg_in_which_a_bit_changed_is_named(whole, tmp_path):
    """Readers leave it out whole, and say nothing."""
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    frames, problems = facts(tmp_path / "a.ogg", content)
    assert 0 < frames < 40
    assert re.fullmatch("container: the page at byte [0-9]+ is damaged", problems)


@pytest.mark.parametrize("whole", ["ogg"], indirect=True)
def test_pages_that_are_missing_from_an_ogg_file_are_named(whole, tmp_path):
    found = pages(whole.read_bytes())
    assert len(found) > 5
    frames, problems = facts(tmp_path / "a.ogg", b"".join(found[:3] + found[4:]))
    assert frames < 40
    assert problems.startswith("container: pages are missing before byte")


@pytest.mark.parametrize("whole", ["ogg"], indirect=True)
def test_ogg_files_one_after_the_other_are_whole_containers(whole, tmp_path):
    frames, problems = facts(tmp_path / "a.ogg", whole.read_bytes() * 2)
    assert frames == 80
    assert "container" not in problems


FOOTER = bytes.fromhex("060e2b34020501010d0102010104")
HEADER = bytes.fromhex("060e2b34020501010d0102010102")


@pytest.mark.parametrize("whole", ["mxf"], indirect=True)
@pytest.mark.parametrize(
    ("closed", "problem"),
    [(True, ""), (False, "end: its footer is missing, as where a recorder was stopped")],
)
def test_an_mxf_file_may_do_without_a_footer(whole, tmp_path, closed, problem):
    """It may say so in a header that is closed; one that is open was not finished."""
    content = bytearray(whole.read_bytes())
    content = content[: content.index(FOOTER)]
    header = content.index(HEADER)
    content[header + 14] = 4 if closed else 1
    value = header + 17 + (content[header + 16] & 0x7F)
    content[value + 24 : value + 32] = bytes(8)  # where the footer is
    assert facts(tmp_path / "a.mxf", content) == (40, problem)


@pytest.mark.parametrize("whole", ["mxf"], indirect=True)
def test_an_mxf_file_may_begin_with_something_else(whole, tmp_path):
    assert facts(tmp_path / "a.mxf", bytes(1000) + whole.read_bytes()) == (40, "")


def tags(content):
    """Return where the tags of an FLV file begin, and its end."""
    places = [13]
    while places[-1] < len(content):
        length = int.from_bytes(content[places[-1] + 1 : places[-1] + 4])
        places.append(places[-1] + 11 + length + 4)
    return places


@pytest.mark.parametrize("whole", ["flv"], indirect=True)
def test_an_flv_file_that_ends_before_its_declared_size_or_time_is_named(whole, tmp_path):
    content = whole.read_bytes()
    half = content[: tags(content)[10]]
    frames, problems = facts(tmp_path / "a.flv", half)
    assert frames < 10
    assert problems == f"cut short: has {len(half)} bytes, and should have {len(content)}"

    def unknown(content, key, value):
        changed = content.replace(key + b"\0" + struct.pack(">d", value), key + bytes(9))
        assert changed != content
        return changed

    half = unknown(half, b"filesize", len(content))
    frames, problems = facts(tmp_path / "b.flv", half)
    assert re.fullmatch(r"end: has 0\.[0-9]+ of the 1\.60 seconds that it declares", problems)
    live = unknown(half, b"duration", 1.6)
    assert facts(tmp_path / "live.flv", live) == (frames, "")


@pytest.mark.parametrize("whole", ["flv"], indirect=True)
def test_what_is_joined_to_an_flv_file_is_never_played(whole, tmp_path):
    content = whole.read_bytes()
    problem = f"container: another file begins at byte {len(content)}; it is never played"
    assert facts(tmp_path / "a.flv", content * 2) == (40, problem)


@pytest.mark.parametrize("whole", ["dv"], indirect=True)
def test_a_frame_of_dv_with_a_hole_or_of_which_a_part_is_missing_is_named(whole, tmp_path):
    content = whole.read_bytes()
    frame = len(content) // 4
    _, problems = facts(tmp_path / "a.dv", content[: frame * 2 + 36_000])
    assert problems == f"cut short: has {frame * 2 + 36_000} bytes, and should have 336000 or more"
    hole = content[: frame + 800] + bytes(80) + content[frame + 880 :]
    _, problems = facts(tmp_path / "b.dv", hole)
    assert problems == f"container: its blocks break off at byte {frame}"


@pytest.mark.parametrize("size", [(480, 720), (576, 720)])
def test_dv_of_two_channels_is_whole(tmp_path, size):
    rate = 25 if size[0] == 576 else Fraction(30_000, 1001)
    path = tmp_path / "a.dv"
    with av.open(str(path), "w", format="dv") as container:
        stream = container.add_stream("dvvideo", rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv422p"
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 90 * number, np.uint8))
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            container.mux(stream.encode(frame))
    video = probe(str(path))
    assert (video.frames, video.problems) == (2, ())
