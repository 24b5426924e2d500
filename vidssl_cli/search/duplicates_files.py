"""The files behind the videos of an index: whether they are what was scanned, and which are alike.

`vidssl duplicates` says which files can be spared, so it believes no facts that a file could have
lost: only files whose bytes are all the same have the same content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.media.open_file import ends_digest, stamp
from vidssl_cli.search.duplicates_decisions import Hashes, content_of
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.segments import CONTENT


class Files:
    """The files of an index.

    Attributes:
        links: (link, other): names of one file, of which the other is kept in ``copies``.
        copies: further files with the content of one, by that one; all are there and unchanged.
    """

    def __init__(self, gallery: Gallery, hashes: Hashes | None) -> None:
        self._gallery = gallery
        self._hashes = hashes
        self._problems: dict[int, MediaError | None] = {}
        self._contents: dict[int, str] = {}
        """Of those that have the same ends as another one."""
        self.links: list[tuple[int, int]] = []
        self.copies: dict[int, list[int]] = {}
        alike = [self._without_links(items) for items in self._same_ends()]
        asked = [item for items in alike if len(items) > 1 for item in items]
        pool = ThreadPoolExecutor(usable_cores(), "hash")
        try:
            digests = track(pool.map(self._digest, asked), "reading files whole", len(asked))
            for item, digest in zip(asked, digests, strict=True):
                if isinstance(digest, MediaError):
                    self._problems[item] = digest
                else:
                    self._contents[item] = f"{gallery.videos[item].bytes}-{digest}"
        finally:  # Ctrl-C waits for the files that are being read, not for all others
            pool.shutdown(cancel_futures=True)
        same: dict[str, list[int]] = {}
        for item in sorted(
            self._contents, key=lambda item: (not has_file(gallery.videos[item]), item)
        ):
            same.setdefault(self._contents[item], []).append(item)
        for first, *others in same.values():
            if others:
                self.copies[first] = others

    def problem(self, item: int) -> MediaError | None:
        """Return why a video cannot be compared: its file is gone, or another one than scanned."""
        if item not in self._problems:
            self._problems[item] = _changed(self._gallery.videos[item])
        return self._problems[item]

    def content(self, item: int) -> str | None:
        """Return what the content of a video is known by; None if no scan has read its file."""
        return self._contents.get(item) or content_of(self._gallery.videos[item])

    def _same_ends(self) -> Iterator[list[int]]:
        """Yield videos whose files are as long, begin and end alike, and are there unchanged."""
        gallery = self._gallery
        items = gallery.items
        digests = np.concatenate([segment.keys[CONTENT] for segment in gallery.segments])[items]
        order = np.argsort(digests, kind="stable")
        _, starts, counts = np.unique(digests[order], return_index=True, return_counts=True)
        for start, count in zip(starts[counts > 1], counts[counts > 1], strict=True):
            alike: dict[str, list[int]] = {}
            for item in items[order[start : start + count]].tolist():
                if (content := content_of(gallery.videos[item])) and not self.problem(item):
                    alike.setdefault(content, []).append(item)
            yield from (each for each in alike.values() if len(each) > 1)

    def _without_links(self, items: Sequence[int]) -> list[int]:
        """Leave out further names of a file, symbolic links first, and note them."""
        kept: dict[object, int] = {}
        paths = {item: self._gallery.videos[item].path for item in items}
        for item in sorted(items, key=lambda i: (os.path.realpath(paths[i]) != paths[i], i)):
            try:
                status = os.stat(paths[item])
            except OSError:  # only packed pictures are there
                kept[item] = item
                continue
            other = kept.setdefault((status.st_dev, status.st_ino), item)
            if other != item:
                self.links.append((item, other))
        return list(kept.values())

    def _digest(self, item: int) -> str | MediaError:
        """Return the SHA-256 of a whole file, which is read once."""
        video = self._gallery.videos[item]
        if not has_file(video) and video.packed:
            return video.packed.source_sha256
        try:
            facts = (video.path, *stamp(video.path))
            known = self._hashes.find(facts) if self._hashes else None
            digest = known or sha256(Path(video.path))
            if self._hashes and not known:
                self._hashes.add(facts, digest)
        except (MediaError, OSError) as error:
            return MediaError(f"cannot be read: {error}", where=video.path)
        return digest


def has_file(video: Video) -> bool:
    """Tell whether a video has a file, not packed pictures alone."""
    return os.path.exists(video.path)


def _changed(video: Video) -> MediaError | None:
    """Return why a file is not what was scanned; None if it is, or if its pictures are packed."""
    try:
        size, _ = stamp(video.path)
    except MediaError as error:
        return None if video.packed and os.path.exists(video.packed.path) else error
    if video.bytes not in (None, size):
        return MediaError(
            f"has {size} bytes, but had {video.bytes} when it was scanned; scan it again",
            where=video.path,
        )
    try:
        same = video.ends_sha256 in (None, ends_digest(video.path))
    except OSError as error:
        return MediaError(f"cannot be read: {error.strerror}", where=video.path)
    reason = "is another file than the one that was scanned; scan it again"
    return None if same else MediaError(reason, where=video.path)
