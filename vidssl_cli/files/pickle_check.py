"""Checks a file of ``torch.save`` before torch loads it.

The restricted unpickler of torch (``weights_only``) calls only what builds tensors. Some of that
can still take any amount of memory, and an archive may unpack to a thousand times its size; so only
what a state dict needs is accepted.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path

LARGEST = 1 << 26
"""Most bytes of the pickles of a file; they name the tensors, whose numbers are stored apart."""

_NEEDED = re.compile(
    r"collections OrderedDict|torch\._(utils|tensor) _rebuild_\w+|torch(\.storage)? \w+Storage"
    r"|torch (Size|[a-z]\w*)"  # and types of numbers, such as float16
)
"""Modules and names that a state dict refers to. Of these torch calls only those that it trusts."""

_OF_OLD = 5
"""Pickles in a file of torch before 1.6: magic, version, system, the state dict, storages."""


def check_weights(file: Path) -> None:
    """Check a file before ``torch.load`` reads it with ``weights_only``.

    Raises:
        ValueError: It holds something else than tensors, or needs more memory than it has bytes.
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
    """Check one pickle in memory: from a file, `pickletools` would read lines of any length."""
    for opcode, argument, place in pickletools.genops(content):
        if (place or 0) > LARGEST:
            raise ValueError(f"holds more than {LARGEST} bytes of pickles")
        # Other opcodes that name something belong to protocols that torch does not read.
        if opcode.name == "GLOBAL" and not _NEEDED.fullmatch(name := str(argument)):
            raise ValueError(f"names {name.replace(' ', '.', 1)}, which no state dict needs")
