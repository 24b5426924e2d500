"""Schedules against hand-computed values; who decays."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from simulated_gpu.device import simulate
from vidssl_cli.config.sections import SGD, AdamW, Constant, Cosine, MultiStep, Step
from vidssl_cli.training.optimizer import build_optimizer, lr_factor


def factors(schedule, steps_per_epoch, epochs):
    total = steps_per_epoch * epochs
    return [lr_factor(schedule, step, steps_per_epoch, epochs) for step in range(total)]


def test_constant():
    assert factors(Constant(name="constant"), 2, 2) == [1, 1, 1, 1]


def test_step_divides_every_so_many_epochs():
    # Pace prediction: a tenth every 6 epochs.
    found = factors(Step(name="step", every=6), 1, 18)
    assert found == pytest.approx([1] * 6 + [0.1] * 6 + [0.01] * 6)


def test_multistep_divides_when_an_epoch_begins():
    found = factors(MultiStep(name="multistep", epochs=(1, 3), gamma=0.5), 2, 4)
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_falls_to_its_final_factor():
    found = factors(Cosine(name="cosine", final=0.001), 5, 20)
    assert found[0] == 1
    assert found[50] == pytest.approx(0.5005)
    assert all(before > after for before, after in pairwise(found))
    assert lr_factor(Cosine(name="cosine", final=0.001), 100, 5, 20) == pytest.approx(0.001)


def test_warmup_rises_to_one_and_the_cosine_takes_the_rest():
    found = factors(Cosine(name="cosine", warmup=0.4), 5, 2)
    assert found[:4] == [0.25, 0.5, 0.75, 1]
    assert found[4] == 1
    assert found[7] == pytest.approx(0.5)


def network():
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, 2))


def decays(optimizer):
    return {
        parameter.ndim: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_norms_and_biases_do_not_decay_with_adamw():
    optimizer = build_optimizer(network(), AdamW(name="adamw", lr=1, weight_decay=0.1))
    assert decays(optimizer) == {5: 0.1, 2: 0.1, 1: 0}


def test_everything_decays_with_sgd():
    optimizer = build_optimizer(network(), SGD(name="sgd", lr=1, weight_decay=0.1))
    assert decays(optimizer) == {5: 0.1, 2: 0.1, 1: 0.1}


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].requires_grad_(False)
    groups = build_optimizer(model, SGD(name="sgd", lr=1)).param_groups
    held = [parameter for group in groups for parameter in group["params"]]
    assert model[0].weight not in set(held)
    assert len(held) == 4


OPTIONS = [AdamW(name="adamw", lr=0.1), SGD(name="sgd", lr=0.1, momentum=0.9)]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_gpu_updates_all_parameters_at_once_and_a_cpu_as_ever(options):
    def learn(device):
        torch.manual_seed(0)
        model = network().to(device)
        optimizer = build_optimizer(model, options)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 3, 1, 1, 1).to(device)).square().sum().backward()
            before = counts.total("launches") if device == "cuda" else 0
            optimizer.step()
        made = counts.total("launches") - before if device == "cuda" else 0
        return [p.detach().cpu() for p in model.parameters()], made, optimizer

    with simulate() as counts:
        found, launches, optimizer = learn("cuda")
    assert optimizer.defaults["fused"]
    assert launches <= 2 * len(optimizer.param_groups)
    expected, _, optimizer = learn("cpu")
    assert optimizer.defaults["fused"] is None
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
