"""Masked modelling: what is seen, what is predicted, and that it learns."""

import pytest
import torch
import torch.nn.functional as F

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.model.learner import PretrainLearner, encode
from vidssl_plugins.backbones.hooks import R3D, ViT
from vidssl_plugins.pretexts.hooks import MaskedLatents, MaskedPixels
from vidssl_plugins.pretexts.masked_pixels import tubelets
from vidssl_plugins.pretexts.shared.masking import at_all_times, block_places, random_places

CPU = torch.device("cpu")
GRID = (4, 8, 8)
SMALL = {"width": 24, "depth": 2, "heads": 2}
NETWORK = ViT(name="vit", **SMALL, tubelet=(2, 4, 4), clip=(8, 32, 32))
V_JEPA = [(8, 0.15, (0.75, 1.5)), (2, 0.7, (0.75, 1.5))]


def build(options, network=NETWORK, seen=None):
    """Return the backbone and the task; clips and numbers of what it sees are added to ``seen``."""
    torch.manual_seed(0)
    backbone = network.build()

    def run(which, clips, keep=None):
        if seen is not None:
            seen.append((which is backbone, keep))
        return encode(which, clips, torch.float32, keep)

    context = PretextContext(
        backbone.feature_dim, backbone.taps, {}, 1, 4, backbone=backbone, encode=run
    )
    return backbone, options.build(context)


def pixels(**options):
    return MaskedPixels(name="masked_pixels", **SMALL | options)


def latents(**options):
    return MaskedLatents(name="masked_latents", **SMALL | options)


def batch(videos=4, views=1):
    torch.manual_seed(1)
    clips = torch.randn(videos, views, 3, 8, 32, 32)
    return Batch(clips, {}, torch.arange(videos), torch.empty(0))


def test_videomae_sees_a_tenth():
    """1568 tubelets of a clip of 16 x 224 x 224, 8 x 20 of them visible (of 196 places, 19.6)."""
    seen, masked = random_places(5, 14 * 14, 0.9, CPU)
    assert (seen.shape, masked.shape) == ((5, 20), (5, 176))
    assert all(len({*row.tolist()}) == 196 for row in torch.cat([seen, masked], 1))
    everything = at_all_times(torch.cat([seen, masked], 1), 8, 196)
    assert all(sorted(row.tolist()) == list(range(1568)) for row in everything)


def test_tubes_are_the_same_places_at_all_times():
    numbers = at_all_times(torch.tensor([[3, 0], [1, 2]]), 3, 4)
    assert numbers.tolist() == [[3, 0, 7, 4, 11, 8], [1, 2, 5, 6, 9, 10]]
    _, task = build(pixels(mask="tube", ratio=0.75))
    for part in task.split(2, GRID, CPU):
        at = part.view(2, 4, -1) % 64
        assert (at == at[:, :1]).all()
    _, task = build(pixels(mask="random", ratio=0.75))
    seen, masked = task.split(2, GRID, CPU)
    assert (seen.shape, masked.shape) == ((2, 64), (2, 192))


def test_at_least_one_place_is_seen():
    seen, masked = random_places(2, 4, 0.95, CPU)
    assert (seen.shape[1], masked.shape[1]) == (1, 3)


def test_v_jepas_masks_leave_about_a_tenth_to_see():
    """The paper says 90 % masked on average; each process had 24 clips (section 3.2, table 8)."""
    torch.manual_seed(0)
    hidden = []
    for mask in V_JEPA:
        for _ in range(50):
            seen, masked = block_places(24, (14, 14), mask, CPU)
            assert all(len({*row.tolist()}) == len(row) for row in torch.cat([seen, masked], 1))
            hidden.append(1 - seen.shape[1] / 196)
    assert 0.83 < sum(hidden) / len(hidden) < 0.93


def test_a_block_is_a_rectangle():
    torch.manual_seed(0)
    _, masked = block_places(50, (12, 10), (1, 0.2, (2.0, 2.0)), CPU)
    assert masked.shape[1] == 21  # 7 of sqrt(48) rows x 3 of sqrt(12) columns
    for row in masked:
        rows, columns = row // 10, row % 10
        assert rows.max() - rows.min() == 6
        assert columns.max() - columns.min() == 2
    firsts = {int(row.min()) for row in masked}
    assert len(firsts) > 10


def test_clips_that_are_covered_to_different_extents_keep_equal_numbers():
    torch.manual_seed(3)
    seen, masked = block_places(64, (8, 8), V_JEPA[0], CPU)
    assert seen.shape[1] + masked.shape[1] < 64
    for a, b in zip(seen, masked, strict=True):
        assert not {*a.tolist()} & {*b.tolist()}


def test_where_everything_is_covered_one_place_is_seen():
    seen, masked = block_places(3, (2, 2), (8, 0.9, (1.0, 1.0)), CPU)
    assert (seen.shape, masked.shape) == ((3, 1), (3, 3))


