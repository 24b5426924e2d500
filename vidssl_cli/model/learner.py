"""What is trained: a backbone with the heads of pretext tasks; `classifier` has the other one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import PluginError, UsageError
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.model.card import PROJECTION, kept_projection
from vidssl_cli.model.pooling import check_tap
from vidssl_cli.model.run_directory import RECIPE, read_facts, verify_file
from vidssl_cli.model.weights import load_weights, read_newest, read_tensors

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import Backbone, TokenBackbone


class Features(Mapping[str, Tensor]):
    """Taps of a batch, (B, V, …) in float32, converted when asked for.

    Only the backbone runs in reduced precision; heads and losses do not.
    """

    def __init__(self, taps: Mapping[str, Tensor], views: int) -> None:
        self._taps = taps
        self._views = views

    def __getitem__(self, tap: str) -> Tensor:
        values = self._taps[tap].float()
        return values.view(-1, self._views, *values.shape[1:])

    def __iter__(self) -> Iterator[str]:
        return iter(self._taps)

    def __len__(self) -> int:
        return len(self._taps)


class LateFeatures(Mapping[str, Tensor]):
    """Taps that are computed when one is asked for.

    Masked modelling runs the network on a part of each clip, and asks for none.
    """

    def __init__(self, compute: Callable[[], Features]) -> None:
        self._compute = compute

    @cached_property
    def _features(self) -> Features:
        return self._compute()

    def __getitem__(self, tap: str) -> Tensor:
        return self._features[tap]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)


def encode(
    network: Backbone, clips: Tensor, precision: torch.dtype, keep: Tensor | None = None
) -> Features:
    """Run a network on clips (B, V, C, T, H, W), or on their tubelets ``keep`` (B, V, n).

    Raises:
        PluginError: it returns no taps.
    """
    flat = clips.flatten(0, 1)
    with torch.autocast(flat.device.type, precision, enabled=precision != torch.float32):
        if keep is None:
            taps = network(flat)
        else:
            taps = cast("TokenBackbone", network)(flat, keep.flatten(0, 1))
    if not isinstance(taps, Mapping):
        raise PluginError(
            f"the backbone {type(network).__name__} returns a {type(taps).__name__}, not a mapping "
            "of taps",
            hint="check it with vidssl_cli.testing.check_backbone",
        )
    return Features(taps, clips.shape[1])


class Learner(nn.Module):
    """A backbone and what is trained with it: from a batch to one loss."""

    backbone: nn.Module

    def encode(self, clips: Tensor, precision: torch.dtype) -> Features:
        """Run the backbone on clips (B, V, C, T, H, W)."""
        return encode(cast("Backbone", self.backbone), clips, precision)

    def decisions(self, features: Features) -> dict[str, Tensor]:
        """Return by label logits (B, V, K) of clips, or (B, K) of videos; none by default."""
        return {}

    def after_step(self) -> None:
        """Update what follows each optimizer step, such as banks and momentum copies."""

    def discard_step(self) -> None:
        """Forget what `after_step` would have used of a step that is not taken."""


class PretrainLearner(Learner):
    """A backbone with the heads of one or more pretext tasks."""

    def __init__(self, recipe: PretrainRecipe, videos: int) -> None:
        super().__init__()
        self.precision = torch.float32
        backbone = recipe.backbone.build()
        self.backbone = cast(nn.Module, backbone)
        # Refused now, and not after training.
        taps = [*backbone.taps, PROJECTION] if kept_projection(recipe.pretext) else backbone.taps
        check_tap(recipe.backbone.name, taps, recipe.evaluation.tap)
        context = PretextContext(
            feature_dim=backbone.feature_dim,
            taps=backbone.taps,
            labels=recipe.sampler.labels(),
            views=recipe.sampler.build().views,
            videos=videos,
            backbone=backbone,
            encode=lambda network, clips, keep=None: encode(network, clips, self.precision, keep),
        )
        self.pretexts = nn.ModuleList(
            cast(nn.Module, options.build(context)) for options in recipe.pretext
        )
        self.names = number_duplicates([options.title() for options in recipe.pretext])
        self.weights = [options.weight for options in recipe.pretext]

    @classmethod
    def load(cls, run: Path, checkpoint: str | None) -> tuple[PretrainRecipe, Self]:
        """Load the recipe of a run of `vidssl pretrain`, and what it has learned.

        Args:
            run: its directory.
            checkpoint: ``last`` or ``best``; None stands for random weights, of the run's seed.

        Raises:
            UsageError: the run is not one of pre-training.
            DamagedFileError: a file is damaged, or the weights do not fit the network.
        """
        recipe = load(verify_file(run, RECIPE))
        if not isinstance(recipe, PretrainRecipe):
            raise UsageError(
                f"{run} is not a run of `vidssl pretrain`; only those have pretext tasks"
            )
        torch.manual_seed(recipe.train.seed)
        learner = cls(recipe, read_facts(run)["videos"])
        if checkpoint:
            source, tensors = read_newest(run, checkpoint, read_tensors)
            load_weights(learner, tensors, source)
        return recipe, learner

    def encode(self, clips: Tensor, precision: torch.dtype) -> Features:
        """Run the backbone; copies of it in the pretexts then run in the same precision."""
        self.precision = precision
        return super().encode(clips, precision)

    def forward(self, batch: Batch, precision: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of all loss terms, and every term and metric by name."""
        self.precision = precision
        return self.losses(LateFeatures(lambda: self.encode(batch.clips, precision)), batch)

    def losses(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what `forward` does, given the taps."""
        total = batch.clips.new_zeros(())
        values: dict[str, Tensor] = {}
        for name, weight, pretext in zip(self.names, self.weights, self.pretexts, strict=True):
            terms, metrics = _require_terms(name, pretext(features, batch))
            for term in terms.values():
                total = total + weight * term
            values |= {f"{name}.{key}": value.detach() for key, value in (terms | metrics).items()}
        return total, values

    def predictions(
        self, features: Features, batch: Batch
    ) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
        """Return (N,) predicted and true classes, by name and label of pretexts that classify."""
        return {
            (name, label): answers
            for name, pretext in zip(self.names, self.pretexts, strict=True)
            if (predict := getattr(pretext, "predictions", None))
            for label, answers in predict(features, batch).items()
        }

    def decisions(self, features: Features) -> dict[str, Tensor]:
        """Return the logits of all pretexts that give them; a label that is there is numbered."""
        found = [
            pair
            for pretext in self.pretexts
            if (decide := getattr(pretext, "decisions", None))
            for pair in decide(features).items()
        ]
        names = number_duplicates([label for label, _ in found])
        return dict(zip(names, (logits for _, logits in found), strict=True))

    def after_step(self) -> None:
        """Let every pretext that keeps state between steps update it."""
        for pretext in self.pretexts:
            if update := getattr(pretext, "after_step", None):
                update()

    def discard_step(self) -> None:
        """Let every pretext forget what it saw in the step."""
        for pretext in self.pretexts:
            if discard := getattr(pretext, "discard_step", None):
                discard()


def _require_terms(name: str, returned: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the loss terms and metrics that a pretext returned.

    Raises:
        PluginError: it returned something else.
    """
    match returned:
        case (dict() as terms, dict() as metrics) if all(
            isinstance(value, Tensor) and value.ndim == 0 for value in [*(terms | metrics).values()]
        ):
            return terms, metrics
    raise PluginError(
        f"the pretext {name} does not return two dictionaries of scalar tensors, loss terms and "
        "metrics",
        hint="check it with vidssl_cli.testing.check_pretext",
    )


def number_duplicates(titles: Sequence[str]) -> list[str]:
    """Make titles distinct by numbering those that come again: a, b, a.2."""
    seen: Counter[str] = Counter()
    names = []
    for title in titles:
        seen[title] += 1
        names.append(title if seen[title] == 1 else f"{title}.{seen[title]}")
    return names
