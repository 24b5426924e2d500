"""From a tap to one vector for each clip."""

import pytest
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.model.pooling import pool_tap

TAP = torch.randn(2, 512, 2, 7, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("pool", "numbers"),
    [
        ("gap", 512),
        ("gmp", 512),
        ("flatten", 512 * 2 * 7 * 7),
        ("maxpool122", 9216),
        ("maxpool222", 4608),
        ("adaptive_max233", 512 * 18),
    ],
)
def test_sizes(pool, numbers):
    assert pool_tap(TAP, pool).shape == (2, numbers)


def test_values():
    torch.testing.assert_close(pool_tap(TAP, "gap")[1, 5], TAP[1, 5].mean())
    assert pool_tap(TAP, "gmp")[1, 5] == TAP[1, 5].max()
    assert pool_tap(TAP, "maxpool122")[0, 0] == TAP[0, 0, 0, :2, :2].max()
    assert pool_tap(TAP, "maxpool222")[0, 0] == TAP[0, 0, :, :2, :2].max()
    assert pool_tap(TAP, "adaptive_max233")[0, 17] == TAP[0, 0, 1, 4:, 4:].max()


def test_a_vector_is_returned_as_it_is():
    vector = torch.randn(3, 8)
    assert all(pool_tap(vector, pool) is vector for pool in ("gap", "gmp", "flatten"))
    with pytest.raises(UsageError, match="needs a map; this tap is a vector of 8"):
        pool_tap(vector, "maxpool122")


def test_too_small_a_map_is_named():
    with pytest.raises(UsageError, match=r"does not fit a tap of \(1, 1, 4\)"):
        pool_tap(torch.zeros(1, 4, 1, 1, 4), "maxpool122")
