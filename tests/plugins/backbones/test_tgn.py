"""Temporal group normalisation: its values, its kinship with batch norm, state for any length."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vidssl_cli.base.errors import RecipeError, UsageError
from vidssl_cli.config.load import load
from vidssl_cli.contract.batch_norm import SyncBatchNorm3d
from vidssl_cli.model.weights import load_weights
from vidssl_plugins.backbones.hooks import R3D
from vidssl_plugins.backbones.options.tgn import TGN
from vidssl_plugins.backbones.tgn import TemporalGroupNorm

FRAMES = torch.arange(8.0).view(1, 1, 4, 1, 2)
"""Four frames of two pixels: [0, 1], [2, 3], [4, 5], [6, 7]. 1e-12 is no eps."""


def close(found, *expected):
    torch.testing.assert_close(found.flatten(), torch.tensor(expected), rtol=0, atol=1e-6)


def clips(batch, channels, frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(batch, channels, frames, 3, 2, generator=generator)


def test_two_groups_have_statistics_of_their_own():
    norm = TemporalGroupNorm(1, frames=2, eps=1e-12)
    group = [-1.341641, -0.447214, 0.447214, 1.341641]
    close(norm(FRAMES), *group, *group)
    close(norm.running_mean[:3], 0.15, 0.55, 0)
    close(norm.running_var[:3], 1.066667, 1.066667, 1)
    evaluated = norm.eval()(FRAMES)
    close(evaluated[:, :, :2], -0.145237, 0.823009, 1.791255, 2.759501)
    close(evaluated[:, :, 2:], 3.340448, 4.308694, 5.276940, 6.245186)


def test_one_group_is_batch_norm():
    half = [0.218218, 0.654654, 1.091089, 1.527525]
    close(TemporalGroupNorm(1, 4, eps=1e-12)(FRAMES), *[-x for x in half[::-1]], *half)


def twins(channels, count):
    """Return so many batch norms with the same random scale and offset."""
    torch.manual_seed(1)
    weight, bias = torch.randn(2, channels)
    norms = [nn.BatchNorm3d(channels) for _ in range(count)]
    for norm in norms:
        norm.weight.data, norm.bias.data = weight.clone(), bias.clone()
    return norms


def spans(frames, size):
    return [(a, min(a + size, frames)) for a in range(0, frames, size)]


def test_the_last_group_is_shorter():
    assert spans(5, 2) == [(0, 2), (2, 4), (4, 5)]


@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 3), st.booleans(), st.booleans())
def test_each_group_is_a_batch_norm_of_its_own(frames, size, channels, channels_last, reset):
    x = clips(2, channels, frames)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    norms = twins(channels, len(spans(frames, size)))
    tgn = TemporalGroupNorm(channels, size)
    tgn.weight.data, tgn.bias.data = norms[0].weight.data, norms[0].bias.data
    if reset:
        for norm in (tgn, *norms):
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative mean
    for mode in (True, True, False):  # the second step adds to the first
        x = (x * 1.5).detach().requires_grad_()
        found = tgn.train(mode)(x)
        pieces = [
            n.train(mode)(x[:, :, a:b])
            for n, (a, b) in zip(norms, spans(frames, size), strict=True)
        ]
        torch.testing.assert_close(found, torch.cat(pieces, 2))
        target = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
        (gradient,) = torch.autograd.grad(found, x, target)
        (expected,) = torch.autograd.grad(torch.cat(pieces, 2), x, target)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)
    for number, norm in enumerate(norms):
        torch.testing.assert_close(tgn.running_mean[number], norm.running_mean)
        torch.testing.assert_close(tgn.running_var[number], norm.running_var)
        assert tgn.num_batches_tracked[number] == norm.num_batches_tracked == 2


def test_one_scale_for_all_groups_gathers_the_gradient_of_all():
    x = clips(2, 3, 5)
    tgn, norms = TemporalGroupNorm(3, 2), twins(3, 3)
    tgn(x).square().sum().backward()
    for norm, (a, b) in zip(norms, spans(5, 2), strict=True):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
        norm(x[:, :, a:b]).square().sum().backward()
    torch.testing.assert_close(tgn.weight.grad, sum(norm.weight.grad for norm in norms))


def test_a_scale_for_each_group():
    tgn = TemporalGroupNorm(2, 2, affine="group", groups=3)
    tgn.weight.data = torch.arange(1.0, 7)
    plain = TemporalGroupNorm(2, 2)
    scale = torch.tensor([[1.0, 3, 5], [2, 4, 6]]).repeat_interleave(2, 1)[None, :, :5, None, None]
    x = clips(2, 2, 5)
    torch.testing.assert_close(tgn(x), plain(x) * scale)
    assert all(p.ndim == 1 for p in tgn.parameters())  # which optimizers spare from decay


def test_groups_that_were_never_trained_take_the_last_ones_statistics():
    tgn = TemporalGroupNorm(3, 2, groups=4)
    tgn(clips(4, 3, 4))
    x = clips(2, 3, 11, seed=1)
    found = tgn.eval()(x)
    last = nn.BatchNorm3d(3).eval()
    last.running_mean, last.running_var = tgn.running_mean[1], tgn.running_var[1]
    torch.testing.assert_close(found[:, :, 2:], last(x[:, :, 2:]))
    assert not torch.allclose(found[:, :, :2], last(x[:, :, :2]))
    torch.testing.assert_close(found[:1], tgn(x[:1]))  # no statistics of the batch


def test_more_groups_than_there_is_room_for_are_refused():
    with pytest.raises(UsageError, match="5 frames in groups of 2 are more than 2") as refused:
        TemporalGroupNorm(3, 2, groups=2)(clips(2, 3, 5))
    assert "backbone.norm.groups to 3" in refused.value.hint


def test_a_recipe_takes_it_by_one_word():
    assert load("small/pace", ["backbone.norm.name=tgn"]).backbone.norm == TGN(name="tgn")
    with pytest.raises(RecipeError, match=r"backbone\.norm\.frame: unknown key; did you mean"):
        load("small/pace", ["backbone.norm={name: tgn, frame: 4}"])


@pytest.mark.parametrize("affine", ["channel", "group"])
def test_weights_of_one_clip_length_load_for_another(affine):
    options = R3D(name="r3d", depth=10, width=2, norm=TGN(name="tgn", affine=affine))
    torch.manual_seed(0)
    network = options.build()
    network(torch.randn(2, 3, 16, 16, 16))
    stem = network.conv1[1]
    assert (stem.num_batches_tracked > 0).sum() == 8
    for frames in (8, 64):
        other = options.build()
        other(torch.randn(2, 3, frames, 16, 16))
        load_weights(other, network.state_dict(), Path("run"))
        clip = torch.randn(1, 3, frames, 16, 16)
        assert torch.equal(other.eval()(clip)["feat"], network.eval()(clip)["feat"])


def test_reduced_precision_keeps_statistics_in_full():
    tgn = TemporalGroupNorm(3, 2)
    x = clips(4, 3, 5)
    reference = TemporalGroupNorm(3, 2)
    expected = reference(x)
    found = tgn(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05)
    torch.testing.assert_close(tgn.running_mean, reference.running_mean, rtol=0.01, atol=0.01)


def test_the_layout_stays():
    x = clips(2, 3, 5).contiguous(memory_format=torch.channels_last_3d)
    assert TemporalGroupNorm(3, 2)(x).is_contiguous(memory_format=torch.channels_last_3d)


SCRIPT = """
import json, sys
import torch
from torch import distributed
from vidssl_cli.training.processes import join
from vidssl_cli.contract.batch_norm import SyncBatchNorm3d
from vidssl_plugins.backbones.tgn import TemporalGroupNorm

