"""Writes a network to one file that other programs run: torch.export's, or ONNX.

The file takes clips as any decoder gives them, and does the rest: it cuts the square from the
middle, normalises, runs the network in float32 and pools. What it cannot do, which frames make a
clip and how large they are, is written into it as JSON.

Letters: N clips, T frames, H W pixels, S pixels of the network's square input, D features.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.data.synth import render
from vidssl_cli.files.atomic import draft
from vidssl_cli.model.pooling import check_tap, pool_tap

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from vidssl_cli.model.encoder import Encoder

Format = Literal["torch-export", "onnx"]
ENDINGS: dict[str, str] = {"torch-export": ".pt2", "onnx": ".onnx"}
CONTRACT = "vidssl.json"
"""The file in a .pt2, or the key of an ONNX file's metadata, that says how to use it."""
INPUT, OUTPUT = "clips", "features"
"""Names of what goes in and comes out."""
TOLERANCE = 1e-5
"""How far features may be from the run's, relative to the largest of them."""
ONNX_BYTES = 2**31 - 2**24
"""Weights that fit into an ONNX file."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[["Tensor"], "Tensor"]
"""Clips (N, T, H, W, 3) to features (N, D)."""


class ClipFeatures(nn.Module):
    """An encoder from clips (N, T, H, W, 3) uint8 to features (N, D) float32."""

    places: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        card = encoder.card
        check_tap(card.backbone.name, encoder.taps, card.evaluation.tap)
        # Built anew: the encoder's convolutions are prepared for training on this machine.
        self.backbone = cast(nn.Module, card.backbone.build())
        self.backbone.load_state_dict(encoder.backbone.state_dict())
        self.projection = copy.deepcopy(encoder.projection)
        self.card = card
        settings = card.input
        self.register_buffer("places", torch.arange(settings.crop), persistent=False)
        scale = 1 / (255 * torch.tensor(settings.std))
        shift = torch.tensor(settings.mean) / torch.tensor(settings.std)
        for name, value in (("scale", scale), ("shift", shift)):
            self.register_buffer(name, value.view(1, 3, 1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the features of clips."""
        side, (height, width) = self.card.input.crop, clips.shape[2:4]
        rows, columns = self.places + (height - side) // 2, self.places + (width - side) // 2
        square = clips.index_select(2, rows).index_select(3, columns).permute(0, 4, 1, 2, 3)
        x = square.float() * self.scale - self.shift
        if self.card.input.mode == "residual":
            x = x[:, :, 1:] - x[:, :, :-1]
            x = torch.cat([x, x[:, :, -1:]], 2)
        taps = self.backbone(x)
        chosen, layers = self.card.evaluation, self.card.projection
        if layers and self.projection and chosen.tap == "projection":
            read: Tensor = self.projection(pool_tap(taps[layers.tap].float(), "gap"))
            return read
        return pool_tap(taps[chosen.tap].float(), chosen.pool)


def reference(encoder: Encoder) -> Run:
    """Return how the run itself computes features of clips, in float32."""

    @torch.inference_mode()
    def features(clips: Tensor) -> Tensor:
        ready = encoder.prepare(list(clips.permute(0, 1, 4, 2, 3).contiguous()))
        taps = encoder.project(encoder.backbone(ready))
        chosen = encoder.evaluation
        return pool_tap(taps[chosen.tap].float(), chosen.pool)

    return features


def export(encoder: Encoder, to: Format, out: Path, real: Iterable[Tensor] = ()) -> dict[str, Any]:
    """Write an encoder to a file, after checking that it gives the same features.

    Args:
        encoder: On the CPU.
        to: The format.
        out: The file; it is replaced if it is there.
        real: Clips (N, T, H, W, 3) uint8 of videos to check with, besides noise and made-up ones.

    Returns:
        dict: What the file says of itself, with ``difference``, the largest one that was found.

    Raises:
        UsageError: The name of the file does not end as it should, or the file would be too large.
        VidsslError: A package is missing, the network cannot be exported, or the features differ.
    """
    if out.suffix != ENDINGS[to]:
        raise UsageError(f"{out.name} does not end in {ENDINGS[to]}", where="--out")
    if to == "onnx":
        _require_onnx(encoder)
    clips = [*_made_up(encoder), *real]
    program, any_length = _traced(encoder, clips[0])
    contract = describe(encoder, any_length)
    with draft(out) as hidden, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = hidden / out.name
        run = (_save_onnx if to == "onnx" else _save_torch)(program, contract, fresh)
        contract["difference"] = _difference(run, reference(encoder), clips)
        fresh.replace(out)
    return contract


