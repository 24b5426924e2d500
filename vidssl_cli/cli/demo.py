"""`vidssl demo`; `cli.demo_run` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.next_command import say_next, search_of
from vidssl_cli.cli.options import AsJson, Device, Overrides


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for everything.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the videos and of the training.")] = 0,
    per_class_train: Annotated[int, typer.Option(min=1, help="Training videos of a class.")] = 40,
    per_class_test: Annotated[int, typer.Option(min=1, help="Test videos of a class.")] = 25,
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Run the demo: pretrain, evaluate and search on made-up videos.

    The videos' classes differ only in motion. Takes some minutes on two CPU cores.
    """
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.config.load import load_as, load_options
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.hooks import EvaluatorOptions

    settings = [f"train.seed={seed}", *(overrides or ())]
    recipe = load_as(PretrainRecipe, "demo", settings)
    if not overwrite and out.exists() and any(out.iterdir()):
        raise UsageError(
            f"{out} is not empty", where=str(out), hint="replace an earlier demo by --overwrite"
        )

    from vidssl_cli.base.console import emit_json
    from vidssl_cli.cli import demo_run

    evaluator = load_options(EvaluatorOptions, "retrieval", [f"topk={list(demo_run.TOPK)}"])
    result = demo_run.demo(
        recipe,
        evaluator,
        out,
        seed=seed,
        per_class=(per_class_train, per_class_test),
        settings=settings,
        overwrite=overwrite,
        device=device,
    )
    if as_json:
        emit_json(demo_run.as_json(result))
    else:
        demo_run.show(result, recipe.input.mode)
    say_next(as_json, *search_of(out / "index"))
