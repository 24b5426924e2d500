"""A network that is fine-tuned to tell classes: how it is trained, loaded and applied to videos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidssl_cli.base.console import track
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import FinetuneRecipe
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.mlp import mlp
from vidssl_cli.contract.study import Layer
from vidssl_cli.model.learner import Features, Learner
from vidssl_cli.model.run_directory import FACTS, RECIPE, read_facts, verify_file
from vidssl_cli.model.weights import load_weights, read_newest, read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import Backbone
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.encoder import Encoder


class FinetuneLearner(Learner):
    """A backbone with a classifier of K classes, at first random, on its pooled representation."""

    def __init__(self, backbone: Backbone, classes: int, recipe: FinetuneRecipe) -> None:
        super().__init__()
        self.backbone = cast(nn.Module, backbone)
        self.freeze = recipe.freeze
        widths = [backbone.feature_dim, *recipe.hidden, classes]
        self.classifier = mlp(widths, norm=recipe.hidden_norm)
        if recipe.dropout:
            self.classifier.insert(len(self.classifier) - 1, nn.Dropout(recipe.dropout))
        if self.freeze:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> FinetuneLearner:
        """Set training mode; a frozen backbone keeps its statistics."""
        super().train(mode)
        if self.freeze:
            self.backbone.eval()
        return self

    def logits(self, clips: Tensor, precision: torch.dtype) -> Tensor:
        """Return (B, V, K) for clips (B, V, C, T, H, W)."""
        features = self.encode(clips, precision)["feat"]
        scores: Tensor = self.classifier(features.flatten(0, 1))
        return scores.view(*features.shape[:2], -1)

    def hidden_layers(self) -> dict[str, Tensor]:
        """Return the tensors of the classifier without its last layer; those of a head's names."""
        last = f"{len(self.classifier) - 1}."
        tensors = self.classifier.state_dict()
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(last)}

    def decisions(self, features: Features) -> dict[str, Tensor]:
        """Return (B, V, K) logits of the one label, ``class``."""
        return {"class": self.classifier(features["feat"])}

    @torch.inference_mode()
    def classify(self, features: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Return (clips, K) probabilities for the pooled features (clips, D) of videos."""
        device = next(self.classifier.parameters()).device
        scores = self.classifier(torch.from_numpy(np.concatenate(features)).to(device))
        ends = np.cumsum([len(clips) for clips in features])[:-1]
        return np.split(scores.softmax(-1).cpu().numpy(), ends)

    def forward(self, batch: Batch, precision: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross entropy over all clips, and the clip accuracy."""
        logits = self.logits(batch.clips, precision)
        target = batch.labels["class"][:, None].expand(logits.shape[:2])
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        accuracy = (logits.argmax(-1) == target).float().mean()
        return loss, {"class.ce": loss.detach(), "class.accuracy": accuracy}


@dataclass(frozen=True)
class Classifier:
    """A network that tells classes: an encoder, and a learner on the same backbone."""

    encoder: Encoder
    learner: FinetuneLearner
    classes: Sequence[str]
    """K names."""
    recipe: FinetuneRecipe
    """What it is trained by, and how it is tested."""

    @classmethod
    def build(cls, encoder: Encoder, classes: Sequence[str], recipe: FinetuneRecipe) -> Classifier:
        """Put layers with random weights on the backbone of an encoder."""
        learner = FinetuneLearner(cast("Backbone", encoder.backbone), len(classes), recipe)
        return cls(encoder, learner.to(encoder.device), classes, recipe)

    @classmethod
    def load(cls, run: Path, encoder: Encoder, checkpoint: str = "last") -> Classifier | None:
        """Load the classifier of a run of `vidssl finetune`; another run or model has none.

        Args:
            run: run directory or exported model.
            encoder: what was loaded from it.
            checkpoint: of a run.

        Raises:
            DamagedFileError: a file is damaged, or the weights do not fit the network.
        """
        if not (run / FACTS).is_file():
            return None
        recipe = load(verify_file(run, RECIPE))
        if not isinstance(recipe, FinetuneRecipe):
            return None
        classifier = cls.build(encoder, read_facts(run)["classes"], recipe)
        source, tensors = read_newest(run, checkpoint, read_tensors)
        load_weights(classifier.learner, tensors, source)
        classifier.learner.eval()
        return classifier

    def numbers(self, videos: Iterable[Video]) -> NDArray[np.int64]:
        """Return (N,) the class of each video by its label."""
        return np.array([self.classes.index(str(video.label)) for video in videos], dtype=np.int64)

    def read(
        self, videos: Sequence[Video], skipped: list[MediaError]
    ) -> list[tuple[Video, NDArray[np.float32]]]:
        """Return the videos that can be read with their features (clips x crops, D).

        Args:
            videos: what to read; clips and crops are those of the recipe.
            skipped: an error for every video that cannot be read is appended to it, in order.
        """
        test = self.recipe.evaluation
        windows = Windows(test.windows, test.clips, test.hop, test.stride)
        views = (
            (video, self.encoder.views(video, windows)) for video in track(videos, "measuring")
        )
        read = self.encoder.read(views, [Layer("feat")], test.crops, skipped)
        return [(video, features) for video, _, (features,) in read]
