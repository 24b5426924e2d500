"""ASF files that are cut off or have a hole, and MP4 files that were joined."""

from __future__ import annotations

import re

import av
import pytest

from vidssl_cli.media.probe import probe


def facts(path, content):
    """Return the frames and the problems of a file with this content."""
    path.write_bytes(content)
    video = probe(str(path))
    return video.frames, "\n".join(video.problems)


@pytest.fixture
def asf(make_video):
    """Return the bytes of a whole ASF file, and where its data begins."""
    content = make_video(frames=80, suffix=".wmv", codec="wmv2", size=(96, 128)).read_bytes()
    return content, int.from_bytes(content[16:24], "little")


PACKET = 3200


def test_an_asf_file_is_whole_with_or_without_an_index(asf, tmp_path):
    content, begin = asf
    end = begin + int.from_bytes(content[begin + 16 : begin + 24], "little")
    assert end < len(content)
    assert facts(tmp_path / "a.wmv", content) == (80, "")
    assert facts(tmp_path / "b.wmv", content[:end]) == (80, "")


def test_an_asf_file_that_is_cut_off_or_has_a_hole_is_used_and_named(asf, tmp_path):
    content, begin = asf
    second = begin + 50 + PACKET
    assert second + 2 * PACKET < len(content)
    for number, (damaged, problem) in enumerate(
        [
            (content[: second + PACKET], "cut short: has"),
            (content[: second + 100], "cut short: has"),
            (
                content[:second] + bytes(PACKET) + content[second + PACKET :],
                f"container: its packets break off at byte {second}",
            ),
        ]
    ):
        frames, problems = facts(tmp_path / f"{number}.wmv", damaged)
        assert 0 < frames < 80
        assert problems.startswith(problem)


def test_an_asf_file_of_which_packets_are_not_understood_ends_early(asf, tmp_path):
    content, begin = asf
    damaged = bytearray(content)
    for place in range(begin + 50 + 2 * PACKET, len(content) - PACKET, PACKET):
        damaged[place + 3 : place + 100] = b"\xff" * 97
    frames, problems = facts(tmp_path / "a.wmv", damaged)
    assert 0 < frames < 80
    assert re.search("end: its frames take [0-9]+% of the time that it declares", problems)


@pytest.mark.parametrize("broadcast", [True, False])
def test_an_asf_recording_that_does_not_know_its_length_is_used(asf, tmp_path, broadcast):
    content, begin = asf
    live = bytearray(content[: begin + 50 + 3 * PACKET])
    if broadcast:
        live[content.index(bytes.fromhex("a1dcab8c47a9cf11")) + 88] |= 1
    else:
        live[begin + 16 : begin + 24] = (50).to_bytes(8, "little")
    frames, problems = facts(tmp_path / "a.wmv", bytes(live))
    assert frames > 20
    assert not re.search("cut short|container|end", problems)
    _, problems = facts(tmp_path / "b.wmv", bytes(live[:-100]))
    assert problems.startswith("cut short: has")


def test_what_is_joined_to_an_mp4_file_is_never_played(make_video, tmp_path):
    content = make_video(frames=30).read_bytes()
    problem = f"container: another file begins at byte {len(content)}; it is never played"
    assert facts(tmp_path / "joined.mp4", content * 2) == (30, problem)
    assert facts(tmp_path / "more.mp4", content + b"behind the end") == (30, "")


def test_fragments_that_are_joined_with_their_headers_are_played(make_video, tmp_path):
    """Each piece of a stream may come with the header of all."""
    source, path = make_video(frames=40, options={"g": "10"}), tmp_path / "fragments.mp4"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in (packet for packet in old.demux() if packet.size):
            packet.stream = stream
            new.mux(packet)
    content = path.read_bytes()
    header = content[: re.search(b"....moof", content, re.DOTALL).start()]
    third = [found.start() for found in re.finditer(b"....moof", content, re.DOTALL)][2]
    joined = content[:third] + header + content[third:]
    frames, problems = facts(tmp_path / "joined.mp4", joined)
    assert "another file" not in problems
    assert frames == 40
