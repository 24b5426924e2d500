"""Videos that were dropped into the page, in a folder that goes when the server ends."""

from __future__ import annotations

import secrets
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.media.probe import probe

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video

_SPARE = 512 << 20
"""Bytes that stay free on the disk."""
_KEPT = 8
"""Videos that are kept; the ones that were used longest ago go first."""


class TooLargeError(VidsslError):
    """A video is larger than may be uploaded, or than fits on the disk."""


@dataclass(frozen=True)
class Upload:
    """A video that was dropped into the page."""

    name: str
    """Of the file where it came from; nothing here has it."""
    video: Video


class Uploads:
    """The videos that were dropped last."""

    def __init__(self, folder: Path, most: int) -> None:
        """Keep uploads in a folder.

        Args:
            folder: That is empty and belongs to this alone.
            most: Bytes of one.
        """
        self._folder, self.most = folder, most
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Upload:
        """Return an upload.

        Raises:
            KeyError: It is not kept, or no longer.
        """
        with self._lock:
            self._kept.move_to_end(key)
            return self._kept[key]

    async def add(self, name: str, size: int | None, chunks: AsyncIterator[bytes]) -> str:
        """Take a video; return its key.

        Args:
            name: Of the file.
            size: In bytes as the browser says, if it does.
            chunks: The content.

        Raises:
            TooLargeError: It is larger than what may be uploaded, or than fits.
            MediaError: It is no video.
        """
        self._refuse(size or 0)
        key = secrets.token_hex(8)
        path = self._folder / key
        try:
            written = 0
            with path.open("xb") as file:
                async for chunk in chunks:
                    written += len(chunk)
                    self._refuse(written, len(chunk))
                    file.write(chunk)
            video = await run_in_threadpool(probe, str(path))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._kept[key] = Upload(name, video)
            while len(self._kept) > _KEPT:
                old, _ = self._kept.popitem(last=False)
                (self._folder / old).unlink(missing_ok=True)
        return key

    def _refuse(self, size: int, left: int | None = None) -> None:
        if size > self.most:
            raise TooLargeError(
                f"the video is larger than {self.most / 10**6:,.0f} MB",
                hint="`vidssl serve --max-upload` allows more; `vidssl retrieve` has no limit",
            )
        free = shutil.disk_usage(self._folder).free
        if free - (size if left is None else left) < _SPARE:
            raise TooLargeError(f"the disk of {self._folder} has {free / 10**6:,.0f} MB left")
