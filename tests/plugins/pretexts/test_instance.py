"""Instance contrast: NT-Xent, the slow copy, the queue."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.hooks import Instance, SameContext
from vidssl_plugins.pretexts.instance_queue import Queue


class Backbone(nn.Module):
    """Clips (N, 3) to the tap ``feat`` (N, 3)."""

    feature_dim = 3

    def __init__(self):
        super().__init__()
        self.taps = {"feat": 3}
        self.layer = nn.Linear(3, 3, bias=False)

    def forward(self, clips):
        return {"feat": self.layer(clips)}


def encode(network, clips):
    return {"feat": network(clips.flatten(0, 1))["feat"].view(*clips.shape[:2], 3)}


def build(views=2, videos=8, **options):
    torch.manual_seed(0)
    backbone = Backbone()
    context = PretextContext(3, backbone.taps, {}, views, videos, backbone, encode)
    return backbone, Instance(
        name="instance", **{"proj_dim": None, "proj_hidden": [], **options}
    ).build(context)


def batch(video, views=2, seed=1):
    torch.manual_seed(seed)
    clips = torch.randn(len(video), views, 3)
    return Batch(clips, {}, torch.tensor(video), torch.empty(0))


def loss(pretext, backbone, given):
    return pretext(encode(backbone, given.clips), given)[0]["loss"]


def cosines(anchors, keys, temperature):
    return F.normalize(anchors, dim=1) @ F.normalize(keys, dim=1).T / temperature


def test_the_plain_form_is_nt_xent():
    """Also what same_context computes by cosine, with one denominator for each clip."""
    backbone, pretext = build()
    given = batch([0, 1, 2])
    z = backbone(given.clips.flatten(0, 1))["feat"]
    s = cosines(z, z, 0.1).fill_diagonal_(-torch.inf)
    expected = F.cross_entropy(s, torch.tensor([1, 0, 3, 2, 5, 4]))
    torch.testing.assert_close(loss(pretext, backbone, given), expected)
    same = SameContext(name="same_context", normalise=True, temperature=0.1, denominator="anchor")
    context = PretextContext(3, {"feat": 3}, {}, 2, 3)
    torch.testing.assert_close(loss(same.build(context), backbone, given), expected)


def test_decoupled_positives_do_not_compete_with_themselves():
    """-s_ii' + log of the sum over other videos' clips: equation 6 of Yeh et al. 2022."""
    backbone, pretext = build(decoupled=True)
    given = batch([0, 1, 2])
    z = backbone(given.clips.flatten(0, 1))["feat"]
    s = cosines(z, z, 0.1)
    losses = []
    for i in range(6):
        others = [j for j in range(6) if j // 2 != i // 2]
        losses.append(s[i, others].logsumexp(0) - s[i, i ^ 1])
    torch.testing.assert_close(loss(pretext, backbone, given), torch.stack(losses).mean())


def test_decoupled_without_another_video_there_is_nothing_to_learn():
    backbone, pretext = build(decoupled=True)
    found = loss(pretext, backbone, batch([3, 3]))
    found.backward()
    assert found.item() == 0
    assert not backbone.layer.weight.grad.any()


def test_the_worked_example_of_two_clips():
    _, pretext = build()
    views = torch.tensor([[[1, 0, 0], [0.8, 0.6, 0]], [[0.0, 1, 0], [-0.6, 0.8, 0]]])
    terms, metrics = pretext({"feat": views}, Batch(views, {}, torch.arange(2), torch.empty(0)))
    assert terms["loss"].item() == pytest.approx(0.063780, abs=1e-6)
    assert metrics["accuracy"] == 1


def test_at_equal_similarities_the_loss_is_the_log_of_the_candidates():
    for views in (2, 3):
        _, pretext = build(views)
        features = torch.ones(4, views, 3)
        given = Batch(features, {}, torch.arange(4), torch.empty(0))
        value = pretext({"feat": features}, given)[0]["loss"]
        # Positives are averaged over the other views of the clip, which all compete.
        assert value.item() == pytest.approx(torch.tensor(4.0 * views - 1).log().item())


def test_the_loss_with_copy_and_queue():
    backbone, pretext = build(momentum=0.9, queue=6, temperature=0.07)
    nn.init.normal_(pretext.slow.copy[0].layer.weight)
    old = F.normalize(torch.randn(3, 3), dim=1)
    pretext.queue.enqueue(old, torch.tensor([0, 5, 6]))
    given = batch([0, 1])
    flat = given.clips.flatten(0, 1)
    q, k = backbone(flat)["feat"], pretext.slow.copy[0](flat)["feat"]
    s = cosines(q, torch.cat([k, old]), 0.07).masked_fill(
        torch.tensor(
            [
                [1, 0, 0, 0, 1, 0, 0],  # its own view, and a key of its own video
                [0, 1, 0, 0, 1, 0, 0],
                [0, 0, 1, 0, 0, 0, 0],
                [0, 0, 0, 1, 0, 0, 0],
            ],
            dtype=torch.bool,
        ),
        -torch.inf,
    )
    expected = F.cross_entropy(s, torch.tensor([1, 0, 3, 2]))
    torch.testing.assert_close(loss(pretext, backbone, given), expected)


def test_no_gradient_reaches_copy_or_queue():
    backbone, pretext = build(momentum=0.9, queue=4, proj_dim=2)
    loss(pretext, backbone, batch([0, 1])).backward()
    assert backbone.layer.weight.grad.any()
    assert all(parameter.grad is None for parameter in pretext.slow.parameters())
    assert not pretext.queue.keys.requires_grad


def test_the_copy_starts_equal_and_follows_after_each_step():
    backbone, pretext = build(momentum=0.9, proj_dim=2)
    slow, _ = pretext.slow.copy
    start = backbone.layer.weight.detach().clone()
    assert torch.equal(slow.layer.weight, start)
    with torch.no_grad():
        backbone.layer.weight += 1
    pretext.after_step()
    torch.testing.assert_close(slow.layer.weight, start + 0.1)
    pretext.after_step()
    torch.testing.assert_close(slow.layer.weight, start + 0.19)


def test_the_learning_network_is_no_part_of_the_pretext():
    backbone, pretext = build(momentum=0.9, proj_dim=2)
    own = {id(parameter) for parameter in pretext.parameters() if parameter.requires_grad}
    assert own == {id(parameter) for parameter in pretext.projection.parameters()}
    assert id(backbone) not in map(id, pretext.modules())
    assert pretext.state_dict().keys() == {
        "projection.0.weight",
        "projection.0.bias",
        "slow.copy.0.layer.weight",
        "slow.copy.1.0.weight",
        "slow.copy.1.0.bias",
    }


def test_keys_are_queued_after_the_step_and_not_while_measuring():
    backbone, pretext = build(queue=8)
    given = batch([3, 1])
    loss(pretext, backbone, given)
    assert pretext.queue.filled()[1].tolist() == []
    pretext.after_step()
    keys, videos = pretext.queue.filled()
    assert videos.tolist() == [3, 3, 1, 1]
    torch.testing.assert_close(
        keys, F.normalize(backbone(given.clips.flatten(0, 1))["feat"].detach(), dim=1)
    )
    in_training = loss(pretext, backbone, given)
    pretext.after_step()
    pretext.eval()
    assert loss(pretext, backbone, given) < in_training  # within the batch alone
    pretext.after_step()
    assert pretext.queue.enqueued == 8


def test_parts_of_a_batch_fill_the_queue_as_the_whole_batch():
    queues = []
    for parts in ([slice(0, 3)], [slice(0, 2), slice(2, 3)]):
        backbone, pretext = build(queue=4)
        given = batch([4, 2, 0])
        for part in parts:
            piece = Batch(given.clips[part], {}, given.video[part], torch.empty(0))
            loss(pretext, backbone, piece)
        pretext.after_step()
        queues.append(pretext.queue)
    for name, value in queues[0].state_dict().items():
        torch.testing.assert_close(queues[1].state_dict()[name], value)


@given(st.integers(1, 7), st.lists(st.integers(0, 10), max_size=6))
def test_a_queue_holds_the_last_keys(length, sizes):
    queue = Queue(length, 1)
    entered = []
    for size in sizes:
        new = torch.arange(len(entered), len(entered) + size)
        queue.enqueue(new[:, None].float(), new + 100)
        entered += new.tolist()
        keys, videos = queue.filled()
        assert sorted(keys[:, 0].tolist()) == entered[-length:]
        assert (keys[:, 0] + 100).tolist() == videos.tolist()


@given(st.permutations(range(4)))
def test_the_order_of_a_batch_changes_nothing(order):
    backbone, pretext = build(momentum=0.5, queue=4)
    given = batch([0, 1, 2, 3])
    turned = Batch(given.clips[list(order)], {}, given.video[list(order)], torch.empty(0))
    torch.testing.assert_close(loss(pretext, backbone, turned), loss(pretext, backbone, given))


def test_a_copy_that_never_moves_is_refused():
    with pytest.raises(ValidationError, match="less than 1"):
        Instance(name="instance", momentum=1)


def test_a_queue_that_was_saved_knows_how_far_it_is_filled():
    queue, other = Queue(4, 2), Queue(4, 2)
    for first in (0, 3):
        keys = torch.arange(first, first + 3.0)[:, None].expand(-1, 2)
        queue.enqueue(keys, torch.arange(first, first + 3))
        other.load_state_dict(queue.state_dict())
        for one, two in zip(queue.filled(), other.filled(), strict=True):
            assert torch.equal(one, two)
        assert len(queue.filled()[0]) == min(4, first + 3)
