"""The card of a model: everything about it but its weights, as `model.json` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import NonNegativeInt, ValidationError

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.config.sections import DataSet, Evaluation, Input, Section
from vidssl_cli.contract.hooks import BackboneOptions, PretextOptions
from vidssl_cli.contract.projection import Projection
from vidssl_cli.contract.registry import Offered

PROJECTION = "projection"
"""The tap that is the projection of a pretext task, where the card has one."""


class KeptProjection(Projection):
    """The projection of a pretext task, which is kept with the backbone."""

    pretext: NonNegativeInt
    """Which of the run's pretext tasks it is of, from 0."""

    @property
    def prefix(self) -> str:
        """What the names of its tensors in checkpoints begin with."""
        return f"pretexts.{self.pretext}.projection."


def kept_projection(pretexts: Sequence[PretextOptions]) -> KeptProjection | None:
    """Return the projection that a run keeps: that of the first task that has one."""
    for number, options in enumerate(pretexts):
        if layers := options.projection():
            return KeptProjection(pretext=number, **layers.model_dump())
    return None


class Card(Section):
    """Everything about a model but its weights."""

    backbone: Annotated[BackboneOptions, Offered("backbone")]
    input: Input
    frames: int
    """T, frames of a clip."""
    evaluation: Evaluation
    projection: KeptProjection | None = None
    """What a pretext task compares, the tap ``projection``."""
    seed: int
    """Seed of the run; the same network with random weights is drawn with it."""
    published: tuple[str, ...] = ()
    """Keys of the published figures that the recipe reproduces."""
    pretraining: DataSet | None = None
    """What it was pre-trained on, if that is known; ``none`` for random weights."""
    origin: str = ""
    """Whose weights they are, if they were imported."""
    licence: str = ""
    """Of imported weights, if it was told with them."""

    def as_text(self) -> str:
        """Return the content of `model.json`."""
        return self.model_dump_json(indent=2) + "\n"


def read_card(path: Path) -> Card:
    """Read `model.json`.

    Raises:
        DamagedFileError: it cannot be read, or does not describe a model.
    """
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"cannot be read: {error}", where=str(path)) from None
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False)
        ]
        raise DamagedFileError(
            f"does not describe a model: {'; '.join(problems)}", where=str(path)
        ) from None
