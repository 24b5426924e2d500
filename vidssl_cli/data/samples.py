"""From a planned video to clips: decoding in a worker, augmentation on the training device."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.contract.clips import Batch, ClipPlan, Draw
from vidssl_cli.data import augment
from vidssl_cli.data.decoders import PYAV, FrameReader
from vidssl_cli.data.streams import cut_flow, cut_pixels
from vidssl_cli.data.transfer import send, send_frames
from vidssl_cli.data.views import decode_views
from vidssl_cli.media.flow import flow_of_views

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.config.sections import Augment, Input
    from vidssl_cli.contract.hooks import Stream
    from vidssl_cli.contract.videos import FlowMethod, Video

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sample:
    """One video of a batch before it reaches the device."""

    video: int
    plan: ClipPlan
    pictures: Tensor
    """(V, T, 3, H, W) uint8."""
    parameters: augment.Parameters
    seconds: float
    """How long a worker took to make it."""
    flow: Tensor | None = None
    """(V, T - 1, 2, H, W) float32, if a pretext task asks for flow."""


@dataclass(frozen=True)
class Pipeline:
    """How plans become samples, in any thread, and samples become batches."""

    settings: Input
    augmentation: Augment
    streams: frozenset[Stream] = frozenset()
    """What batches hold in addition to clips."""
    flow: FlowMethod = "dis"
    """How optical flow is computed where the data hold none."""
    device: torch.device = CPU
    """Where batches are made."""
    read: FrameReader = PYAV
    """Decodes videos."""

    def load(self, number: int, video: Video, draw: Draw, plan: ClipPlan) -> Sample:
        """Decode what is planned of the video of that number, and draw its augmentation.

        Raises:
            MediaError: the video cannot be read.
        """
        begun = time.monotonic()
        frames = [view.frames for view in plan.views]
        pictures = decode_views(video, frames, self.settings.resize, self.read)
        size = (pictures.shape[-2], pictures.shape[-1])
        parameters = augment.draw_parameters(
            plan, draw, self.augmentation, self.settings.crop, size
        )
        flow = None
        if "flow" in self.streams:
            flow = torch.from_numpy(flow_of_views(video, frames, pictures.numpy(), self.flow))
        return Sample(number, plan, pictures, parameters, time.monotonic() - begun, flow)

    def collate(
        self, samples: Sequence[Sample], labels: Mapping[str, NDArray[np.int64]] | None = None
    ) -> Batch:
        """Augment the pictures of samples, and put them and their labels together.

        Args:
            samples: of a process's part of a batch.
            labels: of the samples, by name, beside those of their plans.
        """
        parameters = augment.Parameters.stack([sample.parameters for sample in samples])
        names = [*samples[0].plan.labels]
        arrays = [np.stack([sample.plan.labels[name] for sample in samples]) for name in names]
        names += labels or {}
        arrays += (labels or {}).values()
        video = np.array([sample.video for sample in samples], np.int64)
        frames = np.stack([[view.frames for view in sample.plan.views] for sample in samples])
        own = len(names) + 2
        needed = augment.operands(parameters, self.settings)
        sent = send([*arrays, video, frames, *needed], self.device)
        operands = augment.Operands(*sent[own:])
        pictures = self._arrived([sample.pictures for sample in samples])
        side = self.settings.crop

        def by_video(clips: Tensor) -> Tensor:
            return clips.view(len(samples), -1, *clips.shape[1:])

        pixels = flow = None
        if "pixels" in self.streams:
            pixels = by_video(cut_pixels(pictures, parameters, side, operands.placed))
        if "flow" in self.streams:
            fields = self._arrived([sample.flow for sample in samples if sample.flow is not None])
            flow = by_video(cut_flow(fields, parameters, side, operands.placed))
        return Batch(
            clips=by_video(augment.prepare(pictures, parameters, self.settings, operands)),
            labels=dict(zip(names, sent, strict=False)),
            video=sent[own - 2],
            frames=sent[own - 1],
            pixels=pixels,
            flow=flow,
        )

    def _arrived(self, clips: Sequence[Tensor]) -> Sequence[Tensor] | Tensor:
        """Return N clips (T, C, H, W) on the device of videos (V, T, C, H, W) on the host."""
        if self.device.type == "cpu":
            return [clip for views in clips for clip in views]
        return send_frames(clips, self.device)
