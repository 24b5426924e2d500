"""`vidssl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.options import AsJson, Device, Overrides


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the videos and of the training.")] = 0,
    per_class_train: Annotated[int, typer.Option(min=1, help="Training videos of a class.")] = 40,
    per_class_test: Annotated[int, typer.Option(min=1, help="Test videos of a class.")] = 25,
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Tell the whole story on made-up videos.

    That is: learn, measure, index, search, look. The videos' classes differ only in how they
    move. Takes some minutes on two CPU cores.
    """
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.config.load import load_as, load_options
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.hooks import EvaluatorOptions

    recipe = load_as(PretrainRecipe, "demo", [f"train.seed={seed}", *(overrides or ())])
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UsageError(
            f"{out} is not empty", where=str(out), hint="replace an earlier demo by --overwrite"
        )

    from vidssl_cli.base.console import emit_json
    from vidssl_cli.cli import demo_story as room

    evaluator = load_options(EvaluatorOptions, "retrieval", [f"topk={list(room.TOPK)}"])
    story = room.demo(
        recipe,
        evaluator,
        out,
        seed=seed,
        per_class=(per_class_train, per_class_test),
        overwrite=overwrite,
        device=device,
    )
    if as_json:
        emit_json(room.as_json(story))
    else:
        room.show(story, recipe.input.mode)
