"""Videos of a folder or a list, with their facts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.contract.videos import Video


def scan(
    data: str | Path, *, skipped: list[MediaError] | None = None, **options: Any
) -> list[Video]:
    """Return the videos of DATA with length, rate, size and problems; what is new is decoded.

    Args:
        data: A folder, a manifest, a list, a packed set, or one video; docs/data.md.
        skipped: Receives an error for each video that cannot be used; each is also a warning on
            stderr.
        options: More of `vidssl_cli.data.scan.open_data`, such as ``split`` or ``workers``.

    Raises:
        UsageError: DATA cannot be used, or nothing in it can.
        DamagedFileError: A manifest or list cannot be understood.
    """
    from vidssl_cli.data.scan import open_data

    videos, broken = open_data(data, **options)
    if skipped is not None:
        skipped += broken
    return videos
