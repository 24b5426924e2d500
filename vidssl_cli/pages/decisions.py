"""What the decisions of a network's heads rest on: gradients of their logits, guided back to clips.

Letters: V clips of a video, T frames, K classes, S side of the network's square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.model.classifier import Classifier
from vidssl_cli.model.learner import Learner, PretrainLearner
from vidssl_cli.model.run_directory import FACTS
from vidssl_cli.pages.saliency import guided_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.model.encoder import Encoder

CLASS = "class"
"""The label of a fine-tuned classifier."""


@dataclass(frozen=True)
class Heads:
    """A network with heads that tell classes apart."""

    learner: Learner
    names: Mapping[str, Sequence[str]]
    """Of the classes, by label; those beyond are numbered."""
    views: int = 1
    """Clips of a video that are decided about together."""
    customary: str | None = None
    """The label that is explained where none is asked for."""

    def __post_init__(self) -> None:
        """Freeze the network."""
        self.learner.eval()
        self.learner.requires_grad_(False)

    def logits(self, clips: Tensor, label: str) -> Tensor:
        """Return (V, K) of clips (V, 3, T, S, S), or (K,) if they are decided about together.

        Raises:
            UsageError: Nothing is decided about this label.
        """
        decisions = self._decisions(clips)
        if label not in decisions:
            raise self._refuse(label, clips)
        return decisions[label][0]

    def _decisions(self, clips: Tensor) -> dict[str, Tensor]:
        return self.learner.decisions(self.learner.encode(clips[None], torch.float32))

    def _refuse(self, label: str, clips: Tensor) -> UsageError:
        """Tell why nothing is decided about a label."""
        all_labels = self._decisions(clips[:1].expand(self.views, *clips.shape[1:]))
        if label in all_labels:
            return UsageError(
                f"{label} is decided about {self.views} clips of a video together, not "
                f"{len(clips)}",
                where="--decision",
                hint=f"--clips {self.views} draws as many, or as many values of --stride",
            )
        hint = f"it decides about {', '.join(all_labels)}"
        return UsageError(
            f"the run decides nothing about {label!r}",
            where="--decision",
            hint=hint if all_labels else "its pretext tasks do not tell classes apart",
        )

    def classes(self, label: str, count: int) -> list[str]:
        """Name the K classes of a label."""
        names = self.names.get(label, ())
        return [*names, *map(str, range(len(names), count))]


def explain_decision(heads: Heads, clips: Tensor, decision: str) -> list[tuple[Tensor, str]]:
    """Return for each clip of a video the gradient (3, T, S, S) of a logit, and its name.

    Args:
        heads: With their network.
        clips: (V, 3, T, S, S). A task that decides about V clips together gets them in this order.
        decision: ``label`` for the logit of the class that is decided for, or ``label=class``.

    Raises:
        UsageError: The network has no such decision, or makes it about another number of clips.
    """
    label, _, wanted = decision.partition("=")
    with torch.no_grad():
        logits = heads.logits(clips, label)
    rows = logits.reshape(-1, logits.shape[-1])
    names = heads.classes(label, logits.shape[-1])
    if wanted and wanted not in names:
        raise UsageError(
            f"{label} has no class {wanted!r}",
            where="--decision",
            hint=f"it has {', '.join(names)}",
        )
    of_label = "" if label == CLASS else f"{label} "
    found: list[tuple[Tensor, str]] = []
    for row, part in zip(rows, clips.chunk(len(rows)), strict=True):
        number = names.index(wanted) if wanted else int(row.argmax())
        probability = float(row.softmax(0)[number])
        said = f"logit of {of_label}{names[number]}, probability {probability:.2f}"
        with torch.enable_grad():
            part = part.detach().clone().requires_grad_()
            gradients = guided_gradient(heads.logits(part, label).flatten()[number], part)
        found += [(gradient, said) for gradient in gradients]
    return found


def open_heads(
    run: Path, encoder: Encoder, random: Encoder, checkpoint: str, *, pretext: bool
) -> tuple[Heads | None, Heads | None]:
    """Return the heads of a run, and random ones on the network with random weights.

    They are the classifier of a run of `vidssl finetune`, or those of pretext tasks.

    Args:
        run: Run directory or exported model.
        encoder: What was loaded from it.
        random: The same network with random weights.
        checkpoint: Of the run.
        pretext: Whether those of pretext tasks are needed.

    Raises:
        UsageError: They are, and the model has none.
    """
    if classifier := Classifier.load(run, encoder, checkpoint):
        untrained = Classifier.build(random, classifier.classes, classifier.recipe)
        names = {CLASS: classifier.classes}
        return (
            Heads(classifier.learner, names, customary=CLASS),
            Heads(untrained.learner, names, customary=CLASS),
        )
    if not pretext:
        return None, None
    if not (run / FACTS).is_file():
        raise UsageError(
            "an exported model decides nothing: it has no heads",
            where=str(run),
            hint="give the run directory that it was made from",
        )

    def load(on: Encoder, weights: str | None) -> Heads:
        recipe, learner = PretrainLearner.load(run, weights)
        learner.backbone = on.backbone
        return Heads(learner.to(on.device), recipe.sampler.classes(), recipe.sampler.build().views)

    return load(encoder, checkpoint), load(random, None)
