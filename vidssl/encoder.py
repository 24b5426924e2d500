"""A network that embeds videos.

Letters: N rows, D features, T frames, H W pixels, S pixels of the network's square input.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch

from vidssl.arguments import check_choice, check_moment, check_positive
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.media.probe import probe
from vidssl_cli.media.scale import scaled_planes
from vidssl_cli.model.embedding import Embedded, Every, embed, embed_planes
from vidssl_cli.model.encoder import Encoder as Network
from vidssl_cli.search.features_file import of_embedded
from vidssl_cli.search.generations import is_index
from vidssl_cli.search.levels import LEVELS
from vidssl_cli.search.store import open_index

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Source = str | os.PathLike[str] | Video | NDArray[np.uint8]
    """A file, a row of `scan`, or frames (T, H, W, 3) of red, green and blue from 0 to 255."""


@dataclass(frozen=True)
class Embeddings:
    """Features of videos, or of their clips."""

    vectors: NDArray[np.float32]
    """(N, D), as the network gives them."""
    seconds: NDArray[np.float32]
    """(N, 2) start and end of what each row shows."""
    sources: NDArray[np.int64]
    """(N,) which of the given videos each row is of."""

    @property
    def unit(self) -> NDArray[np.float32]:
        """(N, D) scaled to length 1, so that scalar products are cosines; zeros stay."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (self.vectors / np.where(lengths > 0, lengths, 1)).astype("f4")
        return unit


class Encoder:
    """Embeds videos as the network's recipe says; made by `load`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    @property
    def backbone(self) -> nn.Module:
        """The network: clips (N, 3, T, S, S) to a dictionary of taps; in evaluation mode."""
        return self._network.backbone

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._network.device

    @property
    def frames(self) -> int:
        """T, frames of a clip."""
        return self._network.card.frames

    @property
    def size(self) -> int:
        """S, pixels of a side of its input."""
        return self._network.card.input.crop

    def preprocess(self, frames: NDArray[np.uint8]) -> Tensor:
        """Return what the backbone takes (N, 3, T, S, S) of clips (N, T, H, W, 3) or (T, H, W, 3).

        Frames are scaled, cut at the centre and normalised as those of files are.
        """
        clips = frames if frames.ndim == 5 else frames[None]
        planes = [self._planes(clip) for clip in clips]
        return self._network.prepare([torch.from_numpy(clip) for clip in planes])

    def embed(
        self,
        videos: Source | Sequence[Source],
        *,
        moments: Moment | Sequence[Moment | None] | None = None,
        every: Every = "recipe",
        level: Literal["video", "clip"] = "video",
        fps: float = 25.0,
        skipped: list[MediaError] | None = None,
    ) -> Embeddings:
        """Embed videos.

        Args:
            videos: One or several: files, rows of `scan`, or frames (T, H, W, 3).
            moments: Start and end in seconds of the part of each video to embed; None takes whole
                videos.
            every: Where the clips of a whole video are: ``recipe`` takes evenly spaced ones, as
                many as the recipe says; ``clip`` as many more as leave no frame out; a number
                begins one every so many seconds.
            level: ``video`` gives a row a video, the mean over its clips; ``clip`` a row a clip.
            fps: Frames per second of videos that are given as frames.
            skipped: Receives an error for each video that cannot be read, and has no row then;
                without it the first is raised.

        Raises:
            MediaError: A video cannot be read.
            UsageError: There is nothing to embed, not a moment for each video, or another
                argument is wrong.
        """
        given = (
            [videos] if isinstance(videos, str | os.PathLike | Video | np.ndarray) else [*videos]
        )
        parts = _each(moments, len(given))
        check_choice("level", level, LEVELS)
        if every not in ("recipe", "clip"):
            check_positive("every", every)
        check_positive("fps", fps)
        for part in parts:
            check_moment(part)
        if not given or len(parts) != len(given):
            raise UsageError(f"{len(given)} videos and {len(parts)} moments were given")
        broken: list[MediaError] = []
        found = self._embedded(given, parts, every, fps, broken)
        if broken and skipped is None:
            raise broken[0]
        if skipped is not None:
            skipped += broken
        rows = list(of_embedded((found[n] for n in sorted(found)), level))
        sources = [[n] * len(row.vectors) for n, row in zip(sorted(found), rows, strict=True)]
        if not rows:
            raise broken[0]
        return Embeddings(
            np.concatenate([row.vectors for row in rows]),
            np.concatenate([row.spans for row in rows]),
            np.concatenate(sources),
        )

    def _embedded(
        self,
        given: Sequence[Source],
        moments: Sequence[Moment | None],
        every: Every,
        fps: float,
        broken: list[MediaError],
    ) -> dict[int, Embedded]:
        """Return what could be embedded, by number; files are decoded ahead of the network."""
        found: dict[int, Embedded] = {}
        files: dict[int, Video] = {}
        for number, source in enumerate(given):
            try:
                if isinstance(source, np.ndarray):
                    planes = self._planes(source)
                    moment = moments[number]
                    found[number] = embed_planes(self._network, planes, fps, every, moment)
                elif isinstance(source, Video):
                    files[number] = replace(source)  # a copy: one video may be given twice
                else:
                    files[number] = probe(os.fspath(source))
            except MediaError as error:
                broken.append(error)
        numbers = {id(video): number for number, video in files.items()}
        parts = [moments[number] for number in files]
        for item in embed(
            self._network, [*files.values()], every=every, moments=parts, skipped=broken
        ):
            found[numbers[id(item.video)]] = item
        return found

    def _planes(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return frames (T, H, W, 3) at the size at which files are decoded (T, 3, H, W)."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise UsageError(
                f"frames are {frames.dtype} {frames.shape}, not uint8 (T, H, W, 3)",
                hint="give red, green and blue from 0 to 255",
            )
        return scaled_planes(frames, self._network.card.input.resize)


def load(source: str | Path, *, device: str = "auto", checkpoint: str = "last") -> Encoder:
    """Load a network.

    Args:
        source: A run, an exported model, or an index.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        checkpoint: Of a run: ``last`` or ``best``.

    Raises:
        UsageError: It is none of these, or the run has no checkpoint yet.
        DamagedFileError: A file of it is damaged.
    """
    folder = Path(source)
    if is_index(folder):
        return Encoder(open_index(folder).load_encoder(device))
    return Encoder(Network.load(folder, device, checkpoint))


def _each(moments: Moment | Sequence[Moment | None] | None, count: int) -> list[Moment | None]:
    """Return a moment for each of so many videos."""
    if moments is None:
        return [None] * count
    if len(moments) == 2 and all(isinstance(each, int | float) for each in moments):
        return [cast(Moment, moments)] * count
    return [*cast(Sequence[Moment | None], moments)]