@pytest.mark.parametrize("options", [pixels(), latents()], ids=lambda options: options.name)
def test_masked_tubelets_do_not_reach_the_backbone(options):
    """Another picture at masked places leaves the tokens, and the prediction, as they are."""
    seen = []
    backbone, task = build(options, seen=seen)
    given = batch()
    torch.manual_seed(2)
    task({}, given)
    for ours, keep in seen:
        if not ours:
            continue
        clips = given.clips.clone()
        there = torch.zeros(4, 256, dtype=torch.bool).scatter_(1, keep[:, 0], True)
        room = there.view(4, *GRID).repeat_interleave(2, 1)
        room = room.repeat_interleave(4, 2).repeat_interleave(4, 3)
        hidden = ~room[:, None, None].expand_as(clips)
        clips[hidden] = torch.randn(int(hidden.sum()))
        before = encode(backbone, given.clips, torch.float32, keep)["tokens"]
        assert torch.equal(encode(backbone, clips, torch.float32, keep)["tokens"], before)


def test_pixels_are_a_mean_square_over_masked_tubelets_alone():
    _, task = build(pixels(normalise=False))
    given = batch()
    torch.manual_seed(2)
    loss = task({}, given)[0]["loss"]
    torch.manual_seed(2)
    _, masked = task.split(4, GRID, CPU)
    other = Batch(given.clips.clone(), {}, given.video, given.frames)
    number = int(masked[0, 0])
    time, row, column = number // 64, number % 64 // 8, number % 8
    corner = (slice(2 * time, 2 * time + 2), slice(4 * row, 4 * row + 4))
    other.clips[0, 0, :, corner[0], corner[1], 4 * column : 4 * column + 4] += 1
    torch.manual_seed(2)
    moved = task({}, other)[0]["loss"]
    part = tubelets(given.clips[:, 0], (2, 4, 4))[0, number]
    grown = (part + 1 - torch.zeros_like(part)).square().mean() - part.square().mean()
    # The prediction is near 0 at first, so that the loss grows by about what the target does.
    assert (moved - loss).item() == pytest.approx(grown.item() / masked.numel(), rel=0.5)


def test_tubelets_hold_frames_rows_columns_and_colours_in_this_order():
    clips = torch.arange(3 * 4 * 8 * 9.0).view(1, 3, 4, 8, 9)
    parts = tubelets(clips, (2, 4, 4))  # the last column is left out
    assert parts.shape == (1, 2 * 2 * 2, 2 * 4 * 4 * 3)
    part = parts[0, 1 * 4 + 0 * 2 + 1].view(2, 4, 4, 3)
    torch.testing.assert_close(part, clips[0, :, 2:4, 0:4, 4:8].permute(1, 2, 3, 0))


