"""A packed set whose digests are right and whose bytes are crafted asks for no memory."""

import hashlib
import struct
import zlib

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Packed, PackedFlow, Video
from vidssl_cli.media.encode import JpegEncoder
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
    with pytest.raises(DamagedFileError, match="damaged"):
        read_packed(crafted(tmp_path, pieces(huge)), [0], SIZE)


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
    with pytest.raises(DamagedFileError, match="damaged"):
        read_packed_flow(video, [0])
