"""Shards: equal parts of DATA for jobs on many machines, which agree on them without a word.

Each job lists DATA and takes its part of the list, so all must see the same files by the same
paths, and count the same videos as known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video

_MOST = 99_999
"""Shards of one DATA."""


@dataclass(frozen=True)
class Shard:
    """One of several parts of DATA, numbered from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the value of ``--shard``.

        Raises:
            UsageError: It is not I/N with I from 1 to N.
        """
        match = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
        if match and 1 <= int(match[1]) <= int(match[2]) <= _MOST:
            return cls(int(match[1]), int(match[2]))
        raise UsageError(
            f"{text!r} is not a shard such as 2/4: a number from 1 to how many there are, which "
            f"is at most {_MOST}",
            where="--shard",
            hint="where jobs are numbered from 0, as in Kubernetes, write "
            "--shard $((JOB_COMPLETION_INDEX + 1))/4",
        )

    def every(self, videos: Sequence[Video]) -> Sequence[Video]:
        """Return every so-many-th of the videos, which suits work whose order does not matter."""
        return videos[self.number - 1 :: self.count]


class Share:
    """The part of DATA that is one shard's: videos that follow each other.

    All shards of one DATA have about the same work.
    """

    def __init__(
        self,
        shard: Shard,
        known: Container[str],
        choose: Callable[[Sequence[Video]], Sequence[Video]],
    ) -> None:
        """Begin with nothing.

        Args:
            shard: Which.
            known: Paths of videos that are no work.
            choose: Leaves out videos that are in no shard.
        """
        self.shard = shard
        self.of = 0
        """Videos of all shards."""
        self.data = ""
        """SHA-256 of what is cut into shards, the same for all of one cut."""
        self._known, self._choose = known, choose

    def take(self, videos: Sequence[Video]) -> list[Video]:
        """Return those of all videos that are this shard's; see `open_data`."""
        videos = self._choose(videos)
        costs = _costs(videos, self._known)
        digest = hashlib.sha256()
        for video, cost in zip(videos, costs, strict=True):
            digest.update(f"{cost} {video.path}\n".encode(errors="surrogateescape"))
        self.of, self.data = len(videos), digest.hexdigest()
        # Twice the middle of each video, in units of cost: whole numbers are the same everywhere.
        middles = [2 * end - cost for end, cost in zip(accumulate(costs), costs, strict=True)]
        number, count, total = self.shard.number, self.shard.count, 2 * sum(costs)
        owners = [min(middle * count // total, count - 1) for middle in middles]
        return [v for v, owner in zip(videos, owners, strict=True) if owner == number - 1]


def _costs(videos: Sequence[Video], known: Container[str]) -> list[int]:
    """Return what each video costs: milliseconds if all are known, else bytes; 0 if it is known.

    If nothing costs anything, each costs 1.
    """
    new = [video for video in videos if video.path not in known]
    timed = all(video.duration for video in new)
    costs = {v.path: round(1000 * (v.duration or 0)) if timed else _size(v.path) for v in new}
    found = [costs.get(video.path, 0) for video in videos]
    return found if any(found) else [1] * len(videos)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # gone, which the job that gets it reports
        return 0