def test_normalised_pixels_forget_brightness_and_contrast():
    _, task = build(pixels())
    clips, masked = torch.randn(2, 3, 8, 32, 32), torch.tensor([[0, 9], [3, 255]])
    found = task.targets(clips, masked)
    colours = found.unflatten(2, (-1, 3))
    torch.testing.assert_close(colours.mean(2), torch.zeros(2, 2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(colours.std(2), torch.ones(2, 2, 3), atol=1e-4, rtol=0)
    scale = torch.tensor([2.0, 0.5, 3]).view(3, 1, 1, 1)
    torch.testing.assert_close(task.targets(clips * scale + 1, masked), found, atol=1e-4, rtol=0)


def test_differences_are_those_of_consecutive_frames():
    _, task = build(pixels(normalise=False, target="differences"))
    clips = torch.randn(1, 3, 8, 32, 32)
    found = task.targets(clips, torch.tensor([[0, 192]])).view(2, 2, 4, 4, 3)
    moves = clips.diff(dim=2)[0, :, :, :4, :4].permute(1, 2, 3, 0)
    torch.testing.assert_close(found[0], moves[:2])
    torch.testing.assert_close(found[1], moves[[6, 6]])


def test_the_target_of_latents_has_no_gradient_and_the_copy_follows():
    backbone, task = build(latents(momentum=0.75))
    before = {name: weight.clone() for name, weight in task.slow.copy.named_parameters()}
    task({}, batch())[0]["loss"].backward()
    assert all(weight.grad is None for weight in task.slow.copy.parameters())
    assert all(weight.grad is not None for weight in backbone.blocks.parameters())
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(1)
    task.after_step()
    for name, weight in task.slow.copy.named_parameters():
        torch.testing.assert_close(weight, before[name] + 0.25)
    assert not any(name.startswith("_backbone") for name, _ in task.named_parameters())


def test_latents_of_the_copy_are_standardised_and_of_the_whole_clip():
    backbone, task = build(latents())
    given = batch()
    found = task.targets(given.clips, 256)
    expected = backbone(given.clips[:, 0])["conv5"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, F.layer_norm(expected, (24,)), rtol=1e-4, atol=1e-4)


def test_the_loss_of_latents():
    """At a predictor that says 0: the mean of |x|, or its smooth form, of masked tubelets."""
    for loss, distance in (("l1", F.l1_loss), ("smooth_l1", F.smooth_l1_loss)):
        _, task = build(latents(loss=loss, masks=[{"count": 1, "area": 0.25, "ratio": [1, 1]}]))
        torch.nn.init.zeros_(task.predictor.leave.weight)
        given = batch()
        torch.manual_seed(2)
        found = task({}, given)[0]["loss"]
        torch.manual_seed(2)
        _, masked = block_places(4, GRID[1:], (1, 0.25, (1, 1)), CPU)
        targets = task.targets(given.clips, 256)
        wanted = torch.stack(
            [targets[n, at_all_times(masked, 4, 64)[n]] for n in range(len(targets))]
        )
        torch.testing.assert_close(found, distance(torch.zeros_like(wanted), wanted))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        # 4 blocks of 12 w^2 + 13 w at w = 384, the entrance, a mask token, a norm, 1536 pixels.
        (MaskedPixels(name="masked_pixels"), 7_983_360 + 384 * 4),
        (MaskedLatents(name="masked_latents"), None),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parameters_at_the_papers_sizes(options, count):
    with torch.device("meta"):
        size = "base" if options.name == "masked_pixels" else "large"
        _, task = build(options, ViT(name="vit", size=size))
        head = task.decoder if options.name == "masked_pixels" else task.predictor
    found = sum(p.numel() for p in head.parameters())
    w, d = 384, 768 if size == "base" else 1024
    depth, leave = (4, 1536) if size == "base" else (12, d)
    kinds = 1 if size == "base" else 2
    blocks = depth * (12 * w * w + 13 * w)
    assert found == blocks + (d + 1) * w + kinds * w + 2 * w + (w + 1) * leave
    assert round(found / 1e6) == (8 if size == "base" else 22)


def test_a_backbone_without_tokens_is_refused():
    for options in (pixels(), latents()):
        with pytest.raises(UsageError, match="needs a backbone that can leave out parts") as found:
            build(options, R3D(name="r3d", depth=10, width=4))
        assert "vit" in found.value.hint


def test_clips_of_one_tubelet_are_refused():
    for options in (pixels(), latents()):
        _, task = build(options)
        given = Batch(torch.randn(2, 1, 3, 8, 4, 7), {}, torch.arange(2), torch.empty(0))
        with pytest.raises(UsageError, match="nothing to mask"):
            task({}, given)


@pytest.mark.parametrize("name", ["small/videomae", "small/vjepa"])
def test_the_network_never_sees_a_whole_clip(name):
    """But for the slow copy, and where another task asks for a tap."""
    recipe = load(name, ["backbone.width=32", "backbone.depth=1", "backbone.heads=1"])
    learner = PretrainLearner(recipe, 4)
    seen = []
    learner.backbone.register_forward_hook(lambda _, given, taps: seen.append([*taps]))
    clips = torch.randn(2, 1, 3, 16, 32, 32)
    given = Batch(clips, {}, torch.arange(2), torch.empty(0))
    loss, values = learner(given, torch.float32)
    loss.backward()
    assert seen == [["tokens"]]
    assert {key.partition(".")[2] for key in values} == {"loss", "explained"}
    learner.pretexts.append(Sum())
    learner.names, learner.weights = [*learner.names, "sum"], [*learner.weights, 1.0]
    learner(given, torch.float32)
    assert len(seen) == 3
    assert "feat" in seen[2]


class Sum(torch.nn.Module):
    """A task that reads a tap twice."""

    def forward(self, features, batch):
        return {"loss": features["feat"].sum() + features["conv5"].sum()}, {}


def waves():
    """Clips (8, 1, 3, 8, 16, 16) of waves that roll along, each at its own angle."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    angle = torch.arange(8) * torch.pi / 8
    along = angle.cos()[:, None, None] * rows + angle.sin()[:, None, None] * columns
    clips = torch.sin(0.6 * along[:, None] - 0.35 * torch.arange(8.0)[:, None, None])
    return clips[:, None, None].expand(-1, 1, 3, -1, -1, -1)


@pytest.mark.parametrize(
    ("options", "lr"),
    [(pixels(depth=1, ratio=0.5), 1e-2), (latents(momentum=0.95), 3e-3)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_learns(options, lr):
    """From nothing to a fifth of what there is to tell about masked tubelets, and more."""
    network = ViT(name="vit", **SMALL | {"width": 32}, tubelet=(4, 4, 4), clip=(8, 16, 16))
    backbone, task = build(options.model_copy(update={"width": 32}), network)
    weights = [p for p in (*backbone.parameters(), *task.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=lr)
    given = Batch(waves(), {}, torch.arange(8), torch.empty(0))
    explained = []
    for step in range(220):
        torch.manual_seed(step)
        terms, metrics = task({}, given)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        if update := getattr(task, "after_step", None):
            update()
        explained.append(metrics["explained"].item())
    assert sum(explained[:10]) / 10 < 0.05
    assert sum(explained[-10:]) / 10 > 0.2
