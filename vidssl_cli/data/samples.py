"""From a planned video to clips: decoding in a worker, augmentation on the training device."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.contract.clips import Batch, ClipPlan, Draw
from vidssl_cli.data import augment
from vidssl_cli.data.streams import cut_flow, cut_pixels
from vidssl_cli.data.views import decode_views
from vidssl_cli.media.flow import flow_of_views

if TYPE_CHECKING:
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

    def load(self, number: int, video: Video, draw: Draw, plan: ClipPlan) -> Sample:
        """Decode what is planned of the video of that number, and draw its augmentation.

        Raises:
            MediaError: the video cannot be read.
        """
        begun = time.monotonic()
        frames = [view.frames for view in plan.views]
        pinned = self.device.type == "cuda"
        pictures = decode_views(video, frames, self.settings.resize, pinned=pinned)
        size = (pictures.shape[-2], pictures.shape[-1])
        parameters = augment.draw_parameters(
            plan, draw, self.augmentation, self.settings.crop, size
        )
        flow = None
        if "flow" in self.streams:
            flow = torch.from_numpy(flow_of_views(video, frames, pictures.numpy(), self.flow))
        return Sample(number, plan, pictures, parameters, time.monotonic() - begun, flow)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Augment the pictures of samples, and put them and their labels together."""
        arrived = [sample.pictures.to(self.device, non_blocking=True) for sample in samples]
        parameters = augment.Parameters.stack([sample.parameters for sample in samples])
        pictures = [picture for views in arrived for picture in views]
        side = self.settings.crop

        def by_video(clips: Tensor) -> Tensor:
            return clips.view(len(samples), -1, *clips.shape[1:])

        pixels = flow = None
        if "pixels" in self.streams:
            pixels = by_video(cut_pixels(pictures, parameters, side))
        if "flow" in self.streams:
            flow = by_video(cut_flow(self._flow_of_clips(samples), parameters, side))
        labels = {
            name: torch.from_numpy(np.stack([s.plan.labels[name] for s in samples]))
            for name in samples[0].plan.labels
        }
        frames = np.stack([[view.frames for view in sample.plan.views] for sample in samples])
        return Batch(
            clips=by_video(augment.prepare(pictures, parameters, self.settings)),
            labels={name: label.to(self.device) for name, label in labels.items()},
            video=torch.tensor([sample.video for sample in samples]).to(self.device),
            frames=torch.from_numpy(frames),
            pixels=pixels,
            flow=flow,
        )

    def _flow_of_clips(self, samples: Sequence[Sample]) -> list[Tensor]:
        """Return (T - 1, 2, H, W) of every clip, on the device."""
        return [
            flow.to(self.device, non_blocking=True)
            for sample in samples
            if sample.flow is not None
            for flow in sample.flow
        ]
