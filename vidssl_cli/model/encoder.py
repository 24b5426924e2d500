"""The encoder: a backbone with its input and pooling, from videos to features."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.clips import Windows, known_frames
from vidssl_cli.contract.study import Layer
from vidssl_cli.data import augment
from vidssl_cli.data.decoders import PYAV, choose_reader
from vidssl_cli.data.frame_rate import at_rate, position_at, seconds_at, stored_frames
from vidssl_cli.data.transfer import send_frames
from vidssl_cli.data.views import decode_ahead
from vidssl_cli.files.sealed_folder import MANIFEST, publish
from vidssl_cli.media.geometry import centre_box, three_boxes
from vidssl_cli.model import replicas
from vidssl_cli.model.card import PROJECTION, Card, read_card
from vidssl_cli.model.devices import choose_device, place
from vidssl_cli.model.pooling import check_tap, pool_tap
from vidssl_cli.model.precision import DTYPES, inference_precision
from vidssl_cli.model.run_directory import CARD, verify_file
from vidssl_cli.model.weights import (
    MODEL,
    SizeLimit,
    load_weights,
    read_checked,
    read_newest,
    read_tensors,
    under,
    write_tensors,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.contract.hooks import Backbone, DecoderOptions
    from vidssl_cli.contract.study import Crops
    from vidssl_cli.contract.videos import Moment, Video

    Decoded = tuple[tuple[Video, NDArray[np.int64]], Tensor]
    Read = tuple[Video, NDArray[np.int64], list[NDArray[np.float32]]]

CLIPS_AT_ONCE = 32
"""Clips of a video that pass through the network together; of all sub-sequences of a long video
the activations would fill a device."""


PROJECTION_FILE = "projection.safetensors"
"""Of an exported model folder that has one."""


class Encoder:
    """A backbone and its card, ready for videos."""

    def __init__(self, card: Card, backbone: Backbone, device: torch.device) -> None:
        self.card = card
        self.backbone = cast(nn.Module, backbone)
        self.taps = backbone.taps
        self.projection: nn.Module | None = None
        """Of the card; with random weights, until `load` reads others."""
        if layers := card.projection:
            check_tap(card.backbone.name, backbone.taps, layers.tap)
            self.projection = layers.build(backbone.taps[layers.tap])
            self.taps = {**backbone.taps, PROJECTION: layers.dim}
        self.device = device
        self.devices: Sequence[torch.device] = [device]
        """Where `read` computes, the first of them this one."""
        self.workers: int | None = None
        """Threads that decode for it; None takes one per core."""
        self.reader = PYAV
        """Decodes videos for it."""
        self.trained: str | None = None
        """Name of the checkpoint that it was loaded from; None if it was not."""
        for part in self._parts.values():
            place(part, device)
            part.eval()

    @property
    def _parts(self) -> dict[str, nn.Module]:
        """The modules whose weights it has, by what their names begin with in the digest."""
        return {"": self.backbone} | ({"projection/": self.projection} if self.projection else {})

    @property
    def evaluation(self) -> Evaluation:
        """How it embeds a video by default."""
        return self.card.evaluation

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(
            (prefix + name, tensor)
            for prefix, part in self._parts.items()
            for name, tensor in part.state_dict().items()
        ):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "auto",
        checkpoint: str = "last",
        *,
        workers: int | None = None,
        every_gpu: bool = False,
    ) -> Encoder:
        """Load a run directory or an exported model folder.

        Args:
            folder: either.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
            checkpoint: of a run: ``last`` or ``best``.
            workers: threads that decode for it; None takes one per core.
            every_gpu: whether ``auto`` computes on all GPUs that there are, instead of one.

        Raises:
            UsageError: the folder is neither, or the run has no checkpoint yet.
            DamagedFileError: a file is damaged, or the weights do not fit the backbone.
        """
        chosen = choose_device(device)
        projection: dict[str, Tensor] = {}
        if (folder / MODEL).is_file() or (folder / MANIFEST).is_file():
            also = [PROJECTION_FILE] if (folder / PROJECTION_FILE).is_file() else []
            source, tensors = folder, read_tensors(folder, CARD, *also)
            card = read_card(folder / CARD)
            if also:
                projection = read_checked(folder / PROJECTION_FILE)
        else:
            card = read_card(verify_file(folder, CARD))
            source, found = read_newest(folder, checkpoint, read_tensors)
            tensors = under(found, "backbone.")
            if card.projection:
                projection = under(found, card.projection.prefix)
        with SizeLimit(tensors | projection, folder / CARD):
            encoder = cls(card, card.backbone.build(), chosen)
        load_weights(encoder.backbone, tensors, source)
        if encoder.projection:
            load_weights(encoder.projection, projection, source)
        encoder.trained = None if source == folder else source.name
        encoder.workers = workers
        if every_gpu and device == "auto" and chosen.type == "cuda":
            encoder.devices = replicas.every_gpu()
        return encoder

    def export(self, folder: Path) -> None:
        """Write a model folder: weights, card and manifest."""

        def write(draft: Path) -> None:
            write_tensors(draft / MODEL, self.backbone.state_dict())
            if self.projection:
                write_tensors(draft / PROJECTION_FILE, self.projection.state_dict())
            (draft / CARD).write_text(self.card.as_text(), encoding="utf-8")

        publish(folder, write)

    def randomised(self) -> Encoder:
        """Return the same network with random weights, with which every result is compared."""
        torch.manual_seed(self.card.seed)
        other = Encoder(self.card, self.card.backbone.build(), self.device)
        other.devices, other.workers = self.devices, self.workers
        return other

    def on(self, device: torch.device) -> Encoder:
        """Return a copy on another device."""
        other = Encoder(self.card, copy.deepcopy(cast(Any, self.backbone)), device)
        if self.projection:
            other.projection = copy.deepcopy(self.projection).to(device)
        return other

    def prepare(self, pictures: Sequence[Tensor], crops: Crops = "centre") -> Tensor:
        """Turn N pictures (T, 3, H, W) into clips (N, 3, T, S, S), or (3N, …) with three crops."""
        side = self.card.input.crop
        boxes = three_boxes if crops == "three" else lambda *cut: [centre_box(*cut)]
        cuts = [(p, box) for p in pictures for box in boxes(side, (p.shape[-2], p.shape[-1]))]
        there: Sequence[Tensor] | Tensor = [picture for picture, _ in cuts]
        if self.device.type != "cpu":  # each picture is sent once, however many squares are cut
            sent = send_frames([picture[None] for picture in pictures], self.device)
            there = sent.repeat_interleave(len(cuts) // len(sent), 0, output_size=len(cuts))
        return augment.prepare(
            there,
            augment.Parameters.stack([augment.cropped(box) for _, box in cuts]),
            self.card.input,
        )

    @torch.inference_mode()
    def taps_of(self, clips: Tensor) -> dict[str, Tensor]:
        """Run clips (N, 3, T, S, S) through the network; return every tap."""
        precision = DTYPES[inference_precision(self.device)]
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            taps: dict[str, Tensor] = self.backbone(clips)
        return self.project(taps)

    def project(self, taps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return taps with what the projection makes of them, in float32, if there is one."""
        if self.projection is None or self.card.projection is None:
            return taps
        read = pool_tap(taps[self.card.projection.tap].float(), "gap")
        return {**taps, PROJECTION: self.projection(read)}

    def calibrate(self, videos: Sequence[Video], skipped: list[MediaError], clips: int = 1) -> None:
        """Set the running statistics of the norms from so many clips of each video.

        A network with random weights needs it: with the initial statistics its features would be
        worse than random weights have to be.
        """
        for module in chain.from_iterable(part.modules() for part in self._parts.values()):
            if reset := getattr(module, "reset_running_stats", None):
                reset()
                vars(module)["momentum"] = None  # a cumulative mean
        windows = Windows(clips=clips)
        views = ((video, self.views(video, windows)) for video in videos)
        decoded = self._decoded(views, skipped)
        seen = torch.cat([self.prepare(list(pictures)) for _, pictures in decoded])
        for part in self._parts.values():
            part.train()
        for group in seen.tensor_split(ceil(len(seen) / 8)):
            self.taps_of(group)
        for part in self._parts.values():
            part.eval()

    def count(self, video: Video) -> int:
        """Return how many frames a video has at the network's rate (``input.fps``)."""
        return known_frames(at_rate(video, self.card.input.fps))

    def views(
        self, video: Video, windows: Windows, moment: Moment | None = None
    ) -> NDArray[np.int64]:
        """Return (clips, T) stored frame numbers of clips of the video or of a moment of it.

        They are (clips, S, T) if the windows have S strides.

        A moment shorter than a clip of this video lasts on average is widened around its middle:
        fewer frames, slowed down or repeated, would show another motion. Where the moment has
        fewer frames than a clip all the same, since they are slower there, they are played there
        and back.
        """
        rate, count = self.card.input.fps, self.count(video)
        if moment is None:
            return stored_frames(video, rate, windows.of(count, self.card.frames))
        span = self.span(windows.stride)
        first, shown = self._part(at_rate(video, rate), count, span, moment)
        played = max(shown, min(count, span))
        numbers = windows.of(played, self.card.frames)
        back = numbers % max(1, 2 * shown - 2)
        return stored_frames(video, rate, first + np.minimum(back, 2 * shown - 2 - back))

    def span(self, stride: int | tuple[int, ...]) -> int:
        """Return how many frames a clip spans, that of the largest stride of several."""
        return (self.card.frames - 1) * max(Windows(stride=stride).strides) + 1

    def _part(self, video: Video, count: int, span: int, moment: Moment) -> tuple[int, int]:
        """Return the first frame and the number of frames of a moment that may be widened."""
        start, end = moment
        length = float(seconds_at(video, np.array(count)))
        least = min(1.0, span / count) * length
        short = end - start < least
        if short:
            start = min(max(0.0, (start + end - least) / 2), length - least)
            end = start + least
        places = position_at(video, np.array([start, end]))
        first, last = np.round(places) if short else (np.floor(places[0]), np.ceil(places[1]))
        first = min(int(first), count - 1)
        return first, max(1, min(int(last), count) - first)

    def read(
        self,
        views: Iterator[tuple[Video, NDArray[np.int64]]],
        readings: Sequence[Layer],
        crops: Crops,
        skipped: list[MediaError],
    ) -> Iterator[Read]:
        """Yield the features of clips, video after video; none affects another.

        Args:
            views: videos with (clips, T) stored frame numbers, or (clips, S, T).
            readings: layers to read, and how they are pooled.
            crops: squares to cut from every clip.
            skipped: an error for every video that cannot be read is appended to it, in order.

        Yields:
            The video, its frame numbers, and for each reading (clips x crops, D); features of S
            strides are joined, (clips x crops, S x D).
        """
        for reading in readings:
            check_tap(self.card.backbone.name, self.taps, reading.tap)
        networks = [self, *(self.on(device) for device in self.devices[1:])]

        def compute(encoder: Encoder, decoded: Decoded) -> Read:
            (video, frames), pictures = decoded
            return video, frames, encoder.features_of(pictures, readings, crops)

        decoded = self._decoded(views, skipped)
        yield from replicas.spread(networks, compute, decoded)

    def _decoded(
        self, views: Iterator[tuple[Video, NDArray[np.int64]]], skipped: list[MediaError]
    ) -> Iterator[Decoded]:
        size = self.card.input.resize
        return decode_ahead(views, size, skipped, self.workers, self.reader)

    def decode_by(self, options: DecoderOptions | None, videos: Sequence[Video]) -> None:
        """Let a plugin decode videos, if it is right and faster than PyAV with some of these.

        Raises:
            VidsslError: it cannot be used on this machine.
        """
        size = self.card.input.resize
        self.reader = choose_reader(options, videos, size, str(self.device), self.workers)

    def features_of(
        self, pictures: Tensor, readings: Sequence[Layer], crops: Crops
    ) -> list[NDArray[np.float32]]:
        """Return for each reading the features (clips x crops, D) of (clips, T, 3, H, W).

        Of (clips, S, T, 3, H, W) they are (clips x crops, S x D).
        """
        single = pictures.flatten(0, -5)
        parts = [
            self._pooled(self.prepare(list(part), crops), readings)
            for part in torch.split(single, CLIPS_AT_ONCE)
        ]
        found = (np.concatenate(features) for features in zip(*parts, strict=True))
        return [_joined(features, tuple(pictures.shape[:-4])) for features in found]

    def _pooled(self, clips: Tensor, readings: Sequence[Layer]) -> list[NDArray[np.float32]]:
        """Return (N, D) of clips (N, 3, T, S, S) for each reading."""
        taps = self.taps_of(clips)
        return [pool_tap(taps[r.tap].float(), r.pool).cpu().numpy() for r in readings]


def _joined(features: NDArray[np.float32], clips: tuple[int, ...]) -> NDArray[np.float32]:
    """Return (clips x crops, S x D) of (clips x S x crops, D); ``clips`` is (clips, S)."""
    if len(clips) == 1:
        return features
    parts = features.reshape(*clips, -1, features.shape[1]).swapaxes(1, 2)
    return parts.reshape(-1, clips[1] * features.shape[1])
