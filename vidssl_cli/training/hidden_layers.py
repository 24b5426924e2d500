"""Hidden layers of a head that belong to the network, carried from a run into a classifier."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.model.run_directory import FACTS, RECIPE, verify_file
from vidssl_cli.model.weights import read_newest, read_tensors, under

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.model.classifier import FinetuneLearner


def carry_hidden_layers(source: Path, checkpoint: str, learner: FinetuneLearner) -> None:
    """Copy all but the last layer of a run's head into a classifier.

    The head is that of the first pretext task, or the classifier of a run of `vidssl finetune`.

    Raises:
        UsageError: the source is an exported model, its head reads another tap than a classifier,
            or the layers are others.
    """
    owner, tap, prefix = _head_of(source)
    if tap != "feat":
        raise UsageError(
            f"heads: the head of {owner} in {source} reads {tap}, a classifier reads feat",
            where=str(source),
            hint="set heads=fresh",
        )
    _, found = read_newest(source, checkpoint, partial(_read_hidden, prefix=prefix))
    wanted, there = (
        {name: tuple(tensor.shape) for name, tensor in layers.items()}
        for layers in (learner.hidden_layers(), found)
    )
    if different := [
        f"{name} is {wanted.get(name, 'not there')}, and {there.get(name, 'missing')} in the run"
        for name in {**wanted, **there}
        if wanted.get(name) != there.get(name)
    ]:
        raise UsageError(
            f"heads: the hidden layers are not those of the head of {owner} in {source}: "
            f"{'; '.join(different[:3])}",
            where=str(source),
            hint="set hidden and hidden_norm as the run's recipe has them, or heads=fresh",
        )
    learner.classifier.load_state_dict(found, strict=False)
    say(f"hidden layers: {len(found)} tensors of {owner} in {source}")


def _head_of(source: Path) -> tuple[str, str, str]:
    """Return what a run's head is of, the tap that it reads, and how its tensors' names begin.

    Raises:
        UsageError: the source is an exported model.
    """
    if not (source / FACTS).is_file():
        raise UsageError(
            f"heads: {source} is an exported model, which has no head to take over",
            where=str(source),
            hint="give the run directory that it was made from, or set heads=fresh",
        )
    recipe = load(verify_file(source, RECIPE))
    if not isinstance(recipe, PretrainRecipe):
        return "the classifier", "feat", "classifier."
    pretext = recipe.pretext[0]
    return pretext.name, getattr(pretext, "tap", "feat"), "pretexts.0.head."


def _read_hidden(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Read all but the last layer of a head from a checkpoint; layers are named by numbers."""
    head = under(read_tensors(folder), prefix)
    last = max((int(name.split(".")[0]) for name in head if name[0].isdigit()), default=0)
    return {name: tensor for name, tensor in head.items() if not name.startswith(f"{last}.")}