def describe(encoder: Encoder, any_length: bool) -> dict[str, Any]:
    """Return what a file says of itself: how to make clips, and what comes out."""
    card, chosen = encoder.card, encoder.evaluation
    dim = int(reference(encoder)(_noise(encoder, 1)).shape[1])
    return {
        "vidssl": version("vidssl"),
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": ["N", "T" if any_length else card.frames, "H", "W", 3],
            "colours": "red, green, blue from 0 to 255",
            "frames": card.frames,
            "stride": chosen.stride,
            "fps": card.input.fps,
            "resize": card.input.resize,
            "crop": card.input.crop,
            "clips": chosen.clips,
        },
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["N", dim]},
        "backbone": card.backbone.model_dump(mode="json"),
        "tap": chosen.tap,
        "pool": chosen.pool,
        "weights": encoder.digest,
        "origin": card.origin,
        "licence": card.licence,
    }


def _require_onnx(encoder: Encoder) -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise VidsslError(
            f"--to onnx needs {', '.join(missing)}",
            hint="install it by `pip install 'vidssl[export]'`",
        )
    size = sum(tensor.nbytes for tensor in encoder.backbone.state_dict().values())
    if size > ONNX_BYTES:
        raise UsageError(
            f"the weights have {size / 2**30:.1f} GiB, and an ONNX file holds 2",
            where="--to",
            hint="--to torch-export has no such limit",
        )


def _noise(encoder: Encoder, clips: int) -> Tensor:
    """Draw clips of noise, larger than the square, and not square."""
    card = encoder.card
    size = card.input.crop + 5, card.input.crop + 12
    generator = torch.Generator().manual_seed(0)
    shape = (clips, card.frames, *size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _made_up(encoder: Encoder) -> list[Tensor]:
    """Make clips of noise, and of moving textures as `vidssl data synth` makes them."""
    frames, side = encoder.card.frames, encoder.card.input.crop
    moving = []
    for number, motion in enumerate(("linear", "spin")):
        pictures = render(motion, np.random.default_rng(number))
        shown = np.arange(frames) % len(pictures)
        repeats = -(-side // pictures.shape[1])
        moving.append(np.tile(pictures[shown], (1, repeats, repeats, 1)))
    return [_noise(encoder, 2), torch.from_numpy(np.stack(moving)), _noise(encoder, 1)]


def _traced(encoder: Encoder, clips: Tensor) -> tuple[ExportedProgram, bool]:
    """Return the program for any number of clips, and whether they may have any length.

    Some networks take clips of one length alone, such as those with a table of positions.

    Raises:
        VidsslError: The network cannot be exported.
    """
    network = ClipFeatures(encoder)
    twice = torch.cat([clips, clips], 1)
    for length in (Dim.AUTO, Dim.STATIC):
        sizes = {0: Dim("batch", min=1), 1: length, 2: Dim.AUTO, 3: Dim.AUTO, 4: Dim.STATIC}
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(
                    network, (clips,), dynamic_shapes=(sizes,), strict=False
                )
                if length == Dim.AUTO:
                    program.module()(twice)
            return program, length == Dim.AUTO
        except Exception as error:  # torch raises many kinds
            reason = error
    raise VidsslError(
        f"the backbone {encoder.card.backbone.name} cannot be exported: "
        f"{type(reason).__name__}: {' '.join(str(reason).split())[:500]}",
        where="backbone",
    )


def _save_torch(program: ExportedProgram, contract: dict[str, Any], path: Path) -> Run:
    """Write a file for `torch.export.load`; return what it computes."""
    torch.export.save(program, path, extra_files={CONTRACT: json.dumps(contract)})
    loaded = torch.export.load(path).module()

    def run(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = loaded(clips)
        return features

    return run


def _save_onnx(program: ExportedProgram, contract: dict[str, Any], path: Path) -> Run:
    """Write a file of ONNX; return what onnxruntime computes with it."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    made = torch.onnx.export(program, dynamo=True, verbose=False, output_names=[OUTPUT])
    assert made is not None
    graph = made.model.graph
    for value, side in ((graph.inputs[0], "input"), (graph.outputs[0], "output")):
        assert value.shape is not None
        value.shape = type(value.shape)(contract[side]["shape"])  # names, where torch has numbers
    made.model.metadata_props[CONTRACT] = json.dumps(contract)
    made.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run([OUTPUT], {INPUT: clips.numpy()})[0])


def _difference(run: Run, expected: Run, clips: Iterable[Tensor]) -> float:
    """Return how far the features are from the expected ones, relative to the largest.

    Raises:
        VidsslError: They are too far.
    """
    worst = 0.0
    for part in clips:
        wanted, found = expected(part), run(part)
        largest = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
        if not largest <= TOLERANCE:
            raise VidsslError(
                f"the exported network is {largest:.1g} off the run on clips of "
                f"{tuple(part.shape)}, and nothing was written",
                hint="report it, with the output of `vidssl doctor`",
            )
        worst = max(worst, largest)
    return worst
