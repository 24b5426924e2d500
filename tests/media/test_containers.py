"""Sizes that a container is made of tell where a part of the file is missing."""

import re

import pytest

from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.containers import check_container


def element(name, content, long=1):
    """An element of Matroska, with its length in so many bytes."""
    length = (1 << 7 * long) | len(content)
    return bytes.fromhex(name) + length.to_bytes(long) + content


HEADER = element("1A45DFA3", b"\x42\x86\x81\x01")
BLOCK = element("A3", b"picture")
UNKNOWN = b"\xff"


def segment(*clusters):
    return HEADER + element("18538067", b"".join(clusters), long=8)


def look(tmp_path, content, form="matroska,webm", most=100, name="a.mkv"):
    """Return how many frames are listed, and what is missing or broken."""
    path = tmp_path / name
    path.write_bytes(content)
    return check_container(str(path), form, stream=0, streams=1, fragmented=True, most=most)


def check(*arguments, **options):
    listed, problem = look(*arguments, **options)
    assert problem == ""
    return listed


def test_whole_files_pass(tmp_path):
    cluster = element("1F43B675", element("E7", b"\0") + BLOCK + BLOCK, long=2)
    tags = element("1254C367", b"anything at all")
    check(tmp_path, segment(cluster, element("EC", bytes(5)), cluster, tags) + b"behind the end")


def test_a_live_recording_that_knows_no_lengths_passes(tmp_path):
    live = bytes.fromhex("1F43B675") + UNKNOWN + element("E7", b"\0") + BLOCK
    check(tmp_path, HEADER + bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7 + live + live)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-3], r"cut short: has \d+ bytes, and should have"),
        (lambda content: content.replace(BLOCK, bytes(len(BLOCK)), 1), "break off at byte"),
        (lambda content: content.replace(BLOCK, BLOCK[2:], 1), "break off|cut short"),
        (lambda content: content.replace(BLOCK, b"\xa3" + UNKNOWN + BLOCK[2:], 1), "break off"),
        (lambda content: content.replace(b"picture", b"0icture", 1), "2 tracks or more"),
    ],
)
def test_a_part_of_matroska_that_is_missing_is_noticed(tmp_path, change, reason):
    content = segment(element("1F43B675", BLOCK * 3), element("1F43B675", BLOCK * 3))
    check(tmp_path, content)
    _, problem = look(tmp_path, change(content))
    assert re.search(reason, problem)


def test_more_blocks_than_allowed_are_refused(tmp_path):
    content = segment(element("1F43B675", BLOCK * 3))
    check(tmp_path, content, most=3)
    with pytest.raises(MediaError, match="more than 2 blocks"):
        check(tmp_path, content, most=2)


def chunk(kind, content):
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def riff(*chunks):
    return chunk(b"RIFF", b"AVI " + b"".join(chunks))


def table(*rows):
    return chunk(b"idx1", b"".join(name + bytes(8) + bytes([size, 0, 0, 0]) for name, size in rows))


def test_an_avi_may_have_several_chunks_none_of_them_cut(tmp_path):
    content = riff(chunk(b"LIST", b"of odd length")) + riff(chunk(b"LIST", b"more"))
    assert check(tmp_path, content + b"behind the end", "avi") is None
    assert look(tmp_path, content[:-1], "avi") == (
        None, "cut short: has 57 bytes, and should have 58 or more"
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [-8, 8])
def test_the_length_of_an_avi_may_be_miscounted_by_its_own_head(tmp_path, wrong):
    rows = table((b"00dc", 9), (b"00dc", 9))
    content = bytearray(riff(chunk(b"LIST", b"movi"), rows))
    content[4] += wrong
    assert check(tmp_path, bytes(content), "avi") == 2
    assert "cut short" in look(tmp_path, bytes(content[:-1]), "avi")[1]


def test_what_follows_an_avi_may_be_a_riff_file_of_another_kind(tmp_path):
    wave = chunk(b"RIFF", b"WAVE" + chunk(b"fmt ", b"sound"))
    assert check(tmp_path, riff(chunk(b"LIST", b"movi")) + wave[:-2], "avi") is None


def test_the_table_of_an_avi_counts_the_frames_that_were_not_dropped(tmp_path):
    rows = table(
        (b"00dc", 9), (b"00dc", 0), (b"01wb", 5), (b"rec ", 5), (b"00db", 9), (bytes(4), 0)
    )
    content = riff(chunk(b"LIST", b"movi"), rows)
    assert check(tmp_path, content, "avi") == 2
    with pytest.raises(MediaError, match="more than 5 blocks"):
        check(tmp_path, content, "avi", most=5)
    for damaged, reason in (
        (content.replace(b"01wb", b"01w\0"), r"its table of frames lists b'01w\\x00'"),
        (content.replace(b"LIST", b"LIS\0"), "its chunks break off at byte 12"),
        (
            content.replace(b"LIST\4", b"LIST\xff"),
            "cut short: has 128 bytes, and should have 275 or more",
        ),
    ):
        assert re.search(reason, look(tmp_path, damaged, "avi")[1])


def box(kind, content):
    return (8 + len(content)).to_bytes(4) + kind + content


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"", None),
        (b"\0\0\0\0mdat to the end", None),
        (b"\0\0\0\1mdat" + (20).to_bytes(8) + b"long", None),
        (box(b"mdat", b"content")[:-1], "cut short"),
        (bytes(16), "its boxes break off"),
        (b"\0\0\0\4moof", "its boxes break off"),
    ],
)
def test_boxes_of_fragments_are_whole_or_named(tmp_path, tail, reason):
    content = box(b"ftyp", b"isom") + box(b"moof", b"table") + tail
    _, problem = look(tmp_path, content, "mov,mp4,m4a,3gp,3g2,mj2")
    assert re.search(reason, problem) if reason else problem == ""


def test_pictures_without_the_container_of_their_name_have_lost_their_beginning(tmp_path):
    check(tmp_path, b"anything", "mjpeg", name="a.mjpeg")
    _, problem = look(tmp_path, b"anything", "mjpeg", name="a.AVI")
    assert problem == "beginning: the container that the name promises is missing"
