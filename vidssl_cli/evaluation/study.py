"""The `Study` that evaluators get: videos, and a network's features of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.config.load import load_as
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.study import Classified, ClipSet, Layer, Strides
from vidssl_cli.data.coverage import coverage
from vidssl_cli.data.frame_rate import stored_frames
from vidssl_cli.data.manifest import training_part
from vidssl_cli.data.views import require_readable
from vidssl_cli.evaluation.baselines import BASELINES, describe
from vidssl_cli.evaluation.feature_cache import Pass, Shelf, content_digest, row_name
from vidssl_cli.evaluation.held_out import pretext_scores
from vidssl_cli.evaluation.learned_task import learn_once
from vidssl_cli.evaluation.transfer import Source, finetune_once
from vidssl_cli.model.classifier import Classifier
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.precision import inference_precision
from vidssl_cli.model.run_directory import FACTS, read_facts
from vidssl_cli.training.finetune import warn_of_strides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Windows
    from vidssl_cli.contract.reports import PretextScores
    from vidssl_cli.contract.study import Baseline, Crops, Embedding
    from vidssl_cli.contract.videos import Video

CALIBRATION_VIDEOS = 64
"""Training videos that set the norm statistics of the network with random weights."""

BASELINE_SIDE = 64
"""Short side in pixels at which videos are decoded for hand-made features."""

Read = tuple["Video", "NDArray[np.int64]", "list[NDArray[np.float32]]"]
"""What `Encoder.read` yields."""

Splits = Callable[[int], tuple[Sequence["Video"], Sequence["Video"]]]
"""Opens the data with another official split."""


class EncoderStudy:
    """The `Study` of an encoder: see `vidssl_cli.contract.study.Study`."""

    weights: Sequence[str] = ("run", "random")

    def __init__(
        self,
        encoder: Encoder,
        data: Sequence[Video],
        folder: Path | None = None,
        run: Path | None = None,
        checkpoint: str = "last",
        splits: Splits | None = None,
        store: Path | None = None,
        left_out: Sequence[Video] = (),
    ) -> None:
        """Take what evaluators work on; nothing is computed yet.

        Args:
            encoder: What is measured.
            data: Videos with labels and splits.
            folder: For files of the evaluator.
            run: Where the encoder is from.
            checkpoint: Of the run.
            splits: Opens the data with another official split.
            store: Folder in which features are kept for later.
            left_out: Videos that the data name and that cannot be used.
        """
        self.data = data
        self.folder = folder
        self.run, self.checkpoint = run, checkpoint
        self.evaluation: Embedding = encoder.evaluation
        self.backbone = encoder.card.backbone.name
        self.taps: Mapping[str, int] = encoder.taps
        self.frames = encoder.card.frames
        self.device = str(encoder.device)
        self.workers = encoder.workers
        self.residual = encoder.card.input.mode == "residual"
        self._splits, self._store = splits, store
        self._left_out = left_out
        self._opened: list[EncoderStudy] = []
        self._encoders = {"run": encoder}
        self._digests: dict[str, str] = {}
        self._shelves: dict[str, Shelf] = {}

    @property
    def train(self) -> Sequence[Video]:
        """Labelled videos of the training split."""
        return self._labelled("train")

    @property
    def test(self) -> Sequence[Video]:
        """Labelled videos of the test split."""
        return self._labelled("test")

    def _labelled(self, split: str) -> Sequence[Video]:
        part = [video for video in self.data if video.split == split and video.label is not None]
        if not part:
            raise UsageError(
                f"none of the {len(self.data)} videos has a label and the split {split!r}",
                hint="`vidssl data scan --hold-out 0.2` makes a manifest with splits",
            )
        return part

    @property
    def coverage(self) -> dict[str, dict[str, int]]:
        """How many labelled videos are used, of all official splits that were opened."""
        parts = self._opened or [self]
        return coverage(
            chain.from_iterable(part.data for part in parts),
            chain.from_iterable(part._left_out for part in parts),
        )

    def pretext_scores(self, weights: str) -> PretextScores:
        """Return how well the run does its pretext tasks on the videos of the test split."""
        if self.run is None or not (self.run / FACTS).is_file():
            raise UsageError(
                "an exported model has no pretext tasks",
                hint="give the run directory that it was made from",
            )
        held_out = [video for video in self.data if video.split == "test"]
        if not held_out:
            raise UsageError(
                f"none of the {len(self.data)} videos has the split 'test'",
                hint="`vidssl data scan --hold-out 0.2` makes a manifest with splits",
            )
        return pretext_scores(
            self.run,
            held_out,
            trained=weights == "run",
            device=self.device,
            checkpoint=self.checkpoint,
            workers=self.workers,
        )

    def of_split(self, number: int) -> EncoderStudy:
        """Return the study of the same network on another official split of the data."""
        if self._splits is None:
            raise UsageError(
                "these data have one split",
                hint="give a folder of UCF101, HMDB51, Diving48 or FineGym with the official lists",
            )
        data, left_out = self._splits(number)
        other = EncoderStudy(
            self._encoders["run"],
            data,
            self.folder,
            self.run,
            self.checkpoint,
            self._splits,
            self._store,
            left_out,
        )
        self._opened.append(other)
        other._encoders, other._digests = self._encoders, self._digests
        other._shelves = self._shelves
        return other

    def count(self, video: Video) -> int:
        """Return how many frames a video has at the rate that the network sees it at."""
        return self._encoders["run"].count(video)

    def features(
        self,
        weights: str,
        clip_sets: Sequence[ClipSet],
        layers: Sequence[Layer],
        crops: Crops = "centre",
    ) -> list[list[NDArray[np.float32]]]:
        """Return, for each layer and set of clips, (clips x crops, D) features, not normalised.

        A video that cannot be read is an error: the figure would be over fewer videos than asked.
        """
        encoder = self._encoder(weights)
        weights_digest = encoder.digest  # reads all weights: once for all layers
        shelves = [self._layer_shelf(encoder, weights_digest, each, crops) for each in layers]
        fps = encoder.card.input.fps
        views = [(each.video, stored_frames(each.video, fps, each.frames)) for each in clip_sets]
        unreadable: list[MediaError] = []
        names = [row_name(self._digest(video, unreadable), frames) for video, frames in views]
        require_readable(unreadable)
        new = {
            name: view
            for name, view in zip(names, views, strict=True)
            if not all(name in shelf.rows for shelf in shelves)
        }
        with Pass(self._store, shelves, new) as rows:
            missing = {name: view for name, view in new.items() if name not in rows.kept}
            shown = track(missing.values(), f"{weights} weights", len(missing))
            read = encoder.read(iter(shown), layers, crops, unreadable)
            for name, (*_, found) in zip(missing, _all_of(read, unreadable), strict=True):
                rows.add(name, found)
        return [[shelf.rows[name] for name in names] for shelf in shelves]

    def baseline(self, name: Baseline, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D) hand-made features of whole videos.

        The first call computes all baselines, in one pass over the videos.
        """
        kept = {"vidssl": version("vidssl"), "side": BASELINE_SIDE}
        shelves = {each: self._shelf({**kept, "baseline": each}) for each in BASELINES}
        unreadable: list[MediaError] = []
        every = [np.arange(video.frames or 0)[None] for video in videos]
        names = [
            row_name(self._digest(video, unreadable), frames)
            for video, frames in zip(videos, every, strict=True)
        ]
        require_readable(unreadable)
        new = {
            row: video
            for row, video in zip(names, videos, strict=True)
            if not all(row in shelf.rows for shelf in shelves.values())
        }
        if new:
            try:
                made = describe(list(new.values()), BASELINE_SIDE)
            except MediaError as error:
                require_readable([error])
            for each, shelf in shelves.items():
                rows = made[each].astype(np.float32)[:, None]
                shelf.add(dict(zip(new, rows, strict=True)))
        return np.concatenate([shelves[name].rows[row] for row in names])

    def strides(self, recipe: str, overrides: Sequence[str], tested: int | None) -> Strides:
        """Return the strides at which `finetune` trains and tests; warn where they differ."""
        chosen = load_as(FinetuneRecipe, recipe, overrides)
        strides = Strides(chosen.stride, tested or chosen.evaluation.stride)
        warn_of_strides(strides)
        return strides

    def finetune(
        self,
        weights: str,
        recipe: str,
        overrides: Sequence[str],
        windows: Windows,
        crops: Crops = "centre",
    ) -> Classified:
        """Return a fine-tuned network's answers for the test videos; see `transfer`."""
        chosen = load_as(FinetuneRecipe, recipe, overrides)
        if self.run is None or self.folder is None:
            raise UsageError(
                "fine-tuning needs the run that the network is from, and a folder to train in"
            )
        digest = self._encoders["run"].digest
        source = Source(self.run, self.checkpoint, digest, scratch=weights == "random")
        run = finetune_once(self.folder, chosen, self.data, source, self.device, self.workers)
        encoder = Encoder.load(run, self.device, workers=self.workers)
        encoder.devices = self._encoders["run"].devices
        classifier = Classifier.load(run, encoder)
        assert classifier is not None
        tuned = EncoderStudy(encoder, self.data, store=self._store)
        tuned._digests = self._digests
        clip_sets = [ClipSet(v, windows.of(tuned.count(v), tuned.frames)) for v in self.test]
        (features,) = tuned.features("run", clip_sets, [Layer("feat")], crops)
        probabilities = classifier.learner.classify(features)
        return Classified(classifier.classes, probabilities, read_facts(run)["skipped"])

    def learn(
        self, weights: str, recipe: str, overrides: Sequence[str], visits: int
    ) -> PretextScores:
        """Return how well the whole network does a task of its own that it was trained on."""
        encoder = self._encoders["run"]
        own = {
            "backbone": encoder.card.backbone,
            "input": encoder.card.input,
            "evaluation": Evaluation(tap="feat"),  # every backbone has it
        }
        chosen = load_as(PretrainRecipe, recipe, overrides).model_copy(update=own)
        if self.folder is None:
            raise UsageError("training needs a folder to train in")
        train, test = (
            [video for video in self.data if video.split == split] for split in ("train", "test")
        )
        start = encoder if weights == "run" else None
        run = learn_once(self.folder, chosen, train, start, self.device, self.workers)
        return pretext_scores(
            run, test, trained=True, device=self.device, visits=visits, workers=self.workers
        )

    def _digest(self, video: Video, unreadable: list[MediaError]) -> str:
        """Return what identifies the content of a video; its file is read once."""
        if video.path not in self._digests:
            try:
                self._digests[video.path] = content_digest(video)
            except MediaError as error:
                unreadable.append(error)
                self._digests[video.path] = ""
        return self._digests[video.path]

    def _layer_shelf(
        self, encoder: Encoder, weights_digest: str, layer: Layer, crops: Crops
    ) -> Shelf:
        key = {
            "vidssl": version("vidssl"),
            "weights": weights_digest,
            "backbone": encoder.card.backbone.model_dump(mode="json"),
            "input": encoder.card.input.model_dump(mode="json"),
            "device": encoder.device.type,
            "precision": inference_precision(encoder.device),
            "crops": crops,
            **asdict(layer),
        }
        return self._shelf(key)

    def _shelf(self, key: Mapping[str, Any]) -> Shelf:
        name = json.dumps(key, sort_keys=True)
        if name not in self._shelves:
            self._shelves[name] = Shelf(self._store, key)
        return self._shelves[name]

    def _encoder(self, weights: str) -> Encoder:
        if weights not in self._encoders:
            random = self._encoders["run"].randomised()
            train = training_part(self.data) or self.data
            unreadable: list[MediaError] = []
            random.calibrate(train[:: max(len(train) // CALIBRATION_VIDEOS, 1)], unreadable)
            require_readable(unreadable)
            self._encoders[weights] = random
        return self._encoders[weights]


def _all_of(read: Iterator[Read], unreadable: Sequence[MediaError]) -> Iterator[Read]:
    """Yield what is read of videos, until one cannot be read, which is then an error."""
    for item in read:
        require_readable(unreadable)
        yield item
    require_readable(unreadable)
