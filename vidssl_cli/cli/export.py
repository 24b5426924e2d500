"""`vidssl export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidssl_cli.cli.options import AsJson, Checkpoint, Run, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from vidssl_cli.model.encoder import Encoder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    run: Run,
    to: Annotated[
        Literal["torch-export", "onnx"],
        typer.Option(help="torch-export is for PyTorch, onnx for other programs."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write: .pt2, or .onnx.")],
    *,
    check: Annotated[
        list[Path] | None,
        typer.Option(metavar="VIDEO", help="A video to check the file with too; repeatable."),
    ] = None,
    checkpoint: Checkpoint = "last",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a network to one file for other programs.

    It takes clips as uint8 and gives the features of the run, which is checked before it is there.
    """
    refuse_existing(out, overwrite)

    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.model.export import export as write

    encoder = Encoder.load(run, "cpu", checkpoint)
    say(f"tracing {encoder.card.backbone.name}; this takes a minute")
    contract = write(encoder, to, out, _clips(encoder, check or ()))
    if as_json:
        emit_json({"file": str(out), **contract})
        return
    shapes = [" x ".join(map(str, contract[side]["shape"])) for side in ("input", "output")]
    say(
        f"clips {shapes[0]} uint8 to features {shapes[1]}, {contract['difference']:.1g} off the run"
    )
    say("docs/python.md shows how to load it")
    emit(str(out))


def _clips(encoder: Encoder, paths: Sequence[Path]) -> Iterator[Tensor]:
    """Yield clips (N, T, H, W, 3) of videos, as the run would see them.

    Raises:
        MediaError: One of them cannot be read.
    """
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.contract.clips import Windows
    from vidssl_cli.data.views import decode_ahead
    from vidssl_cli.media.probe import probe

    windows = Windows(clips=2, stride=encoder.evaluation.stride)
    videos = [probe(str(path)) for path in paths]
    views = ((video, encoder.views(video, windows)) for video in videos)
    skipped: list[MediaError] = []
    for _, pictures in decode_ahead(views, encoder.card.input.resize, skipped):
        yield pictures.flatten(0, -5).permute(0, 1, 3, 4, 2).contiguous()
    if skipped:
        raise skipped[0]
