"""Clips that are cut together are those that are cut one by one."""

import numpy as np
import pytest
import torch

from vidssl_cli.data.augment import Parameters, cropped, cut, place
from vidssl_cli.data.resample import resampling_matrices, scale_together
from vidssl_cli.media.geometry import resampling

SIDE = 8
BOXES = [(0, 0, 12, 17), (2, 3, 8, 8), (1, 5, 5, 12), (4, 0, 3, 9)]


def parameters(boxes, **changes):
    """Return the parameters of clips with these boxes, every second mirrored."""
    made = vars(Parameters.stack([cropped(box) for box in boxes]))
    made["flip"] = np.arange(len(boxes)) % 2 == 1
    return Parameters(**made | changes)


def together(pictures, parameters, **which):
    placed = torch.from_numpy(place(parameters))
    return scale_together(pictures, placed, SIDE, **which)


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    shape = (len(BOXES), 2, 3, 12, 17)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("turns", [[0, 0, 0, 0], [0, 1, 2, 3], [3, 2, 1, 5]])
@pytest.mark.parametrize("blur", [[0, 0, 0, 0], [0, 0.3, 1, 4]])
def test_scaled_blurred_mirrored_and_turned(turns, blur, pictures):
    drawn = parameters(BOXES, turns=np.array(turns), blur=np.array(blur, np.float32))
    found = together(pictures, drawn, scales=True, turns=any(turns), blurs=any(blur))
    torch.testing.assert_close(found, cut(list(pictures), drawn, SIDE), atol=1e-3, rtol=0)


@pytest.mark.parametrize("turns", [[0, 0], [1, 3]])
def test_what_is_not_scaled_is_exact(turns, pictures):
    drawn = parameters([(2, 3, 8, 8), (4, 0, 8, 8)], turns=np.array(turns))
    expected = cut(list(pictures[:2]), drawn, SIDE)
    for scales in (False, True):
        found = together(pictures[:2], drawn, scales=scales, turns=any(turns), blurs=False)
        assert torch.equal(found, expected)
        assert found.is_contiguous()


@pytest.mark.parametrize("length", [1, 5, 8, 31])
@pytest.mark.parametrize("sigma", [0, 0.4, 2, 50])
def test_a_matrix_is_that_of_one_line(length, sigma):
    placed = torch.tensor([[3, 0], [length, 2], [0, 1], [sigma, 0]], dtype=torch.float64)
    found = resampling_matrices(placed, SIDE, 40, blurs=sigma > 0)
    expected = np.zeros((2, SIDE, 40), np.float32)
    expected[0, :, 3 : 3 + length] = resampling(length, SIDE, sigma)
    expected[1, :, :2] = resampling(2, SIDE, 0)[::-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
