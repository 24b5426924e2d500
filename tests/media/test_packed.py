"""A packed set whose digests are right and whose bytes are crafted asks for no memory."""

import hashlib
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Packed, PackedFlow, Video
from vidssl_cli.media import packed as packed_module
from vidssl_cli.media.encode import JpegEncoder
from vidssl_cli.media.limits import decoder_limit
from vidssl_cli.media.packed import OFFSET, read_packed, read_packed_flow

SIZE = (32, 48)


def pieces(*content):
    """Put pieces and their table together."""
    ends = np.cumsum([0, *map(len, content)])
    return b"".join(content) + ends.astype(OFFSET).tobytes()


def crafted(folder, content, frames=1, form="compact", size=SIZE, flow=b""):
    """Return a video whose packed bytes are these."""
    path = folder / "part.bin"
    path.write_bytes(content + flow)
    fields = PackedFlow(len(content), len(flow), hashlib.sha256(flow).hexdigest(), "dis")
    packed = Packed(
        str(path), 0, len(content), hashlib.sha256(content).hexdigest(), form, *size,
        0, 0, "0" * 64, fields if flow else None,
    )  # fmt: skip
    return Video("a.mp4", frames=frames, width=48, height=32, packed=packed)


@pytest.fixture
def jpeg():
    return JpegEncoder(SIZE, 5)(np.zeros((3, *SIZE), np.uint8))


def test_what_is_well_made_is_read(tmp_path, jpeg):
    assert read_packed(crafted(tmp_path, pieces(jpeg)), [0], SIZE).shape == (1, 3, *SIZE)


def test_a_picture_is_not_larger_than_the_row_says(tmp_path, jpeg):
    huge = jpeg.replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 16_000, 16_000))
    with pytest.raises(DamagedFileError, match="cannot be read: picture 0: Invalid data"):
        read_packed(crafted(tmp_path, pieces(huge)), [0], SIZE)
    other = JpegEncoder((40, 48), 5)(np.zeros((3, 40, 48), np.uint8))
    with pytest.raises(DamagedFileError, match="cannot be read: picture 0 has 40x48 pixels"):
        read_packed(crafted(tmp_path, pieces(other)), [0], SIZE)


def test_a_decoder_that_fails_on_intact_bytes_is_not_called_damage(tmp_path, jpeg):
    with pytest.raises(DamagedFileError, match="is as it was written, by its SHA-256, but"):
        read_packed(crafted(tmp_path, pieces(jpeg[:40])), [0], SIZE)


@pytest.mark.parametrize("ends", [(0, 1 << 60), (1 << 60, 0), (9, 0)])
def test_a_table_points_into_the_pieces(tmp_path, jpeg, ends):
    content = jpeg + np.array(ends, OFFSET).tobytes()
    with pytest.raises(DamagedFileError, match="the table is not one of 1 pieces"):
        read_packed(crafted(tmp_path, content), [0], SIZE)


def test_a_table_is_not_longer_than_all_of_it(tmp_path, jpeg):
    with pytest.raises(DamagedFileError, match="hold no table of 1073741824 pieces"):
        read_packed(crafted(tmp_path, pieces(jpeg), frames=1 << 30), [0], SIZE)


def test_raw_pictures_take_no_more_than_their_bytes(tmp_path):
    video = crafted(tmp_path, bytes(100), form="raw", size=((1 << 31) - 1, (1 << 31) - 1))
    with pytest.raises(DamagedFileError, match="cut short"):
        read_packed(video, [0], SIZE)


def test_flow_unpacks_to_no_more_than_a_field(tmp_path, jpeg):
    flow = pieces(zlib.compress(bytes(1 << 26)))
    video = crafted(tmp_path, pieces(jpeg, jpeg), frames=2, flow=flow)
    with pytest.raises(DamagedFileError, match="cannot be read: could not broadcast"):
        read_packed_flow(video, [0])


SIDES = (16, 17, 23, 32, 33, 48, 63, 64, 65, 72, 96, 127, 128, 129, 171, 240, 359, 360, 639, 640)
SHAPES = [(h, w) for h in SIDES for w in SIDES if min(h, w) <= 360 and max(h, w) <= 640]


class Aligned:
    """A decoder that counts rows as FFmpeg does where it aligns them to so many bytes."""

    def __init__(self, decoder, align, size):
        self._decoder, self._counted = decoder, size[0] * (-(-size[1] // align) * align)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if not name.startswith("_"):
            setattr(self._decoder, name, value)

    def decode(self, packet):
        if self._counted > int(self.options["max_pixels"]):
            raise av.error.ArgumentError(22, "Invalid argument", "")
        return self._decoder.decode(packet)


@pytest.mark.parametrize("align", [16, 32, 64])
def test_pictures_of_every_shape_are_read_however_rows_are_aligned(tmp_path, monkeypatch, align):
    honest = av.CodecContext.create
    for size in SHAPES:
        made = lambda *names, size=size: Aligned(honest(*names), align, size)  # noqa: E731
        picture = np.full((3, *size), 90, np.uint8)
        video = crafted(tmp_path, pieces(JpegEncoder(size, 5)(picture)), size=size)
        video = replace(video, height=size[0], width=size[1])
        with monkeypatch.context() as patch:
            patch.setattr(packed_module.av, "CodecContext", SimpleNamespace(create=made))
            read = read_packed(video, [0], size)
        assert np.abs(read[0].astype(int) - 90).max() <= 2


@pytest.mark.parametrize("align", [16, 32, 64])
def test_no_shape_is_counted_beyond_its_limit(align):
    sides = np.arange(1, 641)
    for height in sides.tolist():
        counted = (-(-height // 16) * 16) * (-(-sides // align) * align)
        assert all(counted <= [decoder_limit(height * width) for width in sides.tolist()])


INSTRUCTIONS = """
import ctypes, re, sys
import av
library = re.search(r"/\\S*libavutil\\S*", open("/proc/self/maps").read())[0]
avutil = ctypes.CDLL(library)
allowed = avutil.av_get_cpu_flags() & int(sys.argv[1], 16)
avutil.av_force_cpu_flags(allowed)
avutil.av_cpu_max_align.restype = ctypes.c_size_t
print("align", avutil.av_cpu_max_align())
from pathlib import Path
from vidssl_cli.data.pack import pack
from vidssl_cli.media.decode import read_planes
from vidssl_cli.media.probe import probe
videos = [probe(path) for path in sys.argv[3:]]
for short in (16, 47, 48):
    made = pack(videos, Path(sys.argv[2]) / str(short), resize=short, workers=1)
    for row in made.videos:
        read_planes(row, [0, 1], short)
"""
SSE, AVX2, ALL = "1fff", "fffff", "7fffffff"


@pytest.mark.parametrize(("flags", "most"), [(SSE, 16), (AVX2, 32), (ALL, 64)])
def test_sets_are_written_and_read_by_what_the_processor_can_do(tmp_path, make_video, flags, most):
    shapes = [(48, 64), (64, 48), (48, 48), (96, 48)]
    videos = [str(make_video(frames=2, size=size)) for size in shapes]
    command = [sys.executable, "-c", INSTRUCTIONS, flags, str(tmp_path), *videos]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[1]) <= most
