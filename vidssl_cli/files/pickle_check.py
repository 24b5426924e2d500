"""Looks through what ``torch.save`` made, before torch loads it.

torch's own restricted unpickler (``weights_only``) calls nothing but what tensors are made of. Some
of that still takes as much memory as a file asks for, and archives may unpack to a thousand times
their size, so a file of weights is held to what a state dict needs.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path

LARGEST = 1 << 26
"""Bytes of the pickles of a file, which name its tensors; the numbers lie beside them."""

_NEEDED = re.compile(
    r"collections OrderedDict|torch\._(utils|tensor) _rebuild_\w+|torch(\.storage)? \w+Storage"
    r"|torch (Size|[a-z]\w*)"  # and types of numbers, such as float16
)
"""Modules and names that a state dict refers to. Of these torch calls only those that it trusts."""

_OF_OLD = 5
"""Pickles in a file of torch before 1.6: magic, version, system, the state dict, storages."""


def check_weights(file: Path) -> None:
    """Check a file that ``torch.load`` shall read with ``weights_only``.

    Raises:
        ValueError: It asks for something else than tensors, or for more memory than it has bytes.
    """
    if not zipfile.is_zipfile(file):
        with file.open("rb") as content:
            pickles = io.BytesIO(content.read(LARGEST + 1))
        for _ in range(_OF_OLD):
            _check_pickle(pickles)
        return
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("is a compressed archive, which torch.save never makes")
        if sum(member.file_size for member in members) > file.stat().st_size:
            raise ValueError("is an archive whose parts overlap")
        for member in members:
            if member.filename.endswith(".pkl"):
                with archive.open(member) as content:
                    _check_pickle(io.BytesIO(content.read(LARGEST + 1)))


def _check_pickle(content: io.BytesIO) -> None:
    """Check one pickle in memory: of a file, `pickletools` would read lines that have no end."""
    for opcode, argument, place in pickletools.genops(content):
        if (place or 0) > LARGEST:
            raise ValueError(f"holds more than {LARGEST} bytes of pickles")
        # Other opcodes that name something belong to protocols that torch does not read.
        if opcode.name == "GLOBAL" and not _NEEDED.fullmatch(name := str(argument)):
            raise ValueError(f"names {name.replace(' ', '.', 1)}, which no state dict needs")
