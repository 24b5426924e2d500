"""The contract as checks: what the author of a plugin runs, and what the built-ins pass.

    from vidssl_cli.testing import check_sampler

    def test_slow():
        check_sampler(Slow(name="slow"))

Every check raises AssertionError with what was found and what the contract asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

import numpy as np
import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import ABSENT, Batch, ClipPlan, Course, Draw
from vidssl_cli.contract.hooks import LoggedRun, PretextContext
from vidssl_cli.contract.registry import offered
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.decoders import ALIKE, decode_by, likeness
from vidssl_cli.evaluation.made_up import MadeUpStudy as MadeUpStudy
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe
from vidssl_cli.training.not_finite import SavedBuffers

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler
    from vidssl_cli.contract.hooks import (
        Backbone,
        BackboneOptions,
        DecoderOptions,
        EvaluatorOptions,
        LoggerOptions,
        Options,
        PretextOptions,
        RunState,
        SamplerOptions,
        Stream,
        TokenBackbone,
    )

_DECODED = 30
"""Frames of the video that a decoder is tried on."""
LENGTHS = (*range(1, 70), 96, 120, 121, 128, 250, 1000)
"""Frames of the made-up videos that a sampler is tried on."""

TAPS: Mapping[str, tuple[int, ...]] = {
    "conv1": (8, 8, 16, 16),
    "conv2": (8, 8, 8, 8),
    "conv3": (16, 4, 4, 4),
    "conv4": (32, 2, 2, 2),
    "conv5": (64, 1, 2, 2),
    "pool5": (64,),
    "feat": (64,),
}
"""Taps of a made-up backbone, with the shape that each has for one clip."""


def check_options(options: Options) -> None:
    """Check what a recipe relies on: a literal name, no unknown keys, values that stay."""
    kind = type(options)
    annotation = kind.model_fields["name"].annotation
    assert get_origin(annotation) is Literal, f"{kind.__name__}.name must be a Literal, as the tag"
    assert get_args(annotation) == (options.name,), f"{kind.__name__}.name must be one word"
    assert kind.model_config.get("frozen"), f"{kind.__name__} must be frozen"
    assert kind.model_config.get("extra") == "forbid", f"{kind.__name__} must forbid extra keys"
    written = options.model_dump(mode="json")
    try:
        read = kind.model_validate(json.loads(json.dumps(written)))
    except pydantic.ValidationError as error:
        raise AssertionError(f"{written} cannot be read back: {error}") from error
    assert read == options, f"{written} reads back as {read}, not {options}"


def check_backbone(options: BackboneOptions, clip: tuple[int, int, int] = (16, 64, 64)) -> None:
    """Check taps, shapes, gradients, independence of the clips, and saving.

    Args:
        options: What to build.
        clip: Frames, height and width of the clips to try.
    """
    check_options(options)
    torch.manual_seed(0)
    network = options.build()
    torch.manual_seed(0)
    twin = options.build()
    assert isinstance(network, nn.Module), f"build() must give a torch module, not {network!r}"
    assert isinstance(twin, nn.Module)
    _assert_same_state(network, twin, "two builds from one seed differ")
    assert network.taps.get("feat") == network.feature_dim, (
        f"taps['feat'] is {network.taps.get('feat')}, and feature_dim {network.feature_dim}"
    )
    clips = torch.randn(3, 3, *clip, generator=torch.Generator().manual_seed(0))
    taps = network(clips)
    assert taps.keys() == network.taps.keys(), (
        f"taps promises {sorted(network.taps)}; a call gives {sorted(taps)}"
    )
    for name, tap in taps.items():
        _check_tap(name, tap, len(clips), network.taps[name])
    everything = [tap.float().square().mean() for tap in taps.values()]
    torch.autograd.backward(torch.stack(everything).sum())
    _check_gradients(network)
    _check_inference(network, twin, clips)


def _check_tap(name: str, tap: Tensor, clips: int, channels: int) -> None:
    vector = name == "feat" or (name == "pool5" and tap.ndim == 2)
    form = "(N, D)" if vector else "(N, C, T, H, W)"
    found = f"{name} is {tuple(tap.shape)}"
    assert tap.ndim == (2 if vector else 5), f"{found}, not {form}"
    assert tap.shape[:2] == (clips, channels), f"{found}; expected {clips} clips x {channels}"
    assert bool(tap.isfinite().all()), f"{name} is not finite for a clip of noise"


def _check_inference(network: nn.Module, twin: nn.Module, clips: Tensor) -> None:
    """Check that evaluation mode sees each clip alone, and that weights can be saved."""
    network.eval()
    with torch.no_grad():
        together, alone = network(clips)["feat"], network(clips[:1])["feat"]
        assert torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-4), (
            "in eval mode a clip's features depend on the other clips of the batch"
        )
        twin.load_state_dict(network.state_dict())
        loaded = twin.eval()(clips)["feat"]
        assert torch.equal(loaded, network(clips)["feat"]), (
            "weights loaded from a state_dict give other features"
        )


def check_sampler(options: SamplerOptions, lengths: Sequence[int] = LENGTHS) -> None:
    """Check plans for videos of many lengths: frames in range, labels as declared, no hidden state.

    Args:
        options: What to build.
        lengths: Frames of the videos to try.
    """
    check_options(options)
    sampler, twin = options.build(), options.build()
    for name in ("views", "frames"):
        assert hasattr(sampler, name), f"{type(sampler).__name__} does not set {name}"
    videos = [Video(path=f"{n}.mp4", frames=n, fps=25.0) for n in lengths]
    reasons = [sampler.rejects(video) for video in videos]
    for video, reason in zip(videos, reasons, strict=True):
        assert reason is None or reason.strip(), f"{video.path} is rejected without a reason"
    usable = [video for video, reason in zip(videos, reasons, strict=True) if reason is None]
    assert usable, f"every video is rejected: {dict(zip(lengths, reasons, strict=True))}"
    for video in usable:
        visits = sampler.visits(video)
        assert visits >= 1, f"{video.path} has {visits} visits; what is usable has at least one"
    _check_stages(sampler, usable)
    for label, names in options.classes().items():
        classes = options.labels().get(label)
        assert classes == len(names), f"{len(names)} names for the {classes} classes of {label}"
    for epoch in range(3):
        draws = [Draw(seed=0, epoch=epoch, video=index) for index in range(len(usable))]
        plans = sampler.plan_batch(usable, draws)
        again = twin.plan_batch(usable, draws)
        assert len(plans) == len(usable), f"{len(plans)} plans for {len(usable)} videos"
        for video, plan, repeat in zip(usable, plans, again, strict=True):
            _check_plan(plan, video, sampler.views, sampler.frames)
            _check_labels(plan, options.labels(), sampler.views)
            assert _same_plan(plan, repeat), f"{video.path}: one draw gave two different plans"
        part = slice(sampler.together, 2 * sampler.together)
        for plan, own in zip(plans[part], sampler.plan_part(usable, draws, part), strict=True):
            assert _same_plan(plan, own), "plan_part plans other clips than plan_batch"


def _check_stages(sampler: Sampler, videos: Sequence[Video]) -> None:
    counts = [sampler.visits(video) for video in videos]
    number = np.concatenate([np.arange(count) for count in counts])
    course = Course(videos, np.repeat(np.arange(len(videos)), counts), number, 10, 4)
    stages = sampler.stages(course)
    firsts = [stage.first_step for stage in stages]
    assert firsts[:1] == [0], f"the first stage begins at {firsts[:1]}, not at step 0"
    assert firsts == sorted(set(firsts)), f"stages begin at {firsts}, not one after the other"
    for stage in stages:
        assert len(stage.visits), f"the stage at step {stage.first_step} draws on nothing"
        assert len(set(stage.visits.tolist())) == len(stage.visits), (
            f"the stage at step {stage.first_step} draws on a visit twice"
        )
        inside = (stage.visits >= 0) & (stage.visits < len(number))
        assert inside.all(), f"{stage.visits} leaves the {len(number)} visits of an epoch"


def _check_plan(plan: ClipPlan, video: Video, views: int, frames: int) -> None:
    assert len(plan.views) == views, f"{len(plan.views)} views planned; the sampler says {views}"
    assert video.frames is not None
    for number, view in enumerate(plan.views):
        found = f"{video.path}, view {number}: {view.frames}"
        assert view.frames.dtype == np.int64, f"{found} is {view.frames.dtype}, not int64"
        assert view.frames.shape == (frames,), f"{found} has {view.frames.shape}, not ({frames},)"
        inside = (view.frames >= 0) & (view.frames < video.frames)
        assert inside.all(), f"{found} leaves 0..{video.frames - 1}"


def _check_labels(plan: ClipPlan, declared: Mapping[str, int], views: int) -> None:
    assert plan.labels.keys() == declared.keys(), (
        f"labels() declares {sorted(declared)}; the plan carries {sorted(plan.labels)}"
    )
    for name, label in plan.labels.items():
        assert isinstance(label, np.ndarray | np.generic), (
            f"label {name} is {label!r}, not a numpy array"
        )
        assert label.shape in ((), (views,)), f"label {name} is {label.shape}, not ({views},) or ()"
        values = label[label != ABSENT]
        if classes := declared[name]:
            assert label.dtype == np.int64, f"label {name} is {label.dtype}, not int64"
            inside = (values >= 0) & (values < classes)
            assert inside.all(), f"label {name} is {label}; declared are {classes} classes"
        else:
            assert np.isfinite(values).all(), f"the quantity {name} is {label}"


def _same_plan(a: ClipPlan, b: ClipPlan) -> bool:
    keys = [[(v.crop, v.flip, v.colour, v.turns) for v in plan.views] for plan in (a, b)]
    frames = all(np.array_equal(x.frames, y.frames) for x, y in zip(a.views, b.views, strict=True))
    labels = all(np.array_equal(a.labels[name], b.labels[name]) for name in a.labels)
    return keys[0] == keys[1] and frames and labels


def check_pretext(options: PretextOptions, sampler: SamplerOptions) -> None:
    """Check terms, metrics, gradients, predictions, saving and memories on features of noise.

    Args:
        options: What to build.
        sampler: A sampler that offers the views and labels it needs.
    """
    check_options(options)
    views = sampler.build().views
    assert options.required() <= sampler.labels().keys(), (
        f"needs {sorted(options.required())}; {sampler.name} offers {sorted(sampler.labels())}"
    )
    assert views >= options.needs_views, f"needs {options.needs_views} views; there are {views}"
    channels = {name: shape[0] for name, shape in TAPS.items()}
    batch = noise_batch(sampler, streams=options.streams())
    torch.manual_seed(0)
    backbone = _PlainBackbone()
    context = PretextContext(
        channels["feat"],
        channels,
        sampler.labels(),
        views,
        len(batch.video),
        backbone=backbone,
        encode=_encode,
    )
    pretext, twin = options.build(context), options.build(context)
    assert isinstance(pretext, nn.Module), f"build() must give a torch module, not {pretext!r}"
    assert isinstance(twin, nn.Module)
    twin.load_state_dict(pretext.state_dict())
    if layers := options.projection():
        described = layers.build(channels[layers.tap]).state_dict()
        there = cast(nn.Module, pretext.projection).state_dict()
        assert _shapes(described) == _shapes(there), (
            f"projection() describes {_shapes(described)}; the module has {_shapes(there)}"
        )

    for name, words in options.own_labels(batch).items():
        clips = len(batch.video) * views
        assert len(words) == clips, f"{len(words)} words for the label {name} of {clips} clips"

    features = _noise_features(batch)
    torch.manual_seed(1)  # training addresses what dropout draws by the step
    returned = pretext(features, batch)
    pair = returned if isinstance(returned, tuple | list) else ()
    assert [isinstance(each, dict) for each in pair] == [True, True], (
        f"a call returns {returned!r}, not two dictionaries: loss terms and metrics"
    )
    terms, metrics = returned
    for name, value in (terms | metrics).items():
        assert value.shape == (), f"{name} has the shape {tuple(value.shape)}; it must be a scalar"
        assert bool(value.isfinite()), f"{name} is {value.item()}"
    assert terms, "there is no loss term"
    total = torch.stack(list(terms.values())).sum()
    assert total.requires_grad, "the loss terms carry no gradient"
    torch.manual_seed(1)
    repeated = torch.stack(list(twin(features, batch)[0].values())).sum()
    assert torch.equal(total, repeated), (
        "a state_dict restored into a second build gives other loss"
    )
    torch.autograd.backward(total)
    _check_gradients(pretext)
    reached = [name for name, tap in features.items() if tap.grad is not None and tap.grad.any()]
    reached += [name for name, weight in backbone.named_parameters() if weight.grad is not None]
    assert reached, "no gradient reaches any tap of the backbone, nor the backbone itself"
    for module in (pretext, twin):
        if update := getattr(module, "after_step", None):
            update()
    _assert_same_state(pretext, twin, "one step from one state led to two states")
    buffers = SavedBuffers(pretext)
    pretext(features, batch)
    if discard := getattr(pretext, "discard_step", None):
        discard()
    buffers.restore()
    for module in (pretext, twin):
        if update := getattr(module, "after_step", None):
            update()
    _assert_same_state(pretext, twin, "a step that was not taken left something: discard_step()")
    _check_predictions(pretext.eval(), features, batch)
    _check_decisions(pretext, features, (len(batch.video), views))


def _check_decisions(
    pretext: nn.Module, features: Mapping[str, Tensor], clips: tuple[int, int]
) -> None:
    decide = getattr(pretext, "decisions", None)
    for label, logits in (decide(features) if decide else {}).items():
        found = f"decisions about {label} are {tuple(logits.shape)}"
        fits = logits.shape[:-1] in (clips, clips[:1])
        assert fits, f"{found}; they must be (B, V, classes) or (B, classes)"
        assert logits.requires_grad, f"the decisions about {label} carry no gradient"


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_predictions(pretext: nn.Module, features: Mapping[str, Tensor], batch: Batch) -> None:
    predict = getattr(pretext, "predictions", None)
    for label, (told, true) in (predict(features, batch) if predict else {}).items():
        found = f"predictions of {label} are {tuple(told.shape)} and {tuple(true.shape)}"
        assert told.shape == true.shape == (len(true),), f"{found}; both must be (N,)"
        kinds = {told.dtype, true.dtype}
        assert kinds == {torch.int64}, f"predictions of {label} are {kinds}, not int64"


class _PlainBackbone(nn.Module):
    """A backbone for pretexts that keep a copy of it, or run it on a part of a clip.

    Taps are means over boxes, mixed linearly; tokens are tubelets, mixed linearly too.
    """

    tubelet = (2, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.taps: Mapping[str, int] = {name: shape[0] for name, shape in TAPS.items()}
        self.feature_dim = self.taps["feat"]
        self.mix = nn.ModuleDict({name: nn.Linear(3, dim) for name, dim in self.taps.items()})

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Return every tap of clips (N, C, T, H, W), or the tokens ``keep`` (N, n)."""
        if keep is not None:
            tokens = F.avg_pool3d(clips, self.tubelet).flatten(2).transpose(1, 2)
            kept = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[2]))
            return {"tokens": self.mix["feat"](kept)}
        taps = {}
        for name, (_, *places) in TAPS.items():
            means = F.adaptive_avg_pool3d(clips, cast(Any, tuple(places) or 1))
            mixed = self.mix[name](means.movedim(1, -1)).movedim(-1, 1)
            taps[name] = mixed if places else mixed.flatten(1)
        return taps


