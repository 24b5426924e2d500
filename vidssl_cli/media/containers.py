"""Whether a file is all there, as far as its container can tell; no picture is decoded.

Readers go on silently where a part of a file is missing, and end silently where the end is. The
sizes that a container is made of tell both. Formats without such sizes, above all MPEG transport
streams, cannot be checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from vidssl_cli.media.container_file import Broken, ContainerFile
from vidssl_cli.media.containers_nested import walk_asf, walk_boxes, walk_matroska, walk_riff
from vidssl_cli.media.containers_serial import walk_dv, walk_flv, walk_gif, walk_mxf, walk_ogg

_BARE = {"h264", "hevc", "m4v", "mjpeg", "mpegvideo"}
"""Formats of pictures without a container, which FFmpeg finds also where a container is broken."""
_BUFFER = 1 << 13
"""Bytes read at a time: many small blocks, or little of a large one."""
_CONTAINERS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def check_container(
    path: str, form: str, *, stream: int, streams: int, fragmented: bool, most: int
) -> tuple[int | None, str]:
    """Walk over the sizes that a file is made of.

    Args:
        path: the file.
        form: the format's name in FFmpeg.
        stream: the number of the pictures' stream.
        streams: how many there are.
        fragmented: whether an MP4 file has no table of all its frames.
        most: more blocks than so many, of pictures and sound, are refused.

    Returns:
        How many frames the table of an AVI file lists, without those that were dropped, None if
        there is no such table; and what is missing or broken, if anything is.

    Raises:
        MediaError: there are too many blocks.
    """
    if form in _BARE and path.lower().endswith(_CONTAINERS):
        return None, "beginning: the container that the name promises is missing"
    walks: dict[str, Callable[[ContainerFile], int | None]] = {
        "asf": walk_asf,
        "avi": partial(walk_riff, stream=stream, most=most),
        "dv": walk_dv,
        "flv": walk_flv,
        "gif": walk_gif,
        "matroska": partial(walk_matroska, streams=streams, most=most),
        "mov": partial(walk_boxes, fragmented=fragmented),
        "mxf": walk_mxf,
        "ogg": walk_ogg,
    }
    walk = walks.get(form.split(",")[0])  # FFmpeg's other names of a format follow
    if walk is None:
        return None, ""
    with open(path, "rb", buffering=_BUFFER) as content:
        file = ContainerFile(path, content, os.path.getsize(path))
        try:
            return walk(file), ""
        except Broken as broken:
            return file.listed, str(broken)
