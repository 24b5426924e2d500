"""What `vidssl index` does once, and with `--watch` again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.rescan import SCANNED, scanned_on_the_way
from vidssl_cli.data.shards import Shard, Share
from vidssl_cli.files.locks import refuse_locked
from vidssl_cli.search.build import Summary, UnchangedVideos, build_index, refuse_foreign
from vidssl_cli.search.generations import is_index
from vidssl_cli.search.shards import ShardSummary, build_shard, shard_folder

if TYPE_CHECKING:
    from vidssl_cli.base.engine import Engine
    from vidssl_cli.cli.options import DataOptions
    from vidssl_cli.contract.hooks import DecoderOptions
    from vidssl_cli.model.encoder import Encoder


@dataclass
class IndexRun:
    """Adds videos of DATA to an index."""

    encoder: Encoder
    data: str
    reading: DataOptions
    part: str
    """Split of DATA, or ``all``."""
    out: Path
    overwrite: bool
    """Whether the index that is there is replaced; by the first addition alone."""
    prune: bool
    """Whether videos are taken out whose files are gone."""
    settings: Mapping[str, Any]
    """Further arguments of `build_index` and `build_shard`."""
    engine: Engine | None = None
    """What decodes videos whose facts are not known."""
    decoder: DecoderOptions | None = None
    """What decodes videos instead of PyAV, if the first of them show that it is right and faster.
    """
    partial: int = 0
    """Videos so far of which not all frames can be used."""

    def add(self, wanted: Collection[str] | None = None) -> Summary:
        """Add the videos of DATA, or those with some paths.

        Raises:
            UsageError: There are none.
            BusyError: Another process is writing the index.
            VidsslError: As `build_index`.
        """
        videos: list[Video] = []
        broken: list[MediaError] = []
        refuse_foreign(self.out)
        refuse_locked(self.out, "vidssl index")
        with scanned_on_the_way(self.out / SCANNED) as (scanned, keep):
            if wanted is None or wanted:
                videos, broken = self._read(wanted, scanned, keep)
            self.partial += sum(bool(video.problems) for video in videos)
            self._choose_reader(videos)
            summary = build_index(
                self.encoder, videos, self.out, overwrite=self.overwrite, prune=self.prune,
                broken=broken, **self.settings,
            )  # fmt: skip
        self.overwrite = False
        return summary

    def add_shard(self, shard: Shard) -> ShardSummary:
        """Embed one shard of DATA.

        Raises:
            UsageError: DATA has no videos.
            VidsslError: As `build_shard`.
        """
        refuse_foreign(self.out)
        folder = shard_folder(self.out, shard)
        refuse_locked(folder, f"vidssl index --shard {shard}")
        share = Share(shard, UnchangedVideos(self.out), self._of_part)
        with scanned_on_the_way(folder / SCANNED) as (scanned, keep):
            videos, broken = self.reading.open(
                self.data,
                known=UnchangedVideos(self.out, scanned),
                keep=keep,
                take=share.take,
                engine=self.engine,
                workers=self.encoder.workers,
            )
            self.partial += sum(bool(video.problems) for video in videos)
            self._choose_reader(videos)
            return build_shard(
                self.encoder, videos, self.out, share, broken=broken, **self.settings
            )

    def _choose_reader(self, videos: Sequence[Video]) -> None:
        if videos:
            self.encoder.decode_by(self.decoder, videos)
            self.decoder = None

    def _read(
        self,
        wanted: Collection[str] | None,
        scanned: Mapping[str, Video],
        keep: Callable[[Video], None],
    ) -> tuple[list[Video], list[MediaError]]:
        def take(videos: Sequence[Video]) -> Sequence[Video]:
            return [video for video in videos if wanted is not None and video.path in wanted]

        found, broken = self.reading.open(
            self.data,
            known=scanned if self.overwrite else UnchangedVideos(self.out, scanned),
            keep=keep,
            take=None if wanted is None else take,
            engine=self.engine,
            workers=self.encoder.workers,
        )
        if not found and not (broken and is_index(self.out) and not self.overwrite):
            raise UsageError("none of the new files can be read", hint="the warnings say why")
        return self._of_part(found) if found else [], broken

    def _of_part(self, found: Sequence[Video]) -> list[Video]:
        videos = [video for video in found if self.part in ("all", video.split)]
        if not videos:
            splits = ", ".join(sorted({video.split or "none" for video in found}))
            raise UsageError(
                f"no video of {self.data} is in the part {self.part!r}; their splits: {splits}",
                where="--part",
                hint="leave out --part to take all, or give data that have splits",
            )
        return videos
