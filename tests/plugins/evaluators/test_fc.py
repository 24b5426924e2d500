"""Fully connected layers on frozen features."""

import numpy as np
import pytest
import torch

from vidssl_plugins.evaluators.options.shared import FC
from vidssl_plugins.evaluators.shared.fc import train_fc

QUICK = FC(hidden=(32,), epochs=20, lr=1e-2)


def rings(size, seed):
    """Two classes that no line separates: a disc and the ring around it."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, size)
    angle = random.uniform(0, 2 * np.pi, size)
    radius = targets + random.uniform(0, 0.7, size)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points.astype(np.float32), targets


def test_hidden_layers_learn_what_no_line_separates():
    accuracy = {}
    for hidden in ((), (32,)):
        predict = train_fc(*rings(200, 0), QUICK.model_copy(update={"hidden": hidden}), classes=2)
        points, targets = rings(200, 1)
        accuracy[hidden] = (predict(points).argmax(1) == targets).mean()
    assert accuracy[(32,)] > 0.9
    assert accuracy[()] < 0.7


def test_gives_probabilities_for_any_number_of_features():
    predict = train_fc(*rings(49, 0), QUICK.model_copy(update={"batch": 16}), classes=3)
    assert predict(rings(1, 1)[0]).shape == (1, 3)
    np.testing.assert_allclose(predict(rings(7, 1)[0]).sum(1), 1, rtol=1e-5)


def test_the_seed_decides_and_nothing_else():
    points = rings(5, 1)[0]

    def trained(seed):
        return train_fc(*rings(40, 0), QUICK.model_copy(update={"seed": seed}), classes=2)(points)

    torch.manual_seed(1)
    first, state = trained(0), torch.get_rng_state()
    torch.manual_seed(2)
    assert (trained(0) == first).all()
    assert not np.allclose(trained(1), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and it leaves that of others alone


def test_one_feature_is_too_few():
    with pytest.raises(ValueError, match="1 features"):
        train_fc(*rings(1, 0), FC(), classes=2)