rank, size, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
clips = 3 + torch.randn(5, 3, 5, 2, 2, generator=torch.Generator().manual_seed(0))
target = torch.randn(clips.shape, generator=torch.Generator().manual_seed(1))
part = slice(None)
if size > 1:
    join("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    part = [slice(0, 3), slice(3, 5)][rank]
found = []
for norm in (TemporalGroupNorm(3, 2, sync=True), SyncBatchNorm3d(3)):
    x = clips[part].clone().requires_grad_()
    y = norm(x)
    (y * target[part]).pow(2).sum().backward()
    if size > 1:
        for parameter in norm.parameters():
            distributed.all_reduce(parameter.grad)
    shown = [y.detach()[:2], x.grad[:2], norm.weight.grad, norm.bias.grad, *norm.buffers()]
    found += [tensor.flatten().tolist() for tensor in shown]
if rank == 0:
    print(json.dumps(found))
if size > 1:
    distributed.barrier()  # whoever leaves early breaks the connections of the others
    distributed.destroy_process_group()
"""


def test_two_processes_normalise_like_one(in_processes):
    alone, together = (json.loads(in_processes(SCRIPT, size)) for size in (1, 2))
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(torch.tensor(b), torch.tensor(a), rtol=1e-4, atol=1e-4)


def test_a_single_process_has_nobody_to_ask():
    x = clips(2, 3, 5)
    torch.testing.assert_close(SyncBatchNorm3d(3)(x), nn.BatchNorm3d(3)(x))