def _encode(network: Backbone, clips: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
    if keep is None:
        taps = network(clips.flatten(0, 1))
    else:
        taps = cast("TokenBackbone", network)(clips.flatten(0, 1), keep.flatten(0, 1))
    return {name: tap.view(*clips.shape[:2], *tap.shape[1:]) for name, tap in taps.items()}


def sampler(name: str, **options: Any) -> SamplerOptions:
    """Return options of an installed sampler to check a task with: ``sampler("uniform", views=2)``.

    Raises:
        KeyError: There is none of that name.
    """
    return cast("SamplerOptions", offered("sampler")[name](name=name, **options))


def noise_batch(
    sampler: SamplerOptions,
    videos: int = 12,
    side: int = 8,
    streams: frozenset[Stream] = frozenset(),
) -> Batch:
    """Return a batch whose clips are noise of S x S pixels and whose labels a sampler planned."""
    rows = [Video(path=f"{i}.mp4", frames=300 + i, fps=25.0) for i in range(videos)]
    plans = sampler.build().plan_batch(rows, [Draw(0, 0, index) for index in range(videos)])
    frames = torch.stack(
        [torch.from_numpy(np.stack([view.frames for view in plan.views])) for plan in plans]
    )
    *views, length = frames.shape
    clips = torch.rand(*views, 3, length, side, side)
    return Batch(
        clips=clips,
        labels={
            name: torch.stack([torch.as_tensor(plan.labels[name]) for plan in plans])
            for name in sampler.labels()
        },
        video=torch.arange(videos),
        frames=frames,
        pixels=(255 * clips).to(torch.uint8) if "pixels" in streams else None,
        flow=torch.randn(*views, 2, length - 1, side, side) if "flow" in streams else None,
    )


def _noise_features(batch: Batch) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    leading = batch.clips.shape[:2]
    taps = {name: torch.randn(*leading, *s, generator=generator) for name, s in TAPS.items()}
    return {name: tap.requires_grad_() for name, tap in taps.items()}


def check_evaluator(options: EvaluatorOptions) -> None:
    """Check the report of a made-up study: rows, metrics from 0 to 1, facts that become JSON."""
    check_options(options)
    report, again = options.build()(MadeUpStudy()), options.build()(MadeUpStudy())
    found = [row.get("weights") for row in report.rows]
    assert found == ["run", "random"], f"rows are for {found}, not for run and random"
    for row in report.rows:
        metrics = {key: value for key, value in row.items() if key != "weights"}
        assert metrics, f"no metric for {row['weights']}"
        for name, value in metrics.items():
            assert 0 <= value <= 1, f"{name} is {value}, not from 0 to 1"
    for name, value in {"chance": report.chance, **report.chances}.items():
        assert 0 <= value <= 1, f"the chance level of {name} is {value}, not from 0 to 1"
    json.dumps([report.rows, report.facts], allow_nan=False)
    assert report.rows == again.rows, "two evaluations of one study differ"


def check_logger(options: LoggerOptions) -> None:
    """Check that rows of a run are taken, and those of the same run when it goes on.

    The run directory is a temporary one. Point the logger at no server that keeps its rows.
    """
    check_options(options)
    with TemporaryDirectory() as folder:
        run = LoggedRun("0" * 32, Path(folder), Path(folder) / "loggers", {"train": {}}, 1)
        for first, last, state in ((1, 3, "preempted"), (3, 4, "finished")):
            logger = options.build(replace(run, first_step=first))
            rows = [{"step": step, "epoch": 0, "loss": 1 / step} for step in range(first, last + 1)]
            logger.log(rows)
            logger.log([rows[-1] | {"epoch.loss": 0.5}])
            logger.close(cast("RunState", state))


def check_decoder(options: DecoderOptions, folder: Path, device: str = "cpu") -> None:
    """Check a decoder with a made-up video: what comes back, and that it is what PyAV gives.

    Args:
        options: What to build.
        folder: For the video.
        device: As `DecoderOptions.build` takes it.
    """
    check_options(options)
    path = folder / "made-up.mp4"
    rows, columns = np.indices((64, 96))
    waves = np.stack([np.sin((rows + 2 * columns + 7 * n) / 20) for n in range(_DECODED)])
    grey = 127 + 80 * waves
    write_mp4(path, np.stack([grey, grey + rows / 4, grey - rows / 4], -1).astype(np.uint8), 25)
    video, decoder = probe(str(path)), options.build(device)
    for size in ((64, 96), (32, 48)):
        found = likeness(decoder, video, size)
        assert found >= ALIKE, f"pictures of {size} are {found:.0f} dB like those of PyAV"
        whole = decode_by(decoder, video, range(_DECODED), size)
        parts = [[_DECODED - 1], [3, 4, 20]]
        with ThreadPoolExecutor(2) as pool:
            decoding = [pool.submit(decode_by, decoder, video, part, size) for part in parts]
        decoded = [each.result() for each in decoding]
        for part, pictures in zip(parts, decoded, strict=True):
            assert np.array_equal(pictures, whole[part]), f"frames {part} alone are other pictures"


def _check_gradients(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"no gradient reaches {name}"
            assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"


def _assert_same_state(a: nn.Module, b: nn.Module, problem: str) -> None:
    states: list[dict[str, Any]] = [a.state_dict(), b.state_dict()]
    same = states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][name]) for name, value in states[0].items()
    )
    assert same, problem
