"""An index, open for searching.

Letters: N rows, D features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vidssl.arguments import check_choice, check_moment, check_positive
from vidssl.encoder import Encoder
from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.search.features_file import of_index
from vidssl_cli.search.levels import LEVELS
from vidssl_cli.search.retrieve import SEARCHES, Hit, retrieve
from vidssl_cli.search.store import open_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Query = str | os.PathLike[str] | int
    """A video, or the number of an item of the gallery."""


class Index:
    """The videos of an index and their features, as they were when it was opened."""

    def __init__(self, folder: str | Path, *, device: str = "auto") -> None:
        """Open what `vidssl index` made; features are read from disk as they are needed.

        Raises:
            UsageError: The folder is not an index.
            DamagedFileError: A file of it is damaged or missing.
        """
        self._index, self._device = open_index(Path(folder)), device

    def __len__(self) -> int:
        """Return how many videos it has."""
        return len(self._index.gallery)

    @property
    def videos(self) -> list[Video]:
        """Its videos; `Hit.item` is not a number of this list if some were removed."""
        gallery = self._index.gallery
        return [gallery.videos[item] for item in gallery.items.tolist()]

    @property
    def encoder(self) -> Encoder:
        """The network that made it."""
        return Encoder(self._index.load_encoder(self._device))

    def vectors(self, level: Literal["video", "clip"] = "video") -> NDArray[np.float32]:
        """Return (N, D) of length 1: scalar products are scores. Rows are as in `videos`."""
        check_choice("level", level, LEVELS)
        parts = [part.vectors for part in of_index(self._index, level, unit=True)]
        return np.concatenate(parts)

    def search(self, query: Query, *, moment: Moment | None = None, **options: Any) -> list[Hit]:
        """Return what is similar to a video, best first.

        Args:
            query: A file, or the number of an item of the gallery (`Hit.item`).
            moment: Start and end in seconds of the part to look for.
            options: As `vidssl retrieve` has them: ``top``, ``level``, ``where``, ``group_by``,
                ``exclude_self``; see `vidssl_cli.search.retrieve.retrieve`.

        Raises:
            VidsslError: The query cannot be read.
            UsageError: ``where`` cannot be evaluated, or another argument is wrong.
        """
        return self.search_many([query], moments=[moment], **options)[0]

    def search_many(
        self,
        queries: Sequence[Query],
        *,
        moments: Sequence[Moment | None] | None = None,
        **options: Any,
    ) -> list[list[Hit]]:
        """Return the hits of several queries, which are searched for together.

        Raises:
            VidsslError: One of the queries cannot be read.
            UsageError: ``where`` cannot be evaluated, or another argument is wrong.
        """
        if not queries:
            return []
        parts = moments or [None] * len(queries)
        for part in parts:
            check_moment(part)
        texts = [_text(query, part) for query, part in zip(queries, parts, strict=True)]
        check_choice("level", options.get("level"), (None, *SEARCHES))
        check_choice("group_by", options.get("group_by"), (None, "video", "label"))
        check_positive("top", options.get("top", 10))
        for query in queries:
            if not isinstance(query, int) and os.path.isdir(query):
                raise UsageError(f"{query} is a folder", where=str(query), hint="give its videos")
        options.setdefault("device", self._device)
        try:
            answers, broken = retrieve(self._index, texts, **options)
        except VidsslError as error:
            raise error.__cause__ or error from None
        if broken:
            raise broken[0]
        return [list(answer.hits) for answer in answers]


def _text(query: Query, moment: Moment | None) -> str:
    """Return a query as the command line takes it."""
    text = f"#{query}" if isinstance(query, int) else os.fspath(query)
    return f"{text}@{moment[0]:f}-{moment[1]:f}" if moment else text
