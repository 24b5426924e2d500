"""`vidssl data check` and `preview`: whether data suit a recipe, before it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli.data import data
from vidssl_cli.cli.next_command import new_run, say_next, setting
from vidssl_cli.cli.options import (
    AsJson,
    Data,
    DataOptions,
    ListOptions,
    Overrides,
    OverwritePage,
    RecipeName,
    Strict,
    expand,
    refuse_page,
)

if TYPE_CHECKING:
    from vidssl_cli.data.check import Finding


def register(_app: typer.Typer) -> None:
    """Add the commands to `vidssl data`."""
    data.command()(expand(check))
    data.command()(expand(preview))


def check(
    recipe: RecipeName,
    source: Data,
    *,
    overrides: Overrides = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Decode three frames of each video to find copies and videos of one colour.",
        ),
    ] = True,
    reading: ListOptions,
    as_json: AsJson = False,
) -> None:
    """Check data for problems that would hurt a recipe.

    Such as short or damaged videos, recordings that are in several splits, unbalanced classes.
    Every byte of a packed set is read and compared with its SHA-256.
    """
    from vidssl_cli.config.load import load

    chosen = load(recipe, overrides or ())

    from vidssl_cli.base.console import emit_json
    from vidssl_cli.data.check import check as examine

    videos, broken = reading.open(source)
    usable, findings = examine(chosen, videos, broken, pictures=pictures, workers=reading.workers)
    if as_json:
        emit_json(
            {
                "recipe": recipe,
                "videos": len(videos),
                "usable": usable,
                "findings": [_as_document(finding) for finding in findings],
            }
        )
    else:
        _tell(f"{counted(len(videos), 'video')}, {usable} to train {recipe} on", findings)
    _say_next(as_json, recipe, source, reading, overrides)


def _as_document(finding: Finding) -> dict[str, object]:
    items = [{"item": item, "detail": detail} for item, detail in finding.items]
    return {"kind": finding.kind, "message": finding.message, "items": items}


def _tell(title: str, findings: Sequence[Finding]) -> None:
    from vidssl_cli.base.console import emit, emit_table

    if not findings:
        emit(f"{title}; no problem was found")
        return
    rows = []
    for finding in findings:
        item, detail = finding.items[0] if finding.items else ("", None)
        example = detail and f"{Path(item).name}: {detail}"
        rows.append((finding.kind, len(finding.items) or None, finding.message, example))
    emit_table(title, ["found", "count", "what it means", "for example"], rows)


def preview(
    recipe: RecipeName,
    source: Data,
    out: Annotated[Path, typer.Option(metavar="PAGE", help="Page to write (.html).")],
    *,
    videos: Annotated[int, typer.Option(min=1, help="How many to draw.")] = 6,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed, instead of the recipe's train.seed.")
    ] = None,
    epoch: Annotated[int, typer.Option(min=0, help="Which epoch, from 0.")] = 0,
    step: Annotated[int, typer.Option(min=0, help="Which step of the epoch, from 0.")] = 0,
    overrides: Overrides = None,
    reading: DataOptions,
    overwrite: OverwritePage = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Draw the clips that a recipe trains on.

    Each clip is augmented as in training, and has its frame numbers and labels.
    """
    from vidssl_cli.base.errors import SkippedMediaError
    from vidssl_cli.config.load import load_as
    from vidssl_cli.config.recipe import PretrainRecipe

    seeds = [] if seed is None else [f"train.seed={seed}"]
    chosen = load_as(PretrainRecipe, recipe, [*(overrides or ()), *seeds])
    refuse_page(out, overwrite)

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.data.manifest import training_part
    from vidssl_cli.pages.preview import preview as draw

    found, broken = reading.open(source)
    place = {"epoch": epoch, "step": step}
    drawn, left_out = draw(
        recipe, chosen, training_part(found), out, videos=videos, broken=broken, **place
    )
    if as_json:
        reasons = [error.row for error in left_out]
        place |= {"seed": chosen.train.seed}
        emit_json({"page": str(out), "videos": drawn, **place, "broken": reasons})
    else:
        emit(str(out))
    SkippedMediaError.raise_if(strict, len(left_out))
    _say_next(as_json, recipe, source, reading, overrides)


def _say_next(
    as_json: bool,
    recipe: str,
    source: str,
    reading: DataOptions,
    overrides: Sequence[str] | None,
) -> None:
    """Name the training of a recipe on data that were looked at."""
    given = [*reading.as_words(), *setting(overrides)]
    say_next(as_json, "pretrain", recipe, "--data", source, *given, "--out", new_run(recipe))
